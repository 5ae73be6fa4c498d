//! Waiting for a connection, and for a server that takes writes.

use std::time::Duration;

use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{CutCause, HotPoolTransactionBuilder, HotTransactionError, stats};
use testbed::{Cluster, Side};

use super::both::{add, runs_of, start_bb8, start_deadpool, with_both};
use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::setting::{Setting, alone};

async fn read_only<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 2).await;
    let (result, _) = runs_of!(pool, async |conn: &mut Conn, _| add(conn, 1).await);
    assert!(result.is_ok(), "{result:?}");
    let set = |value: &str| {
        let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = {value}", setting.database);
        blocking(|| setting.administer(&sql));
        // Only new sessions have it.
        setting.cutter.cut(Side::Both);
    };
    set("on");
    let within = |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(1));
    let result: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(within, async |conn| add(conn, 2).await).await;
    // The deadline may come while the next connection is waited for.
    let is_read_only = matches!(
        result,
        Err(HotTransactionError::NotCommitted {
            cause: CutCause::ReadOnly(_) | CutCause::NoConnection(_),
            tries: 2..,
            ..
        })
    );
    assert!(is_read_only, "{result:?}");
    let result: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(|builder| builder.read_only(), async |conn| add(conn, 3).await).await;
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");
    // It takes writes again while one waits.
    let runs = Runs::default();
    let counted = runs.clone();
    let transaction = pool.hot_transaction(async |conn| {
        counted.next();
        add(conn, 4).await
    });
    let back = async {
        while runs.count() < 2 {
            tokio::task::yield_now().await;
        }
        blocking(|| {
            let mut client = setting.server.client("postgres").expect("a server");
            let sql = format!("ALTER DATABASE {} RESET default_transaction_read_only", setting.database);
            client.batch_execute(&sql).expect("a setting");
        });
    };
    let (result, ()): (Result<usize, HotTransactionError>, ()) =
        futures_util::future::join(transaction, back).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(blocking(|| setting.count()), 2);
}
with_both!(a_server_that_takes_no_writes_any_more_is_left, "async_read_only", read_only);

async fn exhausted<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 1).await;
    let held = pool.check_out().await;
    let within = Duration::from_millis(300);
    let began = std::time::Instant::now();
    let result: Result<(), HotTransactionError> =
        pool.hot_transaction_with(|builder| builder.within(within), async |_| Ok(())).await;
    let is_exhausted = matches!(
        result,
        Err(HotTransactionError::NotCommitted { cause: CutCause::NoConnection(_), tries: 0, .. })
    );
    assert!(is_exhausted, "{result:?}");
    assert!(began.elapsed() >= within, "{:?}", began.elapsed());
    drop(held);
    // No permit was kept.
    let result: Result<(), HotTransactionError> = pool.hot_transaction(async |_| Ok(())).await;
    assert!(result.is_ok(), "{result:?}");
}
with_both!(an_exhausted_pool_is_waited_for_until_the_deadline, "async_exhausted", exhausted);

#[test]
fn a_server_that_is_down_is_waited_for_without_spinning() {
    let _alone = alone();
    run(async {
        let mut server = blocking(|| Cluster::start(12)).expect("a server");
        let pool = start_deadpool(server.url("postgres"), 2).await;
        let within =
            |seconds| move |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(seconds));
        let before = stats();
        blocking(|| server.stop()).expect("a stop");
        let result: Result<(), HotTransactionError> = pool.hot_transaction_with(within(2), async |_| Ok(())).await;
        assert!(matches!(result, Err(HotTransactionError::NotCommitted { .. })), "{result:?}");
        // deadpool fails at once.
        let reruns = stats().reruns_after_cuts() - before.reruns_after_cuts();
        assert!((3..20).contains(&reruns), "{reruns} reruns in two seconds");
        let waiting = tokio::spawn(async move {
            let result: Result<(), HotTransactionError> =
                pool.hot_transaction_with(within(30), async |_| Ok(())).await;
            result
        });
        blocking(|| server.restart().expect("it is back"));
        let result = waiting.await.expect("no panic");
        assert!(result.is_ok(), "{result:?}");
    });
}
