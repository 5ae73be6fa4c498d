//! The two pools that every scenario compares.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{
    ConnectionManager, CustomizeConnection, Error, ManageConnection, NopConnectionCustomizer, Pool,
};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::Upgrade;
pub(crate) use fixture::{builder, on_every_connection};
use testbed::PgBouncerConfig;

pub(crate) type StockPool = Pool<ConnectionManager<PgConnection>>;
pub(crate) type HotPool = Pool<HotUpgradeManager>;

/// Two servers with the default PgBouncer in front.
pub(crate) fn upgrade() -> Upgrade {
    Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler")
}

pub(crate) const NOTHING_WRONG: &[String] = &[];

/// What a user does who sits behind a pooler without support for prepared statements.
#[derive(Debug)]
pub(crate) struct DisableStatementCache;

impl CustomizeConnection<PgConnection, Error> for DisableStatementCache {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(())
    }
}

fn users_customizer(cache: CacheSize) -> Box<dyn CustomizeConnection<PgConnection, Error>> {
    match cache {
        CacheSize::Disabled => Box::new(DisableStatementCache),
        _ => Box::new(NopConnectionCustomizer),
    }
}

pub(crate) fn stock_pool(url: &str, size: u32, cache: CacheSize) -> StockPool {
    builder(size)
        .connection_customizer(users_customizer(cache))
        .build(ConnectionManager::new(url))
        .expect("a stock pool")
}

pub(crate) fn hot_pool(url: &str, size: u32, cache: CacheSize) -> HotPool {
    builder(size)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(users_customizer(cache))))
        .build(HotUpgradeManager::new(url))
        .expect("a protected pool")
}

/// Lets every connection of the pool write and read each type of the fixture, all checked out at once, and returns
/// what went wrong on each.
pub(crate) fn use_every_connection<M>(pool: &Pool<M>) -> Vec<String>
where
    M: ManageConnection<Connection = PgConnection>,
{
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    on_every_connection(pool, |conn| fixture::write_and_read_back(conn, NUMBER.fetch_add(1, Ordering::Relaxed)))
}
