//! Closures that end the transaction they are in by themselves, or do not end what they began in it.

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::result::Error;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::RECREATE_ENUM;

use crate::support::documents::{connections, count, direct, insert_first, work};
use crate::support::pools::upgrade;

type End = fn(&mut PgConnection) -> QueryResult<()>;

/// Ways to end a transaction behind Diesel's back, or with Diesel's own means.
const ENDS: [(&str, End); 6] = [
    ("COMMIT", |conn| conn.batch_execute("COMMIT")),
    ("ROLLBACK", |conn| conn.batch_execute("ROLLBACK")),
    ("END", |conn| diesel::sql_query("END").execute(conn).map(drop)),
    ("ABORT; SELECT 1", |conn| conn.batch_execute("ABORT; SELECT 1")),
    ("Diesel's commit", |conn| AnsiTransactionManager::commit_transaction(conn)),
    ("Diesel's rollback", |conn| AnsiTransactionManager::rollback_transaction(conn)),
];

#[test]
fn a_closure_that_ends_the_transaction_by_itself_is_an_error() {
    let (_upgrade, mut hot, mut other) = direct();
    let begins: [(&str, End); 3] = [
        ("none", |_| Ok(())),
        ("BEGIN", |conn| conn.batch_execute("BEGIN")),
        ("Diesel's begin", |conn| AnsiTransactionManager::begin_transaction(conn)),
    ];
    for (end_name, end) in ENDS {
        for (begin_name, begin) in begins {
            let before = count(&mut other);
            let result = hot.hot_transaction(|conn| {
                end(conn)?;
                begin(conn)?;
                if begin_name == "none" { Ok(()) } else { insert_first(conn) }
            });
            let error = result.expect_err(end_name).to_string();
            assert!(error.contains("by itself"), "{end_name}, {begin_name}: {error}");
            assert!(!hot.is_broken(), "{end_name}, {begin_name}");
            // Nor does what came after it wait for somebody else's COMMIT.
            hot.hot_transaction(|_| QueryResult::Ok(())).expect("it goes on");
            assert_eq!(count(&mut other), before, "{end_name}, {begin_name}");
        }
    }
}

#[test]
fn a_closure_that_failed_after_it_committed_by_itself_is_not_run_again() {
    for (name, end) in ENDS {
        let upgrade = upgrade();
        let (mut hot, _) = connections(&upgrade.url());
        let mut attempts = 0;
        let result = hot.hot_transaction(|conn| {
            attempts += 1;
            insert_first(conn)?;
            end(conn)?;
            AnsiTransactionManager::begin_transaction(conn)?;
            upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
            insert_first(conn)
        });
        assert!(matches!(result, Err(Error::DatabaseError(..))), "{name}: {result:?}");
        assert_eq!(attempts, 1, "{name}");
        hot.hot_transaction(|conn| work(conn, 5)).expect("it goes on");
        assert!(count(&mut hot) <= 1, "{name}");
    }
}

#[test]
fn a_savepoint_that_is_left_open_is_an_error() {
    let (_upgrade, mut hot, _) = direct();
    let result = hot.hot_transaction(|conn| {
        insert_first(conn)?;
        AnsiTransactionManager::begin_transaction(conn)
    });
    assert!(result.expect_err("a savepoint is open").to_string().contains("savepoint"));
    assert_eq!(count(&mut hot), 0);
    assert_eq!(hot.hot_transaction(|conn| work(conn, 6)), Ok(()));
}
