//! Whether a server took writes before. If it did and no longer does, it was demoted, or replaced.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::pg::PgConnection;

use crate::connection::notes;

/// The managers of which a connection has led to a server that takes writes.
static MANAGERS: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

fn managers() -> MutexGuard<'static, BTreeSet<u64>> {
    MANAGERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number for a manager, and for its clones.
pub(crate) fn new_manager() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Did the server take writes when this connection, or another one of the same manager, was asked? `None` if it was not
/// asked.
pub(crate) fn was_writable(conn: &mut PgConnection) -> Option<bool> {
    let is_managers = notes::manager(conn).is_some_and(|manager| managers().contains(&manager));
    if is_managers { Some(true) } else { notes::was_writable(conn) }
}

pub(crate) fn note(conn: &mut PgConnection, takes_writes: bool) {
    notes::set_was_writable(conn, takes_writes);
    if let Some(manager) = notes::manager(conn).filter(|_| takes_writes) {
        managers().insert(manager);
    }
}
