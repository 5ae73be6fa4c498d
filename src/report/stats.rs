//! Counters for dashboards and tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::catalog::table::OID_TABLE;

pub(crate) static COUNTERS: Counters = Counters {
    probes: Counter(AtomicU64::new(0)),
    changes: Counter(AtomicU64::new(0)),
    catalog_loads: Counter(AtomicU64::new(0)),
    resets: Counter(AtomicU64::new(0)),
    heals_for_types: Counter(AtomicU64::new(0)),
    heals_for_catalog: Counter(AtomicU64::new(0)),
    reruns_for_types: Counter(AtomicU64::new(0)),
    reruns_for_catalog: Counter(AtomicU64::new(0)),
    failures_left: Counter(AtomicU64::new(0)),
    reruns_after_cuts: Counter(AtomicU64::new(0)),
    lost_connections: Counter(AtomicU64::new(0)),
    unknown_outcomes: Counter(AtomicU64::new(0)),
    unfit: Counter(AtomicU64::new(0)),
};

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) probes: Counter,
    pub(crate) changes: Counter,
    pub(crate) catalog_loads: Counter,
    pub(crate) resets: Counter,
    pub(crate) heals_for_types: Counter,
    pub(crate) heals_for_catalog: Counter,
    pub(crate) reruns_for_types: Counter,
    pub(crate) reruns_for_catalog: Counter,
    pub(crate) failures_left: Counter,
    pub(crate) reruns_after_cuts: Counter,
    pub(crate) lost_connections: Counter,
    pub(crate) unknown_outcomes: Counter,
    pub(crate) unfit: Counter,
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
    heals_for_types: u64,
    heals_for_catalog: u64,
    reruns_for_types: u64,
    reruns_for_catalog: u64,
    failures_left: u64,
    reruns_after_cuts: u64,
    lost_connections: u64,
    unknown_outcomes: u64,
    unfit_connections: u64,
    freshness_bound: Duration,
}

impl Stats {
    /// Checks: if nothing changed, one for each checkout that is checked, and one for each verified transaction. (The
    /// further statements that a change costs are not counted.)
    #[must_use]
    pub fn probes(&self) -> u64 {
        self.probes
    }

    /// Changes that were reported to [`on_change`](crate::on_change). Each is counted once, not once for each
    /// connection.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Reads of a server's types: one round trip each. One for each process and change, not one for each connection.
    #[must_use]
    pub fn catalog_loads(&self) -> u64 {
        self.catalog_loads
    }

    /// Failures of verified transactions, and of [`hot_query`](crate::HotUpgradeExt::hot_query), that the application
    /// did not see, because the rerun succeeded: the sum of [`Stats::heals_for_types`] and
    /// [`Stats::heals_for_catalog`].
    #[must_use]
    pub fn heals(&self) -> u64 {
        self.heals_for_types + self.heals_for_catalog
    }

    /// Heals after which types had moved, or the connection had never been checked before.
    #[must_use]
    pub fn heals_for_types(&self) -> u64 {
        self.heals_for_types
    }

    /// Heals of prepared statements that were out of date: a table, a column, a type or a function had changed, or
    /// statements were gone.
    #[must_use]
    pub fn heals_for_catalog(&self) -> u64 {
        self.heals_for_catalog
    }

    /// Reruns, also those in vain, because types had moved, or because the connection was never checked before.
    #[must_use]
    pub fn reruns_for_types(&self) -> u64 {
        self.reruns_for_types
    }

    /// Reruns, also those in vain, because prepared statements may have been out of date: a table, a column, a type or
    /// a function had changed, or statements were gone.
    #[must_use]
    pub fn reruns_for_catalog(&self) -> u64 {
        self.reruns_for_catalog
    }

    /// Failures of statements that went to the application: they had nothing to do with the connection's caches, or the
    /// reruns failed too.
    #[must_use]
    pub fn failures_left(&self) -> u64 {
        self.failures_left
    }

    /// Tries of [`pool.hot_transaction`](crate::HotUpgradePool::hot_transaction) after the first one: its connection
    /// was lost, or its server takes no writes any more.
    #[must_use]
    pub fn reruns_after_cuts(&self) -> u64 {
        self.reruns_after_cuts
    }

    /// Connections that were lost under a transaction of
    /// [`pool.hot_transaction`](crate::HotUpgradePool::hot_transaction): those with an unknown outcome, and those that
    /// turned out to be dead at `BEGIN`, included.
    #[must_use]
    pub fn lost_connections(&self) -> u64 {
        self.lost_connections
    }

    /// Transactions of [`pool.hot_transaction`](crate::HotUpgradePool::hot_transaction) whose connection was lost while
    /// `COMMIT` was under way.
    #[must_use]
    pub fn unknown_outcomes(&self) -> u64 {
        self.unknown_outcomes
    }

    /// Connections that were refused because their server does not fit
    /// [`target_session_attrs`](crate::HotUpgradeManager::target_session_attrs): when they were new, at a checkout, or
    /// at the beginning of a verified transaction.
    #[must_use]
    pub fn unfit_connections(&self) -> u64 {
        self.unfit_connections
    }

    /// How long a new type may go unnoticed at most, of all databases that this process knows: one second. If a look
    /// for new types takes longer than 10 ms, 100 times that; while a look waits for a lock on `pg_type`, up to 10
    /// seconds more. A type that is created, used, moved, and used again within that time can be wrong.
    #[must_use]
    pub fn freshness_bound(&self) -> Duration {
        self.freshness_bound
    }

    /// Connections whose caches were emptied because they could be wrong. The first check of a new connection does not
    /// count.
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
        heals_for_types: COUNTERS.heals_for_types.get(),
        heals_for_catalog: COUNTERS.heals_for_catalog.get(),
        reruns_for_types: COUNTERS.reruns_for_types.get(),
        reruns_for_catalog: COUNTERS.reruns_for_catalog.get(),
        failures_left: COUNTERS.failures_left.get(),
        reruns_after_cuts: COUNTERS.reruns_after_cuts.get(),
        lost_connections: COUNTERS.lost_connections.get(),
        unknown_outcomes: COUNTERS.unknown_outcomes.get(),
        unfit_connections: COUNTERS.unfit.get(),
        freshness_bound: OID_TABLE.freshness_bound(),
    }
}
