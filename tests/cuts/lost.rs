//! Connections that are lost: what runs again, what is reported, counted and logged.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{HotTransactionError, HotUpgradeExt, HotUpgradeManager, stats};
use fixture::builder;
use log::Level;
use testbed::{Place, Side, Way};

use crate::setting::{Refused, Setting, add, alone, runs_of};
use crate::support::events::logged;
use crate::support::own_process::in_a_process_of_its_own;

#[test]
fn whether_a_connection_was_lost_is_not_read_from_the_closures_error() {
    let _alone = alone();
    let setting = Setting::start("lost");
    let pool = setting.pool(2);
    let before = stats();

    let (result, runs) = runs_of(&pool, |conn, runs| {
        add(conn, 1).map_err(|_| Refused::ByRule)?;
        if runs == 1 {
            setting.cutter.cut(Side::Both);
        }
        // It hides what has happened.
        add(conn, 2).map_err(|_| Refused::ByRule)
    });
    assert!(result.is_ok() && runs == 2, "{result:?}");
    let (result, runs) = runs_of(&pool, |conn, runs| {
        add(conn, 3)?;
        if runs == 1 {
            setting.cutter.cut(Side::Both);
            // It returns Ok on a dead connection.
            let _ = add(conn, 4);
            return Ok(());
        }
        QueryResult::Ok(())
    });
    assert!(result.is_ok() && runs == 2, "{result:?}");
    let (result, runs) = runs_of(&pool, |conn, runs| {
        add(conn, 5)?;
        if runs == 1 {
            // Nothing is sent on it any more, but for COMMIT.
            setting.cutter.cut(Side::Both);
        }
        QueryResult::Ok(())
    });
    assert!(result.is_ok() && runs == 2, "{result:?}");
    assert_eq!(setting.count(), 4, "1, 2, 3 and 5, once each");
    let after = stats();
    assert!(after.lost_connections() >= before.lost_connections() + 3);
    assert!(after.reruns_after_cuts() >= before.reruns_after_cuts() + 3);
    assert_eq!(after.unknown_outcomes(), before.unknown_outcomes());

    let mut conn = setting.pool(1).get().expect("a connection");
    let control = conn.hot_transaction(|conn| {
        add(conn, 6)?;
        setting.cutter.cut(Side::Both);
        QueryResult::Ok(())
    });
    assert!(control.is_err(), "a transaction of a connection");
}

#[test]
fn an_application_that_has_decided_to_fail_fails_on_a_dead_connection_too() {
    let _alone = alone();
    let setting = Setting::start("decided");
    let (result, runs) = runs_of(&setting.pool(1), |conn, _| {
        add(conn, 1)?;
        setting.cutter.cut(Side::Both);
        Err::<(), _>(Refused::ByRule)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(Refused::ByRule))), "{result:?}");
    assert_eq!((runs, setting.count()), (1, 0));
}

#[test]
fn a_statement_that_failed_runs_again_if_its_connection_is_lost_before_it_can_be_asked_why() {
    let _alone = alone();
    let setting = Setting::start("failed_first");
    let pool = setting.pool(2);
    let fail = |conn: &mut PgConnection| sql_query("SELECT 1 / 0").execute(conn);
    let (result, runs) = runs_of(&pool, |conn, runs| {
        if runs > 1 {
            return add(conn, 1);
        }
        let failed = fail(conn);
        setting.cutter.cut(Side::Both);
        failed
    });
    assert!(result.is_ok() && runs == 2, "{result:?} after {runs} runs");

    let (result, runs) = runs_of(&pool, |conn, runs| {
        let failed = fail(conn);
        if runs == 1 {
            setting.cutter.cut(Side::Both);
        }
        failed
    });
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "its own fault, again: {result:?}");
    // And perhaps once because the table is new.
    assert!((2..=3).contains(&runs) && setting.count() == 1, "{runs} runs");

    let control = pool.get().expect("a connection").hot_transaction(|conn| {
        let failed = fail(conn);
        setting.cutter.cut(Side::Both);
        failed
    });
    assert!(control.is_err(), "a transaction of a connection");
}

