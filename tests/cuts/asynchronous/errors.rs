//! What an async pool's transaction reports, and what it is, if nothing is cut. As `errors.rs` has it for the blocking
//! pool.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{HotPoolTransactionBuilder, HotTransactionError, stats};
use futures_util::FutureExt;
use testbed::Side;

use super::both::{add, runs_of, start_bb8, start_deadpool, with_both};
use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::setting::{Refused, Setting, alone};

async fn applications_errors<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 2).await;
    let before = stats();
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
        add(conn, 1).await.map_err(|_| Refused::ByDatabase)?;
        Err::<(), _>(Refused::ByRule)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(Refused::ByRule))), "{result:?}");
    assert_eq!(runs, 1);
    // A deferred constraint, at COMMIT.
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
        add(conn, 1).await?;
        add(conn, 1).await
    });
    let is_violation = matches!(
        result,
        Err(HotTransactionError::Application(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    );
    assert!(is_violation && runs == 1, "{result:?} after {runs} runs");
    let options = |builder: HotPoolTransactionBuilder| builder.before_probe("SELECT nowhere");
    let result: Result<(), HotTransactionError> = pool.hot_transaction_with(options, async |_| Ok(())).await;
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");
    // It has decided to fail, and nothing is sent on the dead connection.
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
        add(conn, 1).await.map_err(|_| Refused::ByDatabase)?;
        setting.cutter.cut(Side::Both);
        Err::<(), _>(Refused::ByRule)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(Refused::ByRule))), "{result:?}");
    assert_eq!((runs, blocking(|| setting.count())), (1, 0));
    assert_eq!(stats().reruns_after_cuts(), before.reruns_after_cuts());
    // A COMMIT of its own is seen: what came before it would be there twice.
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
        add(conn, 2).await?;
        conn.batch_execute("COMMIT").await?;
        setting.cutter.cut(Side::Both);
        add(conn, 3).await
    });
    assert!(matches!(result, Err(HotTransactionError::Application(_))) && runs == 1, "{result:?}");
    assert_eq!(blocking(|| setting.count()), 1);
}
with_both!(an_error_of_the_application_is_not_run_again, "async_application", applications_errors);

/// As a timeout in the closure does. The connection is broken then, and it was not lost.
async fn drops_a_nested_one<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 1).await;
    for fails in [false, true] {
        let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
            add(conn, 1).await?;
            let nested = conn.hot_transaction(async |_| -> QueryResult<()> { std::future::pending().await });
            let dropped = tokio::time::timeout(Duration::from_millis(100), nested).await;
            assert!(dropped.is_err());
            if fails { Err(Error::RollbackTransaction) } else { Ok(()) }
        });
        assert!(
            matches!(result, Err(HotTransactionError::Application(_))) && runs == 1,
            "{runs} runs: {result:?}"
        );
        assert_eq!(blocking(|| setting.count()), 0);
    }
    let (result, _) = runs_of!(pool, async |conn: &mut Conn, _| add(conn, 2).await);
    assert!(result.is_ok(), "{result:?}");
}
with_both!(a_nested_transaction_that_the_closure_drops_is_not_run_again, "async_dropped", drops_a_nested_one);

async fn panics<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 1).await;
    let transaction = pool.hot_transaction(async |conn| {
        add(conn, 1).await?;
        if true {
            panic!("in the closure")
        }
        QueryResult::Ok(())
    });
    let panicked = std::panic::AssertUnwindSafe(transaction).catch_unwind().await;
    assert!(panicked.is_err());
    let (result, _) = runs_of!(pool, async |conn: &mut Conn, _| add(conn, 2).await);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(blocking(|| setting.count()), 1);
}
with_both!(a_panic_rolls_back_and_costs_no_slot_of_the_pool, "async_panic", panics);

async fn nested<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 1).await;
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
        add(conn, 1).await?;
        let inner: QueryResult<()> = conn
            .hot_transaction(async |conn| {
                add(conn, 2).await?;
                Err(Error::RollbackTransaction)
            })
            .await;
        assert_eq!(inner, Err(Error::RollbackTransaction));
        conn.hot_transaction(async |conn| add(conn, 3).await.map(drop)).await
    });
    assert!(result.is_ok() && runs == 1, "{result:?} after {runs} runs");
    assert_eq!(blocking(|| setting.count()), 2);
}
with_both!(a_verified_transaction_in_the_closure_is_a_savepoint, "async_nested", nested);

