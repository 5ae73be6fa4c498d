//! Futures of an async pool's transaction that are dropped half-way, also while it waits for a server or runs again.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::{bb8, deadpool};
use diesel_postgres_hot_upgrade::HotTransactionError;
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use testbed::{Cluster, Cutter, Side};

use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::support::server::wait_until;

/// More than any of them takes.
const MAX_POLLS: usize = 300;

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

async fn write(conn: &mut Conn) -> QueryResult<()> {
    RunQueryDsl::execute(diesel::sql_query("INSERT INTO numbers VALUES (1)"), conn).await.map(drop)
}

async fn drop_at_every_poll<P>(name: &str)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let server = Cluster::shared(12);
    let database = format!("{name}_{}", std::process::id());
    blocking(|| {
        server.create_database(&database).expect("a database");
        let mut client = server.client(&database).expect("a server");
        client.batch_execute("CREATE TABLE numbers (n int4)").expect("a table");
    });
    let cutter = Cutter::start(server.address()).expect("a cutter");
    let pool = P::start(&server.url_at(cutter.address(), &database), 1).await;
    for is_cut in [false, true] {
        for polls in 0..=MAX_POLLS {
            let runs = Runs::default();
            let transaction = pool.hot_transaction(async |conn| {
                let run = runs.next();
                write(conn).await?;
                if is_cut && run == 1 {
                    cutter.cut(Side::Both);
                }
                write(conn).await
            });
            let done: Option<Result<(), HotTransactionError>> = dropped_after(polls, transaction).await;
            // No permit was kept, and nothing is open on the connection.
            let next: Result<(), HotTransactionError> = pool
                .hot_transaction_with(
                    |builder| builder.within(Duration::from_secs(20)),
                    async |conn| write(conn).await,
                )
                .await;
            assert!(next.is_ok(), "after {polls} polls: {next:?}");
            if let Some(result) = done {
                assert!(result.is_ok(), "after {polls} polls: {result:?}");
                break;
            }
            assert!(polls < MAX_POLLS, "it ends sooner");
        }
    }
    let is_nothing_open = || {
        let mut client = server.client(&database).expect("a server");
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'";
        client.query_one(sql, &[]).expect("a count").get::<_, i64>(0) == 0
    };
    blocking(|| wait_until("no transaction is open", is_nothing_open));
}

#[test]
fn a_transaction_of_bb8_that_is_dropped_at_any_poll_leaves_nothing_open_and_keeps_no_permit() {
    run(drop_at_every_poll::<bb8::Pool<Conn>>("dropped_bb8"));
}

#[test]
fn a_transaction_of_deadpool_that_is_dropped_at_any_poll_leaves_nothing_open_and_keeps_no_permit() {
    run(drop_at_every_poll::<deadpool::Pool<Conn>>("dropped_deadpool"));
}

#[test]
fn a_transaction_that_waits_for_a_server_can_be_dropped() {
    run(async {
        let mut server = blocking(|| Cluster::start(12)).expect("a server");
        let pool: deadpool::Pool<Conn> = deadpool::Pool::start(&server.url("postgres"), 1).await;
        blocking(|| server.stop()).expect("a stop");
        let waiting = pool.hot_transaction(async |_| Result::<(), diesel::result::Error>::Ok(()));
        let timed_out = tokio::time::timeout(Duration::from_millis(300), waiting).await;
        assert!(timed_out.is_err(), "no server");
        blocking(|| server.restart()).expect("it is back");
        let result: Result<(), HotTransactionError> = pool.hot_transaction(async |_| Ok(())).await;
        assert!(result.is_ok(), "no permit was kept: {result:?}");
    });
}
