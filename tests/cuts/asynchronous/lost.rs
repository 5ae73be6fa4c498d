//! Connections of bb8 and deadpool that are lost: what runs again, what is reported, counted and logged.

use diesel::prelude::*;
use diesel_async::SimpleAsyncConnection;
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{HotTransactionError, stats};
use log::Level;
use testbed::{Place, Side, Way};

use super::both::{add, runs_of, start_bb8, start_deadpool, with_both};
use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::setting::{Refused, Setting, alone};
use crate::support::events::logged;
use crate::support::own_process::in_a_process_of_its_own;

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

/// When a server loaded its settings says whether it took writes when a transaction began.
#[test]
fn a_role_that_may_not_ask_when_settings_were_loaded_gets_its_error() {
    let _alone = alone();
    let setting = Setting::start("may_not_ask_async");
    let role = format!("may_not_ask_async_{}", std::process::id());
    setting.administer(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON items TO {role};
         REVOKE EXECUTE ON FUNCTION pg_conf_load_time() FROM PUBLIC"
    ));
    run(async {
        let pool = start_bb8(setting.url().replace("postgres@", &format!("{role}@")), 1).await;
        let (result, runs) = runs_of!(pool, async |conn: &mut Conn, _| {
            add(conn, 1).await?;
            diesel_async::SimpleAsyncConnection::batch_execute(conn, "SELECT 1 / 0").await
        });
        let is_applications = matches!(result, Err(HotTransactionError::Application(_)));
        assert!(is_applications && runs <= 3, "{result:?} after {runs} runs");
    });
}
