//! The two that are compared: pools as an application builds them, with this crate and without.

use std::time::Duration;

use diesel::connection::{CacheSize, Connection};
use diesel::pg::PgConnection;
use diesel::r2d2::{
    Builder, ConnectionManager, CustomizeConnection, Error, ManageConnection, NopConnectionCustomizer, Pool,
};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, Verify};

use super::AnyError;

pub(crate) type StockPool = Pool<ConnectionManager<PgConnection>>;
pub(crate) type ProtectedPool = Pool<HotUpgradeManager>;

/// No connection of it lapses while it is measured.
pub(crate) const WINDOW: Verify = Verify::AtMostEvery(Duration::from_secs(3600));

pub(crate) fn stock(url: &str, size: u32, cache: CacheSize) -> Result<StockPool, AnyError> {
    let pool = builder(size).connection_customizer(users_customizer(cache));
    Ok(pool.build(ConnectionManager::new(url))?)
}

pub(crate) fn protected(
    url: &str,
    size: u32,
    cache: CacheSize,
    verify: Verify,
) -> Result<ProtectedPool, AnyError> {
    of_manager(HotUpgradeManager::new(url).verify(verify), size, cache)
}

/// As [`protected`], if the servers that answer are replicas of one another.
#[allow(dead_code)] // Criterion's benchmarks have none.
pub(crate) fn protected_replicas(url: &str, size: u32, cache: CacheSize) -> Result<ProtectedPool, AnyError> {
    of_manager(HotUpgradeManager::new(url).interchangeable_replicas(true), size, cache)
}

fn of_manager(manager: HotUpgradeManager, size: u32, cache: CacheSize) -> Result<ProtectedPool, AnyError> {
    let customizer = HotUpgradeCustomizer::wrap(users_customizer(cache));
    Ok(builder(size).connection_customizer(Box::new(customizer)).build(manager)?)
}

/// A pool replaces no connection by itself while it is measured.
fn builder<M: ManageConnection>(size: u32) -> Builder<M> {
    Pool::builder()
        .max_size(size)
        .connection_timeout(Duration::from_secs(60))
        .max_lifetime(None)
        .idle_timeout(None)
}

fn users_customizer(cache: CacheSize) -> Box<dyn CustomizeConnection<PgConnection, Error>> {
    match cache {
        CacheSize::Disabled => Box::new(DisableStatementCache),
        _ => Box::new(NopConnectionCustomizer),
    }
}

#[derive(Debug)]
struct DisableStatementCache;

impl CustomizeConnection<PgConnection, Error> for DisableStatementCache {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(())
    }
}
