//! Round trips of a pool's transaction on the wire, beside those of stock diesel-async's checkout and transaction. On
//! one thread: messages that are pipelined leave together.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_async::AsyncConnection;
use diesel_postgres_hot_upgrade::HotTransactionError;
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use testbed::{Cluster, Forwarder};

use crate::tools::{Bb8, Deadpool, Hot, Stock, bb8, deadpool};

fn run_on_one_thread<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

fn between() -> (Forwarder, String) {
    let server = Cluster::shared(12);
    let forwarder = Forwarder::start(server.address()).expect("a forwarder");
    let url = server.url_at(forwarder.address(), "postgres");
    (forwarder, url)
}

/// The least of some repetitions, since the first ones prepare statements, and a look for new types prepares one too.
macro_rules! fewest {
    ($forwarder:expr, $work:expr) => {{
        let mut counts = Vec::new();
        for _ in 0..8 {
            let before = $forwarder.round_trips();
            $work;
            counts.push($forwarder.round_trips() - before);
        }
        counts.into_iter().min().expect("some")
    }};
}

async fn hot(pool: &impl HotUpgradeAsyncPool) {
    let result: Result<(), HotTransactionError> = pool.hot_transaction(async |_| Ok(())).await;
    result.expect("a transaction");
}

#[test]
fn a_transaction_of_bb8_is_two_round_trips_checkout_included_and_the_stock_one_three() {
    let (forwarder, url) = between();
    run_on_one_thread(async {
        let pool: Bb8<Hot> = bb8(&url, 1, CacheSize::Unbounded).await;
        assert_eq!(fewest!(forwarder, hot(&pool).await), 2);
        let stock: Bb8<Stock> = bb8(&url, 1, CacheSize::Unbounded).await;
        let stock = fewest!(forwarder, {
            let mut conn = stock.get().await.expect("a connection");
            conn.transaction(async |_| QueryResult::Ok(())).await.expect("a transaction");
        });
        assert_eq!(stock, 3);
    });
}

#[test]
fn a_transaction_of_deadpool_is_two_round_trips_checkout_included_and_the_stock_one_three() {
    let (forwarder, url) = between();
    run_on_one_thread(async {
        let pool: Deadpool<Hot> = deadpool(&url, 1, CacheSize::Unbounded);
        assert_eq!(fewest!(forwarder, hot(&pool).await), 2);
        let stock: Deadpool<Stock> = deadpool(&url, 1, CacheSize::Unbounded);
        let stock = fewest!(forwarder, {
            let mut conn = stock.get().await.expect("a connection");
            conn.transaction(async |_| QueryResult::Ok(())).await.expect("a transaction");
        });
        assert_eq!(stock, 3);
    });
}
