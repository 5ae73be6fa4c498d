//! Whether a server took writes before. If it did and no longer does, it was demoted, or replaced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::pg::GetPgMetadataCache;

use crate::connection::notes;

/// The managers of this process, and whether a connection of them has led to a server that takes writes.
static MANAGERS: Mutex<BTreeMap<u64, bool>> = Mutex::new(BTreeMap::new());

fn managers() -> MutexGuard<'static, BTreeMap<u64, bool>> {
    MANAGERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A manager and its clones. What is known of it goes with the last of them.
#[derive(Debug)]
pub(crate) struct Manager(pub(crate) u64);

impl Manager {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        managers().insert(number, false);
        Manager(number)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        managers().remove(&self.0);
    }
}

/// The same for an address, of which a hash is known: connections that no manager of this crate opened. If there are
/// too many, each connection is asked.
#[cfg(feature = "diesel-async")]
pub(crate) fn address(hash: u64) -> u64 {
    const OF_ADDRESS: u64 = 1 << 63;
    const MOST: usize = 1024;
    let number = hash | OF_ADDRESS;
    let mut managers = managers();
    if managers.len() < MOST {
        managers.entry(number).or_insert(false);
    }
    number
}

/// Did the server take writes when this connection, or another one of the same manager, was asked? `None` if it was not
/// asked.
pub(crate) fn was_writable(conn: &mut impl GetPgMetadataCache) -> Option<bool> {
    let is_managers = notes::manager(conn).is_some_and(|manager| managers().get(&manager) == Some(&true));
    if is_managers { Some(true) } else { notes::was_writable(conn) }
}

pub(crate) fn note(conn: &mut impl GetPgMetadataCache, takes_writes: bool) {
    notes::set_was_writable(conn, takes_writes);
    if let Some(manager) = notes::manager(conn).filter(|_| takes_writes) {
        // A connection may outlive its manager.
        managers().entry(manager).and_modify(|was_writable| *was_writable = true);
    }
}

#[cfg(test)]
mod tests {
    use r2d2::ManageConnection;
    use testbed::Cluster;

    use super::*;
    use crate::HotUpgradeManager;

    #[test]
    fn what_is_known_of_a_manager_goes_with_it() {
        let manager = HotUpgradeManager::new(Cluster::shared(12).url("postgres"));
        let [mut conn, mut other] = [(); 2].map(|()| manager.connect().expect("a connection"));
        let number = notes::manager(&mut conn).expect("it is managed");
        assert_eq!(was_writable(&mut other), None);
        note(&mut conn, true);
        assert_eq!(was_writable(&mut other), Some(true), "another connection knows");
        drop(manager);
        assert_eq!(managers().get(&number), None);
        note(&mut conn, true);
        assert_eq!(managers().get(&number), None, "a connection that outlives it brings nothing back");
        assert_eq!(was_writable(&mut conn), Some(true));
    }
}
