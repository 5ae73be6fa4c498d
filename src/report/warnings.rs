//! What is warned of once in a process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::result::Error;

use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::Snapshot;
use crate::catalog::tracked::tracked;
use crate::report::log::{note, printable, warn};

/// More watched types make a check noticeably slower than a ping.
const MANY_TYPES: usize = 1_000;

pub(crate) fn if_many_types(snapshot: &Snapshot) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let types = snapshot.types().len();
    if types > MANY_TYPES && tracked().is_none() && is_first(&WARNED) {
        warn(format_args!(
            "a database has {types} user-defined types, and each checkout compares them all, which takes its server \
             some {} µs: call `track` for those that the application binds",
            types / 2
        ));
    }
}

pub(crate) fn that_identity_is_refused() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if is_first(&WARNED) {
        warn(format_args!(
            "this role may not ask the server who it is, so servers are told apart by their types alone, and the \
             statement cache of its connections stays off; to change that, GRANT EXECUTE ON FUNCTION \
             pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(), pg_catalog.pg_control_system(), \
             pg_catalog.pg_relation_filepath(pg_catalog.regclass), pg_catalog.current_schemas(boolean) to it"
        ));
    }
}

pub(crate) fn that_replicas_take_turns() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if is_first(&WARNED) {
        warn(format_args!(
            "two servers with the same system identifier take turns behind one address, and each turn resets a \
             connection: if they are a primary and its standbys, HotUpgradeManager::interchangeable_replicas(true) \
             saves that; its documentation says what it gives up"
        ));
    }
}

/// Once for each value of `target_session_attrs`.
pub(crate) fn that_a_server_does_not_fit(unfit: Unfit) {
    static READ_WRITE: AtomicBool = AtomicBool::new(false);
    static READ_ONLY: AtomicBool = AtomicBool::new(false);
    static PRIMARY: AtomicBool = AtomicBool::new(false);
    static STANDBY: AtomicBool = AtomicBool::new(false);
    let warned = match unfit.wanted {
        TargetSessionAttrs::Any | TargetSessionAttrs::ReadWrite => &READ_WRITE,
        TargetSessionAttrs::ReadOnly => &READ_ONLY,
        TargetSessionAttrs::Primary => &PRIMARY,
        TargetSessionAttrs::Standby => &STANDBY,
    };
    if is_first(warned) {
        warn(format_args!("{unfit}; the connection is replaced, and further ones are logged at debug"));
    } else {
        note(format_args!("{unfit}"));
    }
}

pub(crate) fn that_pooler_does_not_follow() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if is_first(&WARNED) {
        warn(format_args!(
            "the pooler does not notice DEALLOCATE ALL, so it keeps prepared statements that are out of date: use \
             PgBouncer 1.22 or later, or run its RECONNECT after a migration"
        ));
    }
}

pub(crate) fn that_catalog_is_refused(error: &Error) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if is_first(&WARNED) {
        warn(format_args!(
            "a server did not tell which types it has, so the caches of its connections are emptied at every \
             checkout until it does, which is slow but never wrong: {}",
            printable(error)
        ));
    }
}

pub(crate) fn that_locks_are_refused() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if is_first(&WARNED) {
        warn(format_args!(
            "this role may not take advisory locks, so a transaction that runs again after its connection was lost may \
             meet the locks of its own lost attempt; to change that, GRANT EXECUTE ON FUNCTION \
             pg_catalog.pg_advisory_xact_lock_shared(bigint), pg_catalog.pg_try_advisory_xact_lock(bigint) to it"
        ));
    }
}

/// Cuts that follow each other within this time are one outage.
const QUIET_TIME: Duration = Duration::from_secs(10);

static OUTAGE: Mutex<Option<Instant>> = Mutex::new(None);

pub(crate) fn that_connections_are_cut() {
    if begins_outage(&OUTAGE, Instant::now()) {
        warn(format_args!(
            "a connection was lost under a transaction; transactions that had not sent COMMIT run again on another \
             connection"
        ));
    }
}

pub(crate) fn that_server_became_read_only() {
    if begins_outage(&OUTAGE, Instant::now()) {
        warn(format_args!(
            "a server that took writes takes none any more, or has loaded its settings anew; transactions that failed \
             meanwhile run again on another connection"
        ));
    }
}

fn begins_outage(last_cut: &Mutex<Option<Instant>>, now: Instant) -> bool {
    let mut last_cut = last_cut.lock().unwrap_or_else(PoisonError::into_inner);
    let before = last_cut.replace(now);
    before.is_none_or(|before| now.duration_since(before) > QUIET_TIME)
}

fn is_first(warned: &AtomicBool) -> bool {
    !warned.swap(true, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_warned_of_once() {
        let (cut, start) = (Mutex::new(None), Instant::now());
        let seconds = [0, 1, 10, 19, 30, 31];
        let warned = seconds.map(|second| begins_outage(&cut, start + Duration::from_secs(second)));
        assert_eq!(warned, [true, false, false, false, true, false]);
    }
}
