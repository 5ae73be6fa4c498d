//! Futures that are dropped half-way: nothing stays open on a server, nothing is half reset, and nothing is wrong
//! afterwards.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncConnection, RunQueryDsl};
use diesel_postgres_hot_upgrade::TargetSessionAttrs;
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use fixture::{Upgrade, documents};
use testbed::Cluster;

use crate::support::meaning::Label;
use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::support::server::wait_until;
use crate::tools::{
    Asks, Bb8, Hot, Stock, bb8, blocking, connect, run, use_every_connection, write_and_read_back,
};

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
    aside(|| wait_until("no transaction is open", || open_transactions(upgrade) == 0));
}

/// Work that blocks, on a thread of its own: one of the runtimes has no other one.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

/// When the server is switched, if something is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    Never,
    Before,
    /// Begun on another thread when the work begins. If that is dropped in a transaction, it goes on then.
    Meanwhile,
}

/// On one thread, and on several.
fn on_both_runtimes(test: impl AsyncFn()) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test());
    run(test());
}

/// Drops what `work` begins after each number of polls, until it is done before it would be dropped.
async fn drop_at_every_poll(work: impl AsyncFn(&Bb8<Hot>, &Upgrade, usize) -> bool) {
    let upgrade = Arc::new(aside(upgrade));
    let pool: Bb8<Hot> = bb8(&upgrade.url(), 1, CacheSize::Unbounded).await;
    assert_eq!(use_every_connection!(pool, 1), NOTHING_WRONG);
    let mut now = upgrade.old;
    for switch in [Switch::Never, Switch::Before, Switch::Meanwhile] {
        for polls in 0..=MAX_POLLS {
            let switching = (switch != Switch::Never).then(|| {
                now = if now.major() == 10 { upgrade.new } else { upgrade.old };
                let upgrade = Arc::clone(&upgrade);
                std::thread::spawn(move || upgrade.switch_to(now).map_err(|error| error.to_string()))
            });
            let finish = |switching: Option<JoinHandle<Result<(), String>>>| {
                let finished = switching.map(|switching| aside(|| switching.join().expect("no panic")));
                finished.unwrap_or(Ok(())).expect("a switch");
            };
            let is_done = if switch == Switch::Before {
                finish(switching);
                work(&pool, &upgrade, polls).await
            } else {
                let is_done = work(&pool, &upgrade, polls).await;
                // A connection that its pool closes has to leave the pooler.
                tokio::task::yield_now().await;
                finish(switching);
                is_done
            };
            assert_eq!(use_every_connection!(pool, 1), NOTHING_WRONG, "{switch:?}, after {polls} polls");
            let mut conn = pool.get().await.expect("no permit was kept");
            let verified: QueryResult<()> = conn.hot_transaction(async |conn| write_and_read_back!(conn)).await;
            assert_eq!(verified, Ok(()), "{switch:?}, after {polls} polls");
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
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, _, polls| {
            let mut conn = pool.get().await.expect("a connection");
            let transaction = conn.hot_transaction(async |conn| -> QueryResult<()> { write_and_read_back!(conn) });
            dropped_after(polls, transaction).await.map(|done| done.expect("a transaction")).is_some()
        })
        .await;
    });
}

/// `BEGIN` is one message with the SQL before the check, and the check comes inside the transaction.
#[test]
fn a_transaction_with_sql_before_its_check_that_is_dropped_at_any_poll_leaves_nothing_open_and_nothing_wrong() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, _, polls| {
            let mut conn = pool.get().await.expect("a connection");
            let transaction = conn.hot_transaction_with(
                |builder| builder.serializable().before_probe("SET LOCAL search_path = public, pg_temp"),
                async |conn| -> QueryResult<()> { write_and_read_back!(conn) },
            );
            dropped_after(polls, transaction).await.map(|done| done.expect("a transaction")).is_some()
        })
        .await;
    });
}

/// Its checkout, its `BEGIN`, which checks the server, and what follows.
#[test]
fn a_pools_transaction_that_is_dropped_at_any_poll_of_a_switch_leaves_nothing_open_and_nothing_wrong() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, _, polls| {
            let transaction = pool.hot_transaction(async |conn| -> QueryResult<()> { write_and_read_back!(conn) });
            dropped_after(polls, transaction).await.map(|done| done.expect("a transaction")).is_some()
        })
        .await;
    });
}

#[test]
fn a_connection_that_is_set_up_and_dropped_at_any_poll_leaves_nothing_wrong() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |_, upgrade, polls| {
            let url = upgrade.url();
            let set_up = async {
                let conn = Hot::wrap(Stock::establish(&url).await.expect("a connection"));
                let mut conn = conn.target_session_attrs(TargetSessionAttrs::ReadWrite).await.expect("a primary");
                conn.synchronize().await.expect("a check");
            };
            dropped_after(polls, set_up).await.is_some()
        })
        .await;
    });
}

#[test]
fn a_check_that_is_dropped_at_any_poll_leaves_nothing_half_done() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, _, polls| {
            // Of a pool's own check, too.
            let checkout = async {
                let mut conn = pool.get().await.expect("a connection");
                conn.synchronize().await.expect("a check");
            };
            dropped_after(polls, checkout).await.is_some()
        })
        .await;
    });
}

#[test]
fn a_check_inside_a_transaction_that_is_dropped_at_any_poll_leaves_nothing_open() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, _, polls| {
            let mut conn = pool.get().await.expect("a connection");
            let transaction = conn.hot_transaction(async |conn| {
                // As `select!` in a closure does.
                let checked = dropped_after(polls, conn.synchronize()).await;
                let used: QueryResult<()> = write_and_read_back!(&mut *conn);
                used?;
                QueryResult::Ok(checked.is_some())
            });
            transaction.await.unwrap_or(false)
        })
        .await;
    });
}

