//! Counters for dashboards and tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::catalog::table::OID_TABLE;

pub(crate) static COUNTERS: Counters = Counters {
    probes: Counter(AtomicU64::new(0)),
    changes: Counter(AtomicU64::new(0)),
    catalog_loads: Counter(AtomicU64::new(0)),
    resets: Counter(AtomicU64::new(0)),
};

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) probes: Counter,
    pub(crate) changes: Counter,
    pub(crate) catalog_loads: Counter,
    pub(crate) resets: Counter,
}

#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What this crate did in this process so far. Every counter only grows; subtract two readings for a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    probes: u64,
    changes: u64,
    catalog_loads: u64,
    resets: u64,
    freshness_bound: Duration,
}

impl Stats {
    /// Probes sent: where nothing changed, one for each checkout that asks, and one for each verified transaction. (What
    /// else a change costs is not counted here.)
    #[must_use]
    pub fn probes(&self) -> u64 {
        self.probes
    }

    /// Changes of which [`on_change`](crate::on_change) told, each counted once however many connections it concerned.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Reads of a server's type catalog: one round trip each. One a process and change, not one a connection.
    #[must_use]
    pub fn catalog_loads(&self) -> u64 {
        self.catalog_loads
    }

    /// How long a new type may go unnoticed at most, of all databases that this process knows: one second, or 100 times
    /// what a look for new types takes, if that is longer than 10 ms. Within that time after it was created, a type that
    /// is used, moved, and used again can be wrong.
    #[must_use]
    pub fn freshness_bound(&self) -> Duration {
        self.freshness_bound
    }

    /// Connections whose caches were emptied because they could be wrong. The first look at a new connection does
    /// not count.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.resets
    }
}

/// Reads the counters of this process. No round trip.
///
/// ```
/// let before = diesel_postgres_hot_upgrade::stats();
/// // … serve requests …
/// let after = diesel_postgres_hot_upgrade::stats();
/// println!("{} probes, {} changes", after.probes() - before.probes(), after.changes() - before.changes());
/// ```
#[must_use]
pub fn stats() -> Stats {
    Stats {
        probes: COUNTERS.probes.get(),
        changes: COUNTERS.changes.get(),
        catalog_loads: COUNTERS.catalog_loads.get(),
        resets: COUNTERS.resets.get(),
        freshness_bound: OID_TABLE.freshness_bound(),
    }
}
