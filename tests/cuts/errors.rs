//! What a pool's transaction reports, and what it is, if nothing is cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::TestCustomizer;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{
    HotPoolTransactionBuilder, HotTransactionError, HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager,
    HotUpgradePool, stats,
};
use fixture::builder;
use testbed::Side;

use crate::setting::{Refused, Setting, add, alone, runs_of};

#[test]
fn an_error_of_the_application_is_not_run_again() {
    let _alone = alone();
    let setting = Setting::start("application");
    let pool = setting.pool(2);
    let before = stats();

    let (result, runs) = runs_of(&pool, |conn, _| {
        add(conn, 1)?;
        Err::<(), _>(Refused::ByRule)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(Refused::ByRule))), "{result:?}");
    assert_eq!(runs, 1);

    let (result, _) = runs_of(&pool, |conn, _| sql_query("SELECT nowhere").execute(conn));
    let Err(HotTransactionError::Application(Error::DatabaseError(_, information))) = result else {
        panic!("{result:?}");
    };
    assert!(information.message().contains("nowhere"));

    let (result, runs) = runs_of(&pool, |conn, _| add(conn, 1).and_then(|_| add(conn, 1)));
    let is_violation = |result: &Result<usize, HotTransactionError>| {
        matches!(
            result,
            Err(HotTransactionError::Application(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
        )
    };
    assert!(is_violation(&result), "a deferred constraint, at COMMIT: {result:?}");
    assert_eq!(runs, 1);
    let options = |sql: &'static str| pool.hot_transaction_with(|builder| builder.before_probe(sql), |_| Ok(()));
    let result: Result<(), HotTransactionError> = options("SELECT nowhere");
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");

    assert_eq!(setting.count(), 0);
    let after = stats();
    assert_eq!(after.reruns_after_cuts(), before.reruns_after_cuts());
    assert_eq!(pool.state().connections, 2, "none was dropped");
}

#[test]
fn a_panic_rolls_back_and_costs_no_slot_of_the_pool() {
    let _alone = alone();
    let setting = Setting::start("panic");
    let pool = setting.pool(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
            add(conn, 1)?;
            panic!("in the closure")
        });
    }));
    assert!(panicked.is_err());
    let result: Result<_, HotTransactionError> = pool.hot_transaction(|conn| add(conn, 2));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(setting.count(), 1);
}

#[test]
fn a_verified_transaction_in_the_closure_is_a_savepoint() {
    let _alone = alone();
    let setting = Setting::start("nested");
    let pool = setting.pool(1);
    let result: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
        add(conn, 1)?;
        let inner = conn.hot_transaction(|conn| {
            add(conn, 2)?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        assert_eq!(inner, Err(Error::RollbackTransaction));
        conn.hot_transaction(|conn| add(conn, 3).map(drop))
    });
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(setting.count(), 2);
}

#[test]
fn in_a_test_transaction_it_is_a_savepoint() {
    let _alone = alone();
    let setting = Setting::start("test_transaction");
    let pool = builder(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(TestCustomizer))))
        .build(HotUpgradeManager::new(setting.url()))
        .expect("a pool");
    for number in [1, 2] {
        let (result, runs) = runs_of(&pool, |conn, _| add(conn, number));
        assert!(matches!(result, Ok(1)) && runs == 1, "{result:?}");
    }
    let (result, _) =
        runs_of(&pool, |conn, _| add(conn, 3).and_then(|_| Err::<(), _>(Error::RollbackTransaction)));
    assert!(matches!(result, Err(HotTransactionError::Application(Error::RollbackTransaction))), "{result:?}");
    let (seen, _) = runs_of(&pool, |conn, _| sql_query("SELECT id FROM items").execute(conn));
    assert!(matches!(seen, Ok(2)), "{seen:?}");
    let options = |builder: HotPoolTransactionBuilder| {
        builder.serializable().within(Duration::from_secs(9)).before_probe("INSERT INTO items VALUES (4)")
    };
    let with_options: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(options, |conn| sql_query("SELECT id FROM items").execute(conn));
    assert!(matches!(with_options, Ok(3)), "a savepoint has no isolation: {with_options:?}");
    assert_eq!(setting.count(), 0, "nothing is committed");
}

#[test]
fn options_are_those_of_diesel() {
    let _alone = alone();
    let setting = Setting::start("options");
    let pool = setting.pool(1);
    let shown = |conn: &mut PgConnection, name: &str| {
        let sql = format!("current_setting('{name}')");
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&sql)).get_result::<String>(conn)
    };
    let result: Result<_, HotTransactionError> = pool.hot_transaction_with(
        |builder| builder.serializable().read_only().deferrable().before_probe("SET LOCAL work_mem = '1MB'"),
        |conn| {
            ["transaction_isolation", "transaction_read_only", "transaction_deferrable", "work_mem"]
                .map(|name| shown(conn, name))
                .into_iter()
                .collect::<QueryResult<Vec<_>>>()
        },
    );
    assert_eq!(result.expect("a transaction"), ["serializable", "on", "on", "1MB"]);
    let result: Result<_, HotTransactionError> = pool.hot_transaction_with(
        |builder| {
            builder.repeatable_read().read_write().not_deferrable().before_probe("SET TRANSACTION READ ONLY")
        },
        |conn| Ok(shown(conn, "transaction_isolation")? + &shown(conn, "transaction_read_only")?),
    );
    assert_eq!(result.expect("a transaction"), "repeatable readon", "nothing is queried before it");
}

#[test]
fn the_environment_makes_it_stock() {
    const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";
    if std::env::var_os(VARIABLE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().expect("this test's program"))
            .args(["--exact", "errors::the_environment_makes_it_stock"])
            .env(VARIABLE, "off")
            .output()
            .expect("another run");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && report.contains("1 passed"), "{report}");
        return;
    }
    let _alone = alone();
    let setting = Setting::start("off");
    let pool = setting.pool(1);
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    let (result, runs) = runs_of(&pool, |conn, _| {
        setting.cutter.cut(Side::Both);
        add(conn, 2)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(_))) && runs == 1, "{result:?}");
    assert_eq!(stats().lost_connections(), 0);
}