#[test]
fn a_healing_query_that_is_dropped_at_any_poll_leaves_nothing_wrong() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, _, polls| {
            let mut conn = pool.get().await.expect("a connection");
            let drafts = documents::table.filter(documents::status.eq(fixture::Status::Draft)).count();
            let dropped = dropped_after(polls, conn.hot_query(drafts).get_result::<i64>()).await;
            dropped.map(|done| done.expect("a count")).is_some()
        })
        .await;
    });
}

/// Also of one whose types have to be looked up: the row type of a table.
#[test]
fn a_plain_query_that_is_dropped_at_any_poll_leaves_nothing_wrong() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |pool, upgrade, polls| {
            let create = "CREATE TABLE IF NOT EXISTS label ()";
            for server in [upgrade.old, upgrade.new] {
                aside(|| upgrade.run_on(server, create).map_err(|error| error.to_string())).expect("a row type");
            }
            let mut conn = pool.get().await.expect("a connection");
            let queries = async {
                let used: QueryResult<()> = write_and_read_back!(&mut *conn);
                // Nothing was asked after a switch that went on meanwhile.
                let _ = conn.plain::<Label>().await;
                used.is_ok()
            };
            dropped_after(polls, queries).await.is_some()
        })
        .await;
    });
}

#[test]
fn a_new_connection_that_is_dropped_at_any_poll_leaves_nothing_wrong() {
    on_both_runtimes(async || {
        drop_at_every_poll(async |_, upgrade, polls| {
            let url = upgrade.url();
            let connect = async {
                let mut conn = Hot::establish(&url).await.expect("a connection");
                let used: QueryResult<()> = conn.hot_transaction(async |conn| write_and_read_back!(conn)).await;
                used.expect("a transaction");
            };
            dropped_after(polls, connect).await.is_some()
        })
        .await;
    });
}

/// How long the others wait.
const LOAD_PATIENCE: Duration = Duration::from_secs(5);

/// The one that reads the catalog holds a permit, for which others wait.
#[test]
fn a_catalog_load_that_is_dropped_at_any_poll_keeps_no_permit() {
    on_both_runtimes(async || {
        let number = AtomicUsize::new(0);
        drop_at_every_poll(async |pool, upgrade, polls| {
            // On both servers, so whichever answers has to be read again.
            let number = number.fetch_add(1, Ordering::Relaxed);
            let create = format!("CREATE TYPE new_{number} AS ENUM ()");
            for server in [upgrade.old, upgrade.new] {
                aside(|| upgrade.run_on(server, &create).map_err(|error| error.to_string())).expect("a type");
            }
            let mut conn = pool.get().await.expect("a connection");
            let transaction = conn.hot_transaction(async |conn| {
                // It always looks inside a transaction.
                conn.synchronize().await.map(drop)
            });
            let is_done = dropped_after(polls, transaction).await.is_some();
            drop(conn);
            let start = Instant::now();
            let mut conn: Hot = connect(&upgrade.url()).await;
            conn.synchronize().await.expect("a check");
            assert!(start.elapsed() < LOAD_PATIENCE, "it waited for a load that was dropped");
            is_done
        })
        .await;
    });
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

fn is_lost(told: &QueryResult<()>) -> bool {
    let kind = match told {
        Err(Error::DatabaseError(kind, _)) => kind,
        other => return matches!(other, Err(Error::BrokenTransactionManager)),
    };
    matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
}

/// Four writers on each runtime, whose tasks and connections end with it while the server is switched.
#[test]
fn a_runtime_that_shuts_down_in_the_middle_of_a_switch_leaves_nothing_open_and_nothing_wrong() {
    let upgrade = upgrade();
    let runtimes: [fn() -> tokio::runtime::Builder; 2] =
        [tokio::runtime::Builder::new_multi_thread, tokio::runtime::Builder::new_current_thread];
    for (round, server) in [upgrade.new, upgrade.old, upgrade.new, upgrade.old].into_iter().enumerate() {
        let runtime = runtimes[round / 2]().worker_threads(2).enable_all().build().expect("a runtime");
        let pool: Bb8<Hot> = runtime.block_on(bb8(&upgrade.url(), 4, CacheSize::Unbounded));
        let (written, has_written) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let (pool, written) = (pool.clone(), written.clone());
            runtime.spawn(async move {
                loop {
                    let mut conn = pool.get().await.expect("a connection");
                    let told: QueryResult<()> =
                        conn.hot_transaction(async |conn| write_and_read_back!(conn)).await;
                    let _ = written.send(told);
                }
            });
        }
        std::thread::scope(|scope| {
            // On a runtime of one thread, tasks run while somebody waits.
            runtime.block_on(async {
                while has_written.try_recv().is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            let switching = scope.spawn(|| upgrade.switch_to(server).map_err(|error| error.to_string()));
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5 * round as u64)).await });
            let told: Vec<_> = has_written.try_iter().collect();
            assert!(told.iter().all(|told| *told == Ok(())), "{told:?}");
            runtime.shutdown_timeout(Duration::from_secs(10));
            drop(pool);
            switching.join().expect("no panic").expect("a switch");
        });
        // The task that drives a connection may end before the one that uses it.
        let told: Vec<_> = has_written.try_iter().collect();
        assert!(told.iter().all(|told| *told == Ok(()) || is_lost(told)), "{told:?}");
        wait_until("no transaction is open", || open_transactions(&upgrade) == 0);
        run(async {
            let pool: Bb8<Hot> = bb8(&upgrade.url(), 4, CacheSize::Unbounded).await;
            assert_eq!(use_every_connection!(pool, 4), NOTHING_WRONG);
        });
    }
}