#[test]
fn an_unknown_outcome_is_reported_and_counted_and_not_run_again() {
    let _alone = alone();
    let setting = Setting::start("unknown");
    let pool = setting.pool(1);
    let before = stats();
    let (result, runs) = runs_of(&pool, |conn, _| {
        add(conn, 1)?;
        setting.cutter.order(Way::ToServer, Place::AfterMessage(0), Side::Client);
        QueryResult::Ok(())
    });
    let Err(error @ HotTransactionError::OutcomeUnknown { .. }) = result else {
        panic!("{result:?}");
    };
    assert!(error.to_string().contains("look for what it wrote"), "{error}");
    assert_eq!(runs, 1);
    let after = stats();
    assert_eq!(after.unknown_outcomes(), before.unknown_outcomes() + 1);
    assert_eq!(after.lost_connections(), before.lost_connections() + 1);
    assert_eq!(after.reruns_after_cuts(), before.reruns_after_cuts());
}

#[test]
fn an_outage_is_warned_of_once_and_each_rerun_is_noted() {
    in_a_process_of_its_own(module_path!(), "an_outage_is_warned_of_once_and_each_rerun_is_noted", || {
        let _alone = alone();
        let setting = Setting::start("warned");
        let pool = setting.pool(2);
        for number in 0..3 {
            let (result, _) = runs_of(&pool, |conn, runs| {
                if runs == 1 {
                    setting.cutter.cut(Side::Both);
                }
                add(conn, number)
            });
            assert!(result.is_ok(), "{result:?}");
        }
        assert_eq!(logged(Level::Warn, "lost under a transaction").len(), 1);
        let reruns = logged(Level::Debug, "runs again on another connection").len();
        assert!(reruns >= 3, "{reruns}");
        assert_eq!(stats().reruns_after_cuts(), reruns as u64);
    });
}

#[test]
fn a_role_that_may_not_lock_does_without() {
    let _alone = alone();
    let setting = Setting::start("may_not_lock");
    let role = format!("may_not_lock_{}", std::process::id());
    setting.administer(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON items TO {role};
         REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) FROM PUBLIC"
    ));
    in_a_process_of_its_own(module_path!(), "a_role_that_may_not_lock_does_without", || {
        let url = setting.url().replace("postgres@", &format!("{role}@"));
        let pool = builder(2).build(HotUpgradeManager::new(url)).expect("a pool");
        for number in [1, 2] {
            let (result, runs) = runs_of(&pool, |conn, runs| {
                if runs == 1 {
                    setting.cutter.cut(Side::Both);
                }
                add(conn, number)
            });
            assert!(result.is_ok() && runs == 2, "{result:?}");
        }
        assert_eq!(logged(Level::Warn, "may not take advisory locks").len(), 1);
    });
}

/// When a server loaded its settings says whether it took writes when a transaction began.
#[test]
fn a_role_that_may_not_ask_when_settings_were_loaded_keeps_its_connection_and_its_error() {
    let _alone = alone();
    let setting = Setting::start("may_not_ask");
    let role = format!("may_not_ask_{}", std::process::id());
    setting.administer(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON items TO {role};
         REVOKE EXECUTE ON FUNCTION pg_conf_load_time() FROM PUBLIC"
    ));
    let url = setting.url().replace("postgres@", &format!("{role}@"));
    let pool = builder(1).build(HotUpgradeManager::new(url)).expect("a pool");
    let session = || {
        let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()");
        diesel::select(pid).get_result::<i32>(&mut pool.get().expect("a connection")).expect("a session")
    };
    let before = session();
    let (result, runs) = runs_of(&pool, |conn, _| {
        add(conn, 1)?;
        diesel::connection::SimpleConnection::batch_execute(conn, "SELECT 1 / 0")
    });
    assert!(
        matches!(result, Err(HotTransactionError::Application(_))) && runs <= 3,
        "{result:?} after {runs} runs"
    );
    assert_eq!(session(), before);
}
