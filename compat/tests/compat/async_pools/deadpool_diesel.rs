//! `deadpool-diesel`.

use compat::deadpool_diesel::{pool, transaction};
use deadpool_diesel::postgres::{Manager, Pool, Runtime};

use super::survives::{Job, JobPool, SIZE, in_stock_transaction, survives, text, upgrade, write_and_read_back};

impl JobPool for Pool {
    async fn run(self, mut job: Job) -> Result<bool, String> {
        let conn = self.get().await.map_err(text)?;
        conn.interact(move |conn| job(conn)).await.map_err(text)?.map_err(text)
    }
}

#[derive(Clone)]
struct Verified(Pool);

impl JobPool for Verified {
    async fn run(self, job: Job) -> Result<bool, String> {
        transaction(&self.0, job).await.map_err(text)
    }
}

fn stock_pool(url: &str) -> Pool {
    Pool::builder(Manager::new(url, Runtime::Tokio1)).max_size(SIZE).build().expect("a stock pool")
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_statements_in_deadpool_are_right_after_a_switch() {
    let upgrade = upgrade();
    let url = upgrade.url();
    let hot = pool(&url, SIZE).expect("a protected pool");
    survives(&upgrade, hot, async || stock_pool(&url), write_and_read_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_transactions_in_a_stock_deadpool_are_right_after_a_switch() {
    let upgrade = upgrade();
    let url = upgrade.url();
    let hot = Verified(stock_pool(&url));
    survives(&upgrade, hot, async || stock_pool(&url), in_stock_transaction).await;
}
