//! Futures that are dropped half-way: nothing stays open on a server, nothing is half reset, and nothing is wrong
//! afterwards.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use fixture::Upgrade;
use testbed::Cluster;

use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::support::server::wait_until;
use crate::tools::{Bb8, Hot, Stock, bb8, blocking, run, use_every_connection, write_and_read_back};

/// More than any of them takes.
const MAX_POLLS: usize = 300;

/// Polls so many times, and then drops the future. `None` if it was dropped.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Transactions that are open on either server and that nobody runs.
fn open_transactions(upgrade: &Upgrade) -> i64 {
    let count = |server: &Cluster| -> i64 {
        let mut client = server.client(&upgrade.database).expect("a client");
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'";
        client.query_one(sql, &[]).expect("a count").get(0)
    };
    count(upgrade.old) + count(upgrade.new)
}

fn nothing_stays_open(upgrade: &Upgrade) {
    blocking(|| wait_until("no transaction is open", || open_transactions(upgrade) == 0));
}

/// Drops what `work` begins after each number of polls, with and without a switch right before, until it is done before
/// it would be dropped.
async fn drop_at_every_poll(work: impl AsyncFn(&Bb8<Hot>, usize) -> bool) {
    let upgrade = blocking(upgrade);
    let pool: Bb8<Hot> = bb8(&upgrade.url(), 1, CacheSize::Unbounded).await;
    assert_eq!(use_every_connection!(pool, 1), NOTHING_WRONG);
    let mut now = upgrade.old;
    for is_switched in [false, true] {
        for polls in 0..=MAX_POLLS {
            if is_switched {
                now = if now.major() == 10 { upgrade.new } else { upgrade.old };
                blocking(|| upgrade.switch_to(now)).expect("a switch");
            }
            let is_done = work(&pool, polls).await;
            assert_eq!(use_every_connection!(pool, 1), NOTHING_WRONG, "after {polls} polls");
            let mut conn = pool.get().await.expect("no permit was kept");
            let verified: QueryResult<()> = conn.hot_transaction(async |conn| write_and_read_back!(conn)).await;
            assert_eq!(verified, Ok(()), "after {polls} polls");
            drop(conn);
            if is_done {
                break;
            }
            assert!(polls < MAX_POLLS, "it ends sooner");
        }
        nothing_stays_open(&upgrade);
    }
}

#[test]
fn a_verified_transaction_that_is_dropped_at_any_poll_leaves_nothing_open_and_nothing_wrong() {
    run(drop_at_every_poll(async |pool, polls| {
        let mut conn = pool.get().await.expect("a connection");
        let transaction = conn.hot_transaction(async |conn| -> QueryResult<()> { write_and_read_back!(conn) });
        dropped_after(polls, transaction).await.map(|done| done.expect("a transaction")).is_some()
    }));
}

#[test]
fn a_check_that_is_dropped_at_any_poll_leaves_nothing_half_done() {
    run(drop_at_every_poll(async |pool, polls| {
        // Of a pool's own check, too.
        let checkout = async {
            let mut conn = pool.get().await.expect("a connection");
            conn.synchronize().await.expect("a check");
        };
        dropped_after(polls, checkout).await.is_some()
    }));
}

#[test]
fn a_check_inside_a_transaction_that_is_dropped_at_any_poll_leaves_nothing_open() {
    run(drop_at_every_poll(async |pool, polls| {
        let mut conn = pool.get().await.expect("a connection");
        let transaction = conn.hot_transaction(async |conn| {
            // As `select!` in a closure does.
            let checked = dropped_after(polls, conn.synchronize()).await;
            let used: QueryResult<()> = write_and_read_back!(&mut *conn);
            used?;
            QueryResult::Ok(checked.is_some())
        });
        transaction.await.unwrap_or(false)
    }));
}

#[test]
fn a_healing_query_that_is_dropped_at_any_poll_leaves_nothing_wrong() {
    run(drop_at_every_poll(async |pool, polls| {
        let mut conn = pool.get().await.expect("a connection");
        let draft =
            fixture::documents::table.filter(fixture::documents::status.eq(fixture::Status::Draft)).count();
        dropped_after(polls, conn.hot_query(draft).get_result::<i64>())
            .await
            .map(|done| done.expect("a count"))
            .is_some()
    }));
}

#[test]
fn with_the_stock_connection_a_statement_runs_in_the_transaction_that_was_dropped() {
    run(async {
        let upgrade = blocking(upgrade);
        let url = upgrade.url();
        let mut stock: Stock = crate::tools::connect(&url).await;
        let mut hot: Hot = crate::tools::connect(&url).await;
        let never = async || std::future::pending::<QueryResult<()>>().await;
        let timeout = Duration::from_millis(200);
        let dropped = tokio::time::timeout(timeout, stock.transaction(async |_| never().await)).await;
        assert!(dropped.is_err());
        let dropped = tokio::time::timeout(timeout, hot.hot_transaction(async |_| never().await)).await;
        assert!(dropped.is_err());
        let is_begun = async |conn: &mut Stock| conn.transaction(async |_| QueryResult::Ok(())).await.is_ok();
        assert!(is_begun(&mut stock).await, "the control, which has a savepoint in a forgotten transaction");
        let error = hot.hot_transaction(async |_| QueryResult::Ok(())).await;
        assert!(matches!(error, Err(diesel::result::Error::BrokenTransactionManager)), "{error:?}");
    });
}

#[test]
fn timeouts_as_users_write_them_leave_a_pool_in_order() {
    let current_thread = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let upgrade = upgrade();
    let pool: Bb8<Hot> = current_thread.block_on(bb8(&upgrade.url(), 2, CacheSize::Unbounded));
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        current_thread.block_on(async {
            for microseconds in (0..20_000).step_by(500) {
                let transaction = async {
                    let mut conn = pool.get().await.expect("a connection");
                    let done: QueryResult<()> =
                        conn.hot_transaction(async |conn| write_and_read_back!(conn)).await;
                    done.expect("a transaction");
                };
                tokio::select! {
                    () = transaction => {}
                    () = tokio::time::sleep(Duration::from_micros(microseconds)) => {}
                }
            }
            assert_eq!(use_every_connection!(pool, 2), NOTHING_WRONG);
        });
        wait_until("no transaction is open", || open_transactions(&upgrade) == 0);
    }
}

#[test]
fn a_runtime_that_shuts_down_leaves_no_transaction_open() {
    let upgrade = upgrade();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("one");
    let pool: Bb8<Hot> = runtime.block_on(bb8(&upgrade.url(), 2, CacheSize::Unbounded));
    let (begun, has_begun) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let mut conn = pool.get().await.expect("a connection");
        let held: QueryResult<()> = conn
            .hot_transaction(async |conn| {
                RunQueryDsl::execute(diesel::sql_query("SELECT 1"), conn).await?;
                begun.send(()).expect("a test");
                std::future::pending().await
            })
            .await;
        held.expect("it never ends");
    });
    has_begun.recv().expect("a transaction");
    assert_eq!(open_transactions(&upgrade), 1);
    runtime.shutdown_timeout(Duration::from_secs(10));
    wait_until("no transaction is open", || open_transactions(&upgrade) == 0);
}
