//! Pools over servers of a test's own, all of whose connections are used at once.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel_postgres_hot_upgrade::HotUpgradeManager;
use fixture::{Upgrade, write_and_read_back};
use testbed::PgBouncerConfig;

use crate::support::counted;
use crate::support::ways::{HotPool, pool_of};

pub(crate) fn upgrade(config: PgBouncerConfig) -> Upgrade {
    Upgrade::on_own_servers(config).expect("two servers and a pooler")
}

pub(crate) fn pool(url: &str, size: u32) -> HotPool {
    pool_of(size, HotUpgradeManager::new(url))
}

/// Every connection, checked out at the same moment, uses each type of the fixture.
pub(crate) fn storm(pool: &HotPool) {
    assert_eq!(counted::storm(pool, |conn| write_and_read_back(conn, next_number())), [""; 0]);
}

pub(crate) fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
