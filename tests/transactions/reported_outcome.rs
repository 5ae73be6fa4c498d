//! What a verified transaction promises apart from switches: nothing is committed that was reported as failed, nothing
//! is reported as committed that was not, and nothing runs twice that may have been committed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Upgrade, write_and_read_back};

use crate::support::documents::{FIRST, connections, count, direct, fail_by_unique_key, insert_first, work};
use crate::support::events::Counter;
use crate::support::pools::upgrade;

#[test]
fn an_error_of_the_application_is_handed_on_and_never_retried() {
    #[derive(Debug, PartialEq)]
    enum AppError {
        NotEnoughMoney,
        Database(Error),
    }
    impl From<Error> for AppError {
        fn from(error: Error) -> Self {
            AppError::Database(error)
        }
    }
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let mut attempts = 0;
    let result = hot.hot_transaction::<(), _, _>(|conn| {
        attempts += 1;
        insert_first(conn)?;
        // Even though it would find a change.
        upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('a')").expect("a type");
        Err(AppError::NotEnoughMoney)
    });
    assert_eq!(result, Err(AppError::NotEnoughMoney));
    assert_eq!((attempts, count(&mut hot)), (1, 0));
}

#[test]
fn a_database_error_that_is_no_fault_of_the_caches_is_handed_on_untouched() {
    let (_upgrade, mut hot, _) = direct();
    hot.set_instrumentation(Counter::default());
    let mut attempts = 0;
    let result = hot.hot_transaction(|conn| {
        attempts += 1;
        insert_first(conn)?;
        fail_by_unique_key(conn)
    });
    assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
    // If another session of this server had a transaction open when the caches were emptied, and it is older than the last
    // change, it is not known whether statements are older too: then the first failure runs again.
    assert!(attempts <= 2, "{attempts}");
    assert_eq!(count(&mut hot), 0);
}

#[test]
fn a_closure_that_swallows_an_error_reports_no_success() {
    let (_upgrade, mut hot, mut stock) = direct();
    let swallow_on_execution = |conn: &mut PgConnection| {
        insert_first(conn)?;
        let _ = fail_by_unique_key(conn);
        QueryResult::Ok(())
    };
    // Of this failure, not even Diesel's own state knows.
    let swallow_on_preparation = |conn: &mut PgConnection| {
        insert_first(conn)?;
        let _ = diesel::dsl::sql::<diesel::sql_types::Integer>("SELECT no_such_column").load::<i32>(conn);
        QueryResult::Ok(())
    };

    assert_eq!(stock.transaction(swallow_on_execution), Ok(()), "the control reports success");
    assert_eq!(count(&mut stock), 0, "but wrote nothing");
    assert_eq!(stock.transaction(swallow_on_preparation), Ok(()));
    assert_eq!(count(&mut stock), 0);

    for (name, error) in [
        ("execution", hot.hot_transaction(swallow_on_execution)),
        ("preparation", hot.hot_transaction(swallow_on_preparation)),
    ] {
        let error = error.expect_err(name).to_string();
        assert!(error.contains("nothing was committed"), "{name}: {error}");
        assert_eq!(count(&mut hot), 0, "{name}");
    }
    assert_eq!(hot.hot_transaction(|conn| work(conn, FIRST)), Ok(()), "the connection goes on");
}

#[test]
fn a_swallowed_error_of_a_type_that_was_created_anew_is_healed_too() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let mut attempts = 0;
    let result = hot.hot_transaction(|conn| {
        attempts += 1;
        if attempts == 1 {
            upgrade.run_on(upgrade.old, fixture::RECREATE_ENUM).expect("another enum of the same name");
        }
        let _ = insert_first(conn);
        QueryResult::Ok(())
    });
    assert_eq!((result, attempts, count(&mut hot)), (Ok(()), 2, 1));
}

