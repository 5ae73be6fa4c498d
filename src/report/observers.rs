//! Observers: who is called after a change, and how often.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lazy_static::lazy_static;

use crate::catalog::snapshot::{Scope, Snapshot, SnapshotId};
use crate::report::change::Change;
use crate::report::log;
use crate::report::stats::COUNTERS;

type Observer = Arc<dyn Fn(&Change) + Send + Sync>;

lazy_static! {
    static ref OBSERVERS: Mutex<Vec<Observer>> = Mutex::default();
    static ref NOTICED: Mutex<Noticed> = Mutex::default();
}

/// Calls `observer` once for each change that this process notices, however many connections notice it: another server
/// (another system identifier, major version or database name), or types that moved on one server.
///
/// Not reported are restarts, promotions, flips between replicas, types that were only added or dropped, and another
/// search path. If two servers take turns behind one address, each turn is a change: limit how often you page.
///
/// Use it to drop caches of your own, or to page the person on call. It runs on the thread that noticed the change,
/// with no lock of this crate held: while the pool hands out a connection, or before the closure of a verified
/// transaction, whose server connection it may hold. Be quick, and don't take another connection from the same pool. A
/// panic is caught and logged. An observer stays for the life of the process.
///
/// ```
/// diesel_postgres_hot_upgrade::on_change(|change| {
///     // Such as: the server changed from PostgreSQL 10.23 (system …), database "app" to PostgreSQL 12.22 …
///     eprintln!("{change}");
/// });
/// ```
pub fn on_change(observer: impl Fn(&Change) + Send + Sync + 'static) {
    lock(&OBSERVERS).push(Arc::new(observer));
}

/// Says what moved between two snapshots. Reports it to the log and to the observers, if that was not done yet.
pub(crate) fn notice(from: &Snapshot, to: &Snapshot) -> Arc<Change> {
    let news = lock(&NOTICED).add(from, to, Instant::now());
    log::note(format_args!("a connection was reset: {}", news.change));
    // What a session or a transaction did to itself concerns no other.
    let is_own = [from, to].iter().any(|snapshot| snapshot.scope != Scope::Everyone);
    if news.is_new && !is_own && news.change.is_reported() {
        COUNTERS.changes.increment();
        if news.is_quiet {
            log::note(format_args!("again: {}", news.change));
        } else {
            log::warn(format_args!("{}", news.change));
        }
        call_observers(&news.change);
    }
    news.change
}

fn call_observers(change: &Change) {
    let observers = lock(&OBSERVERS).clone();
    for observer in observers {
        if catch_unwind(AssertUnwindSafe(|| observer(change))).is_err() {
            log::error(format_args!("an observer of on_change panicked; the pool goes on without it"));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// If two servers alternate behind one address, each flip is a change. It is warned of once in this time.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// More pairs are not remembered: servers come and go in a process that lives for months.
const MAX_NOTICED: usize = 1024;

/// The changes that were reported.
#[derive(Debug, Default)]
struct Noticed {
    changes: HashMap<(SnapshotId, SnapshotId), Notice>,
}

#[derive(Debug)]
struct Notice {
    change: Arc<Change>,
    warned: Instant,
    /// True until a connection leaves the new server again. Until then, further arrivals are not reported.
    is_current: bool,
}

#[derive(Debug)]
struct News {
    change: Arc<Change>,
    is_new: bool,
    is_quiet: bool,
}

impl Noticed {
    fn add(&mut self, from: &Snapshot, to: &Snapshot, now: Instant) -> News {
        let pair = (from.id, to.id);
        if let Some(notice) = self.changes.get(&pair).filter(|notice| notice.is_current) {
            return News { change: Arc::clone(&notice.change), is_new: false, is_quiet: true };
        }
        for (_, notice) in self.changes.iter_mut().filter(|((_, arrived), _)| *arrived == from.id) {
            notice.is_current = false;
        }
        let last_warned = self.changes.get(&pair).map(|notice| notice.warned);
        let is_quiet = last_warned.is_some_and(|warned| now.duration_since(warned) < QUIET_TIME);
        let change = Arc::new(Change::between(from, to));
        let warned = last_warned.filter(|_| is_quiet).unwrap_or(now);
        if self.changes.len() >= MAX_NOTICED {
            self.changes.clear();
        }
        self.changes.insert(pair, Notice { change: Arc::clone(&change), warned, is_current: true });
        News { change, is_new: true, is_quiet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::change::tests::{new, old};

    #[test]
    fn a_change_is_new_once_until_a_connection_leaves_the_new_server() {
        let (old, new) = (old(), new());
        let mut noticed = Noticed::default();
        let now = Instant::now();

        let news = noticed.add(&old, &new, now);
        assert!(news.is_new && !news.is_quiet, "the first to notice");
        assert!(!noticed.add(&old, &new, now).is_new, "all others");
        assert!(noticed.add(&new, &old, now).is_new, "the way back");
        assert!(!noticed.add(&new, &old, now).is_new);

        let again = noticed.add(&old, &new, now);
        assert!(again.is_new && again.is_quiet, "at once again: reported, but not warned of");
        noticed.add(&new, &old, now);
        let later = noticed.add(&old, &new, now + QUIET_TIME);
        assert!(later.is_new && !later.is_quiet);
    }
}
