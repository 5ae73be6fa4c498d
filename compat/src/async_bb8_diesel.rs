//! `async-bb8-diesel`: a manager whose check replaces the stock one.

use async_bb8_diesel::{AsyncConnection, Connection, ConnectionError, ConnectionManager, PoolResult};
use bb8::{ManageConnection, Pool};
use diesel::{PgConnection, QueryResult};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

/// Checks each connection at checkout.
pub struct HotUpgradeBb8Manager(pub ConnectionManager<PgConnection>);

impl ManageConnection for HotUpgradeBb8Manager {
    type Connection = Connection<PgConnection>;
    type Error = ConnectionError;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        self.0.connect().await
    }

    async fn is_valid(&self, conn: &mut Self::Connection) -> Result<(), Self::Error> {
        conn.run(|conn| Ok(synchronize(conn).map(drop)?)).await
    }

    fn has_broken(&self, conn: &mut Self::Connection) -> bool {
        self.0.has_broken(conn)
    }
}

/// Runs `work` in a verified transaction. The pool may be a stock one.
pub async fn transaction<T: Send + 'static>(
    pool: &Pool<impl ManageConnection<Connection = Connection<PgConnection>, Error = ConnectionError>>,
    work: impl FnMut(&mut PgConnection) -> QueryResult<T> + Send + 'static,
) -> PoolResult<T> {
    let conn = pool.get().await?;
    Ok(conn.run(|conn| conn.hot_transaction(work)).await?)
}
