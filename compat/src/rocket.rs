//! Rocket's `#[database]`: verified transactions in the stock pool, and a connection that brings its own pool.

use std::convert::Infallible;
use std::time::Duration;

use diesel::r2d2::Error;
use diesel::{PgConnection, QueryResult};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager};
use rocket::{Build, Rocket};
use rocket_sync_db_pools::r2d2::{ManageConnection, Pool};
use rocket_sync_db_pools::{Config, PoolResult, Poolable, database};

/// The database `app` in a stock pool.
#[database("app")]
pub struct App(PgConnection);

/// Runs `work` in a verified transaction.
pub async fn transaction<T: Send + 'static>(
    db: &App,
    work: impl FnMut(&mut PgConnection) -> QueryResult<T> + Send + 'static,
) -> QueryResult<T> {
    db.run(|conn| conn.hot_transaction(work)).await
}

/// The database `app` in a pool that checks each connection at checkout.
#[database("app")]
pub struct AppCheckedAtCheckout(CheckedConnection);

/// What that pool's `db.run(|conn| …)` has as `conn.0`.
pub struct CheckedConnection(pub PgConnection);

/// The manager of that pool.
pub struct CheckedConnectionManager(HotUpgradeManager);

impl ManageConnection for CheckedConnectionManager {
    type Connection = CheckedConnection;
    type Error = Error;

    fn connect(&self) -> Result<CheckedConnection, Error> {
        self.0.connect().map(CheckedConnection)
    }

    fn is_valid(&self, conn: &mut CheckedConnection) -> Result<(), Error> {
        self.0.is_valid(&mut conn.0)
    }

    fn has_broken(&self, conn: &mut CheckedConnection) -> bool {
        self.0.has_broken(&mut conn.0)
    }
}

impl Poolable for CheckedConnection {
    type Manager = CheckedConnectionManager;
    type Error = Infallible;

    fn pool(name: &str, rocket: &Rocket<Build>) -> PoolResult<Self> {
        let config = Config::from(name, rocket)?;
        Ok(Pool::builder()
            .max_size(config.pool_size)
            .connection_timeout(Duration::from_secs(config.timeout.into()))
            .build(CheckedConnectionManager(HotUpgradeManager::new(config.url)))?)
    }
}
