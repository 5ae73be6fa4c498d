//! Connections of bb8 and deadpool that are lost: what runs again, what is reported and counted. As `lost.rs`,
//! `errors.rs` and `read_only.rs` have it for the blocking pool.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::pooled_connection::{bb8, deadpool};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{CutCause, HotPoolTransactionBuilder, HotTransactionError, stats};
use log::Level;
use testbed::{Cluster, Place, Side, Way};

use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::setting::{Refused, Setting, alone};
use crate::support::events::logged;
use crate::support::own_process::in_a_process_of_its_own;

async fn add(conn: &mut Conn, id: i32) -> QueryResult<usize> {
    RunQueryDsl::execute(diesel::sql_query(format!("INSERT INTO items VALUES ({id})")), conn).await
}

/// Runs a test with both pools.
macro_rules! with_both {
    ($name:ident, $database:literal, $test:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn bb8() {
                let _alone = alone();
                run($test(Setting::start(concat!($database, "_bb8")), super::start_bb8));
            }

            #[test]
            fn deadpool() {
                let _alone = alone();
                run($test(Setting::start(concat!($database, "_deadpool")), super::start_deadpool));
            }
        }
    };
}

async fn start_bb8(url: String, size: u32) -> bb8::Pool<Conn> {
    bb8::Pool::start(&url, size).await
}

async fn start_deadpool(url: String, size: u32) -> deadpool::Pool<Conn> {
    deadpool::Pool::start(&url, size).await
}

/// A transaction whose closure is told how often it has run.
macro_rules! runs_of {
    ($pool:expr, $closure:expr) => {{
        let runs = Runs::default();
        let counted = runs.clone();
        let result = $pool
            .hot_transaction(async |conn| {
                let run = counted.next();
                $closure(conn, run).await
            })
            .await;
        (result, runs.count())
    }};
}

async fn what_runs_again<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 2).await;
    let (before, cutter) = (stats(), &setting.cutter);
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, run| {
        add(conn, 1).await.map_err(|_| Refused::ByRule)?;
        if run == 1 {
            cutter.cut(Side::Both);
        }
        // It hides what has happened.
        add(conn, 2).await.map_err(|_| Refused::ByRule)
    });
    assert!(result.is_ok() && runs == 2, "{result:?} after {runs} runs");
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, run| {
        add(conn, 3).await?;
        if run == 1 {
            cutter.cut(Side::Both);
            // It returns Ok on a dead connection.
            let _ = add(conn, 4).await;
        }
        QueryResult::Ok(())
    });
    assert!(result.is_ok() && runs == 2, "{result:?} after {runs} runs");
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, run| {
        add(conn, 5).await?;
        if run == 1 {
            // The server ends the session, with an error like any other.
            let _ = conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
        }
        QueryResult::Ok(())
    });
    assert!(result.is_ok() && runs == 2, "{result:?} after {runs} runs");
    assert_eq!(blocking(|| setting.count()), 4, "1, 2, 3 and 5, once each");
    let after = stats();
    assert!(after.lost_connections() >= before.lost_connections() + 3);
    assert!(after.reruns_after_cuts() >= before.reruns_after_cuts() + 3);
    assert_eq!(after.unknown_outcomes(), before.unknown_outcomes());

    let mut conn = pool.check_out().await;
    let control: QueryResult<()> = conn
        .hot_transaction(async |conn| {
            add(conn, 6).await?;
            cutter.cut(Side::Both);
            add(conn, 7).await.map(drop)
        })
        .await;
    assert!(control.is_err(), "a transaction of a connection");
}
with_both!(whether_a_connection_was_lost_is_not_read_from_the_closures_error, "async_lost", what_runs_again);

async fn cut_while_idle<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 4).await;
    let held = futures_util::future::join_all((0..4).map(|_| pool.check_out())).await;
    drop(held);
    setting.cutter.cut(Side::Both);
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| add(conn, 1).await);
    assert!(result.is_ok() && runs == 1, "{result:?} after {runs} runs");
    assert_eq!(blocking(|| setting.count()), 1);
}
with_both!(a_pool_full_of_dead_connections_costs_nothing, "async_idle", cut_while_idle);

async fn unknown_outcome<P>(setting: Setting, start: impl AsyncFn(String, u32) -> P)
where
    P: HotUpgradeAsyncPool + AsyncPool<Conn>,
{
    let pool = start(setting.url(), 1).await;
    let before = stats();
    let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
        add(conn, 1).await?;
        setting.cutter.order(Way::ToServer, Place::AfterMessage(0), Side::Client);
        QueryResult::Ok(())
    });
    assert!(matches!(result, Err(HotTransactionError::OutcomeUnknown { .. })), "{result:?}");
    assert_eq!(runs, 1);
    let after = stats();
    assert_eq!(after.unknown_outcomes(), before.unknown_outcomes() + 1);
    assert_eq!(after.lost_connections(), before.lost_connections() + 1);
    assert_eq!(after.reruns_after_cuts(), before.reruns_after_cuts());
}
with_both!(an_unknown_outcome_is_reported_and_counted_and_not_run_again, "async_unknown", unknown_outcome);

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
    let is_read_only =
        matches!(result, Err(HotTransactionError::NotCommitted { cause: CutCause::ReadOnly(_), tries: 2.., .. }));
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

#[test]
fn an_outage_of_async_pools_is_warned_of_once() {
    in_a_process_of_its_own(module_path!(), "an_outage_of_async_pools_is_warned_of_once", || {
        let _alone = alone();
        let setting = Setting::start("warned_async");
        run(async {
            let pool = start_bb8(setting.url(), 2).await;
            for number in 0..3 {
                let (result, _) = runs_of!(pool, async |conn: &mut Conn, run| {
                    if run == 1 {
                        setting.cutter.cut(Side::Both);
                    }
                    add(conn, number).await
                });
                assert!(result.is_ok(), "{result:?}");
            }
        });
        assert_eq!(logged(Level::Warn, "lost under a transaction").len(), 1);
        let reruns = logged(Level::Debug, "runs again on another connection").len();
        assert_eq!(stats().reruns_after_cuts(), reruns as u64);
    });
}

#[test]
fn a_role_that_may_not_lock_does_without() {
    let _alone = alone();
    let setting = Setting::start("may_not_lock_async");
    let role = format!("may_not_lock_async_{}", std::process::id());
    setting.administer(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON items TO {role};
         REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) FROM PUBLIC"
    ));
    in_a_process_of_its_own(module_path!(), "a_role_that_may_not_lock_does_without", || {
        run(async {
            let pool = start_bb8(setting.url().replace("postgres@", &format!("{role}@")), 2).await;
            for number in [1, 2] {
                let (result, runs) = runs_of!(pool, async |conn: &mut Conn, run| {
                    if run == 1 {
                        setting.cutter.cut(Side::Both);
                    }
                    add(conn, number).await
                });
                assert!(result.is_ok() && runs == 2, "{result:?}");
            }
        });
        assert_eq!(logged(Level::Warn, "may not take advisory locks").len(), 1);
    });
}