/// What a transaction says of itself.
async fn shown(conn: &mut Conn) -> QueryResult<String> {
    let settings =
        "concat_ws(' ', current_setting('transaction_isolation'), current_setting('transaction_read_only'),
         current_setting('transaction_deferrable'), current_setting('work_mem'))";
    RunQueryDsl::get_result(diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(settings)), conn).await
}

async fn options<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 1).await;
    let all = |builder: HotPoolTransactionBuilder| {
        builder.serializable().read_only().deferrable().before_probe("SET LOCAL work_mem = '1MB'")
    };
    let result: Result<_, HotTransactionError> =
        pool.hot_transaction_with(all, async |conn| shown(conn).await).await;
    assert_eq!(result.expect("a transaction"), "serializable on on 1MB");
    let others = |builder: HotPoolTransactionBuilder| {
        builder.repeatable_read().read_write().not_deferrable().before_probe("SET TRANSACTION READ ONLY")
    };
    let result: Result<_, HotTransactionError> =
        pool.hot_transaction_with(others, async |conn| shown(conn).await).await;
    let result = result.expect("a transaction");
    assert!(result.starts_with("repeatable read on off"), "nothing is queried before it: {result}");
}
with_both!(options_are_those_of_diesel, "async_options", options);

#[test]
fn in_a_test_transaction_it_is_a_savepoint() {
    let _alone = alone();
    let setting = Setting::start("async_test_transaction");
    run(async {
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(|url| {
            let url = url.to_owned();
            Box::pin(async move {
                let mut conn = Conn::establish(&url).await?;
                conn.begin_test_transaction().await.map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(conn)
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config(setting.url(), config);
        let pool: bb8::Pool<Conn> = bb8::Pool::builder().max_size(1).build(manager).await.expect("a pool");
        for number in [1, 2] {
            let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| add(conn, number).await);
            assert!(matches!(result, Ok(1)) && runs == 1, "{result:?}");
        }
        let (result, _) = runs_of!(pool, async |conn: &mut Conn, _| {
            add(conn, 3).await?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        let is_rolled_back = matches!(result, Err(HotTransactionError::Application(Error::RollbackTransaction)));
        assert!(is_rolled_back, "{result:?}");
        let (seen, _) = runs_of!(pool, async |conn: &mut Conn, _| {
            RunQueryDsl::execute(diesel::sql_query("SELECT id FROM items"), conn).await
        });
        assert!(matches!(seen, Ok(2)), "{seen:?}");
        let options = |builder: HotPoolTransactionBuilder| {
            builder.serializable().within(Duration::from_secs(9)).before_probe("INSERT INTO items VALUES (4)")
        };
        let select =
            async |conn: &mut Conn| RunQueryDsl::execute(diesel::sql_query("SELECT id FROM items"), conn).await;
        let with_options: Result<usize, HotTransactionError> = pool.hot_transaction_with(options, select).await;
        assert!(matches!(with_options, Ok(3)), "a savepoint has no isolation: {with_options:?}");
        assert_eq!(blocking(|| setting.count()), 0, "nothing is committed");
    });
}

#[test]
fn the_environment_makes_it_stock() {
    const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";
    if std::env::var_os(VARIABLE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().expect("this test's program"))
            .args(["--exact", "asynchronous::errors::the_environment_makes_it_stock"])
            .env(VARIABLE, "off")
            .output()
            .expect("another run");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && report.contains("1 passed"), "{report}");
        return;
    }
    let _alone = alone();
    let setting = Setting::start("async_off");
    run(async {
        let pool = start_bb8(setting.url(), 1).await;
        let (result, _) = runs_of!(pool, async |conn: &mut Conn, _| add(conn, 1).await);
        assert!(result.is_ok(), "{result:?}");
        let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
            setting.cutter.cut(Side::Both);
            add(conn, 2).await
        });
        assert!(matches!(result, Err(HotTransactionError::Application(_))) && runs == 1, "{result:?}");
        assert_eq!(stats().lost_connections(), 0);
    });
}