#[test]
fn a_panic_in_the_closure_rolls_back() {
    let (_upgrade, mut hot, mut stock) = direct();
    let panic_after_insert = |conn: &mut PgConnection| -> QueryResult<()> {
        insert_first(conn)?;
        panic!("the closure's own panic")
    };
    let panicked = catch_unwind(AssertUnwindSafe(|| hot.hot_transaction(panic_after_insert)));
    assert!(panicked.is_err());
    assert!(!hot.is_broken(), "rolled back, and usable");
    assert_eq!(count(&mut hot), 0);
    assert_eq!(hot.hot_transaction(|conn| work(conn, FIRST)), Ok(()));

    let panicked = catch_unwind(AssertUnwindSafe(|| stock.transaction(panic_after_insert)));
    assert!(panicked.is_err());
    assert!(stock.is_broken(), "the control's transaction is still open");
}

#[test]
fn a_panic_on_a_lost_connection_marks_it_broken() {
    let (upgrade, mut hot, _) = direct();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        hot.hot_transaction(|conn| -> QueryResult<()> {
            terminate(&upgrade, conn);
            panic!("the closure's own panic")
        })
    }));
    assert!(panicked.is_err());
    assert!(hot.is_broken());
}

fn terminate(upgrade: &Upgrade, conn: &mut PgConnection) {
    let pid: i32 = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()"))
        .get_result(conn)
        .expect("a process id");
    upgrade.run_on(upgrade.old, &format!("SELECT pg_terminate_backend({pid})")).expect("a kill");
    let is_gone = format!("SELECT 1 / count(*) FROM pg_stat_activity WHERE pid = {pid}");
    while upgrade.run_on(upgrade.old, &is_gone).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_lost_connection_is_handed_on_and_never_retried() {
    let (upgrade, mut hot, mut stock) = direct();
    let mut attempts = 0;
    let result = hot.hot_transaction(|conn| {
        attempts += 1;
        insert_first(conn)?;
        terminate(&upgrade, conn);
        insert_first(conn)
    });
    assert!(result.is_err());
    assert_eq!(attempts, 1);
    assert!(hot.is_broken(), "a pool drops it");
    assert_eq!(count(&mut stock), 0);
    let again = hot.hot_transaction(|_| -> QueryResult<()> { panic!("the closure must not run") });
    assert!(matches!(again, Err(Error::BrokenTransactionManager)), "{again:?}");
}

#[test]
fn an_error_of_commit_is_handed_on_as_what_it_is() {
    let (upgrade, mut hot, _) = direct();
    upgrade
        .run_on(
            upgrade.old,
            "CREATE TABLE deferred (id int8 UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO deferred VALUES (1)",
        )
        .expect("a table whose key is checked at COMMIT");
    let mut attempts = 0;
    let result = hot.hot_transaction(|conn| {
        attempts += 1;
        insert_first(conn)?;
        // Also where types have changed meanwhile.
        upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('a')").expect("a type");
        diesel::sql_query("INSERT INTO deferred VALUES (1)").execute(conn)
    });
    assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
    assert_eq!((attempts, count(&mut hot)), (1, 0));
    assert!(!hot.is_broken());
}

#[test]
fn inside_an_outer_transaction_it_is_a_savepoint() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let mut attempts = 0;
    let outer = hot.transaction(|conn| {
        insert_first(conn)?;
        let inner = conn.hot_transaction(|conn| {
            attempts += 1;
            insert_first(conn)?;
            upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('a')").expect("a type");
            fail_by_unique_key(conn)
        });
        assert!(matches!(inner, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{inner:?}");

        let swallowed = conn.hot_transaction(|conn| {
            insert_first(conn)?;
            let _ = fail_by_unique_key(conn);
            QueryResult::Ok(())
        });
        swallowed.expect_err("a savepoint in which a statement failed can't be released");

        let with_options = conn.hot_transaction_with(|builder| builder.serializable(), |_| QueryResult::Ok(()));
        assert_eq!(with_options, Err(Error::AlreadyInTransaction));
        QueryResult::Ok(())
    });
    assert_eq!(outer, Ok(()));
    assert_eq!((attempts, count(&mut hot)), (1, 1), "only the outer transaction's own document");
}

#[test]
fn an_outer_verified_transaction_heals_its_inner_ones() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    upgrade.switch_to(upgrade.new).expect("a switch");
    let result = hot.hot_transaction(|conn| conn.hot_transaction(|conn| work(conn, FIRST)));
    assert_eq!(result, Ok(()));
    assert_eq!(write_and_read_back(&mut hot, FIRST + 1), Ok(()));
}
