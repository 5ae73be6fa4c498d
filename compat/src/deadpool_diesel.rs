//! `deadpool-diesel`: the check is the pool's recycling method.

use std::error::Error;

use deadpool_diesel::postgres::{BuildError, Manager, Pool, Runtime};
use deadpool_diesel::{ManagerConfig, RecyclingMethod};
use diesel::{PgConnection, QueryResult};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

/// A pool that checks each connection at checkout.
pub fn pool(database_url: &str, size: usize) -> Result<Pool, BuildError> {
    let check = RecyclingMethod::CustomFunction(Box::new(|conn| Ok(synchronize(conn).map(drop)?)));
    let config = ManagerConfig { recycling_method: check };
    let manager = Manager::from_config(database_url, Runtime::Tokio1, config);
    Pool::builder(manager).max_size(size).build()
}

/// Runs `work` in a verified transaction. The pool may be a stock one.
pub async fn transaction<T: Send + 'static>(
    pool: &Pool,
    work: impl FnMut(&mut PgConnection) -> QueryResult<T> + Send + 'static,
) -> Result<T, Box<dyn Error + Send + Sync>> {
    let conn = pool.get().await?;
    let answer = conn.interact(|conn| conn.hot_transaction(work)).await;
    Ok(answer.map_err(|error| error.to_string())??)
}
