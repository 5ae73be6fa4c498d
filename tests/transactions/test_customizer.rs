//! Diesel's `TestCustomizer`: everything happens in one transaction that is never committed.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool, TestCustomizer};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, Outcome, synchronize};
use fixture::{documents, write_and_read_back};

use crate::support::freshness::wait_until_stale;
use crate::support::pools::{builder, upgrade};

/// Writes a document, makes the next check's own prepared statement fail, and counts documents on the next checkout.
fn documents_after_a_failing_check<M>(pool: &Pool<M>) -> i64
where
    M: ManageConnection<Connection = PgConnection>,
{
    {
        let mut conn = pool.get().expect("a connection");
        assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
    }
    // A checkout, so that the check's statement is in the connection's cache.
    pool.get().expect("a connection").batch_execute("DEALLOCATE ALL").expect("statements gone");
    let mut conn = pool.get().expect("a connection");
    documents::table.count().get_result(&mut conn).unwrap_or(-1)
}

#[test]
fn a_failing_probe_never_aborts_an_open_test_transaction() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let hot = builder(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(TestCustomizer))))
        .build(HotUpgradeManager::new(&url))
        .expect("a protected pool");
    let stock = builder(1)
        .connection_customizer(Box::new(TestCustomizer))
        .build(ConnectionManager::<PgConnection>::new(&url))
        .expect("a stock pool");

    assert_eq!(documents_after_a_failing_check(&hot), 1, "the open transaction's document");
    assert_eq!(documents_after_a_failing_check(&stock), 0, "the control: a new transaction");
}

#[test]
fn types_of_an_open_transaction_stay_its_own() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let create = "CREATE TYPE mood AS ENUM ('a')";
    upgrade.run_on(upgrade.old, create).expect("a type");
    let mut outside = PgConnection::establish(&url).expect("a connection");
    let mut inside = PgConnection::establish(&url).expect("a connection");
    synchronize(&mut outside).expect("a first look");
    synchronize(&mut inside).expect("a first look");

    inside.begin_test_transaction().expect("a transaction");
    inside.batch_execute(&format!("ALTER TYPE mood RENAME TO before; {create}")).expect("another type");
    assert!(matches!(synchronize(&mut inside), Ok(Outcome::Changed(_))), "it sees its own type");
    for _ in 0..2 {
        assert!(matches!(synchronize(&mut inside), Ok(Outcome::Unchanged)));
        assert!(matches!(synchronize(&mut outside), Ok(Outcome::Unchanged)), "no other connection does");
        // What is looked at inside is not what others see.
        wait_until_stale();
    }
}

#[test]
fn an_aborted_transaction_is_reported_and_not_hidden() {
    let upgrade = upgrade();
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    conn.begin_test_transaction().expect("a transaction");
    conn.batch_execute("SELECT 1/0").expect_err("a failing statement");
    synchronize(&mut conn).expect_err("the transaction is aborted");
}
