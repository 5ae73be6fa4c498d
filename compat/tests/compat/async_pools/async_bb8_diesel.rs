//! `async-bb8-diesel`.

use std::time::Duration;

use async_bb8_diesel::{AsyncConnection, Connection, ConnectionManager};
use bb8::{ManageConnection, Pool};
use compat::async_bb8_diesel::{HotUpgradeBb8Manager, transaction};
use diesel::PgConnection;

use super::survives::{Job, JobPool, SIZE, in_stock_transaction, survives, text, upgrade, write_and_read_back};

type Stock = ConnectionManager<PgConnection>;

impl<M: ManageConnection<Connection = Connection<PgConnection>>> JobPool for Pool<M> {
    async fn run(self, mut job: Job) -> Result<bool, String> {
        let conn = self.get().await.map_err(|_| "checkout")?;
        conn.run(move |conn| job(conn)).await.map_err(text)
    }
}

#[derive(Clone)]
struct Verified(Pool<Stock>);

impl JobPool for Verified {
    async fn run(self, job: Job) -> Result<bool, String> {
        transaction(&self.0, job).await.map_err(text)
    }
}

async fn pool<M: ManageConnection>(manager: M) -> Pool<M> {
    let size = u32::try_from(SIZE).expect("a size");
    let builder = Pool::builder().max_size(size).connection_timeout(Duration::from_secs(60));
    builder.build(manager).await.expect("a pool")
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_statements_in_bb8_are_right_after_a_switch() {
    let upgrade = upgrade();
    let stock = async || pool(Stock::new(upgrade.url())).await;
    let hot = pool(HotUpgradeBb8Manager(Stock::new(upgrade.url()))).await;
    survives(&upgrade, hot, stock, write_and_read_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_transactions_in_a_stock_bb8_are_right_after_a_switch() {
    let upgrade = upgrade();
    let stock = async || pool(Stock::new(upgrade.url())).await;
    survives(&upgrade, Verified(stock().await), stock, in_stock_transaction).await;
}
