//! What this crate did and reported, counted. The counters and the log belong to the process: one test at a time.

use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Stats, stats};
use log::Level;

use crate::support::events::{logged, record_log};
use crate::support::meaning::Verdict;
use crate::support::ways::HotPool;

/// The only test that runs, until this is dropped.
pub(crate) struct Alone {
    _guard: MutexGuard<'static, ()>,
    before: Stats,
    warned_before: usize,
}

pub(crate) fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    record_log();
    Alone { _guard: guard, before: stats(), warned_before: logged(Level::Warn, "").len() }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) loads: u64,
    pub(crate) resets: u64,
    pub(crate) changes: u64,
    pub(crate) warnings: Vec<String>,
}

impl Alone {
    /// Counts from here on.
    pub(crate) fn begin(&mut self) {
        self.before = stats();
        self.warned_before = logged(Level::Warn, "").len();
    }

    pub(crate) fn counted(&self) -> Counted {
        let now = stats();
        Counted {
            loads: now.catalog_loads() - self.before.catalog_loads(),
            resets: now.resets() - self.before.resets(),
            changes: now.changes() - self.before.changes(),
            warnings: logged(Level::Warn, "").split_off(self.warned_before),
        }
    }
}

/// Checks out every connection at the same moment, and uses each on a thread of its own. Returns what was wrong.
pub(crate) fn storm(pool: &HotPool, used: fn(&mut PgConnection) -> Verdict) -> Vec<String> {
    let barrier = Barrier::new(pool.max_size() as usize);
    thread::scope(|scope| {
        let users: Vec<_> = (0..pool.max_size())
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let conn = pool.get();
                    // None is given back before all are taken.
                    barrier.wait();
                    conn.map_or_else(|error| Err(format!("checkout: {error}")), |mut conn| used(&mut conn))
                })
            })
            .collect();
        users.into_iter().filter_map(|user| user.join().expect("no panic").err()).collect()
    })
}
