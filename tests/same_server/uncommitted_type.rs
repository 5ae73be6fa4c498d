//! Types of transactions that have not ended: seen only by themselves, and by everybody once they commit.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize};
use fixture::{RECREATE_ENUM, write_and_read_back};

use crate::support::freshness::wait_until_stale;
use crate::support::meaning::{Label, judge, meaning, plain};
use crate::support::pools::upgrade;

#[test]
fn a_type_of_a_transaction_that_was_open_at_the_first_look_is_watched_once_it_commits() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let mut migration = PgConnection::establish(&url).expect("a connection");
    let mut conn = PgConnection::establish(&url).expect("a connection");
    migration.begin_test_transaction().expect("a transaction");
    migration.batch_execute("CREATE TYPE late AS ENUM ('x', 'y')").expect("a type nobody sees yet");
    // A larger OID than the type's, for all to see.
    upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('x')").expect("a type");

    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    migration.batch_execute("COMMIT").expect("a commit");

    wait_until_stale();
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "a type that was added is no change");
    upgrade.run_on(upgrade.old, "DROP TYPE late; CREATE TYPE late AS ENUM ('x', 'y')").expect("another type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
}

#[test]
fn what_a_transaction_saw_of_itself_is_forgotten_when_it_is_rolled_back() {
    let upgrade = upgrade();
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    let rolled_back = conn.transaction::<(), _, _>(|conn| {
        conn.batch_execute(RECREATE_ENUM)?;
        assert!(matches!(synchronize(conn), Ok(Outcome::Changed(_))));
        assert_eq!(write_and_read_back(conn, 1), Ok(()));
        Err(diesel::result::Error::RollbackTransaction)
    });
    assert!(rolled_back.is_err());
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)), "nothing is known of it any more");
    assert_eq!(write_and_read_back(&mut conn, 2), Ok(()));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
}

#[test]
fn what_a_raw_transaction_saw_of_itself_is_not_shared() {
    let upgrade = upgrade();
    let connect = || PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    let (mut raw, mut other) = (connect(), connect());
    synchronize(&mut other).expect("a first look");
    // Diesel does not know of it.
    raw.batch_execute("BEGIN; CREATE TYPE uncommitted AS ENUM ('x')").expect("a type nobody else sees");
    assert!(matches!(synchronize(&mut raw), Ok(Outcome::Primed)));
    for _ in 0..2 {
        assert!(matches!(synchronize(&mut other), Ok(Outcome::Unchanged)));
    }
    raw.batch_execute("ROLLBACK").expect("the end of it");
    assert!(matches!(synchronize(&mut other), Ok(Outcome::Unchanged)));
}

/// A transaction gives the name to another type, looks, uses it, and is rolled back. Stock Diesel is right afterwards.
fn what_follows_a_rollback_is_right(is_verified: bool) {
    let upgrade = upgrade();
    upgrade
        .run_on(upgrade.old, "CREATE TYPE label AS ENUM ('x'); CREATE TYPE label_new AS ENUM ('x')")
        .expect("types");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    assert_eq!(plain::<Label>(&mut conn), Ok(()));
    let swap = |conn: &mut PgConnection| {
        conn.batch_execute("ALTER TYPE label RENAME TO label_old; ALTER TYPE label_new RENAME TO label")?;
        synchronize(conn)?;
        assert_eq!(judge(meaning::<Label>(conn)), Ok(()), "inside");
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    };
    let rolled_back = if is_verified { conn.hot_transaction(swap) } else { conn.transaction(swap) };
    assert!(rolled_back.is_err());
    assert_eq!(plain::<Label>(&mut conn), Ok(()));
}

#[test]
fn what_follows_a_verified_transaction_that_changed_types_and_was_rolled_back_is_right() {
    what_follows_a_rollback_is_right(true);
}

#[test]
fn what_follows_a_plain_transaction_that_changed_types_and_was_rolled_back_is_right() {
    what_follows_a_rollback_is_right(false);
}

/// The same in a savepoint of a verified transaction.
#[test]
fn what_follows_a_savepoint_that_changed_types_and_was_rolled_back_is_right() {
    let upgrade = upgrade();
    upgrade
        .run_on(upgrade.old, "CREATE TYPE label AS ENUM ('x'); CREATE TYPE label_new AS ENUM ('x')")
        .expect("types");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    let outer = conn.hot_transaction(|conn| {
        assert_eq!(judge(meaning::<Label>(conn)), Ok(()), "before");
        let inner = conn.hot_transaction(|conn| {
            conn.batch_execute("ALTER TYPE label RENAME TO label_old; ALTER TYPE label_new RENAME TO label")?;
            synchronize(conn)?;
            assert_eq!(judge(meaning::<Label>(conn)), Ok(()), "inside");
            Err::<(), _>(diesel::result::Error::RollbackTransaction)
        });
        assert!(inner.is_err());
        QueryResult::Ok(judge(meaning::<Label>(conn)))
    });
    assert_eq!(outer, Ok(Ok(())));
}
