//! Types that move or vanish.

use diesel::connection::CacheSize;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::{Document, RECREATE_ENUM, count_titled, documents, insert, write_and_read_back};
use log::Level;

use crate::support::events::{logged, record_log};
use crate::support::pools::{hot_pool, stock_pool, upgrade};

/// A schema with a type and a table of the same names as in the other one.
pub(crate) const CREATE_TENANT: &str = "CREATE SCHEMA tenant;
    CREATE TYPE tenant.document_status AS ENUM ('draft', 'published');
    CREATE TABLE tenant.documents (id bigserial, title citext, attributes hstore,
        status tenant.document_status, code document_code)";

#[test]
fn a_type_that_is_created_anew_on_the_same_server_is_found() {
    let upgrade = upgrade();
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    assert_eq!(write_and_read_back(&mut hot.get().expect("a connection"), 1), Ok(()));
    assert_eq!(write_and_read_back(&mut stock.get().expect("a connection"), 2), Ok(()));

    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");

    assert_eq!(write_and_read_back(&mut hot.get().expect("a connection"), 3), Ok(()));
    let control = write_and_read_back(&mut stock.get().expect("a connection"), 4);
    assert!(control.is_err(), "the stock pool survived it too");
}

#[test]
fn a_type_created_after_the_first_look_is_watched_too() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let mut conn = PgConnection::establish(&url).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    upgrade.run_on(upgrade.old, "CREATE TABLE newcomer (id int)").expect("a table");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "a table is no type that anyone binds");
    upgrade.run_on(upgrade.old, "CREATE TYPE newcomer_kind AS ENUM ('a')").expect("a type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
}

#[test]
fn an_extension_that_is_missing_on_the_new_server_breaks_only_its_own_queries() {
    record_log();
    let upgrade = upgrade();
    let hot = hot_pool(&upgrade.url(), 2, CacheSize::Unbounded);
    upgrade.run_on(upgrade.new, "DROP EXTENSION hstore CASCADE").expect("no hstore on the new server");
    upgrade.switch_to(upgrade.new).expect("a switch");

    let mut conn = hot.get().expect("a checkout does not fail");
    assert_eq!(count_titled(&mut conn, "no such title"), Ok(0), "citext still works");
    let error = insert(&mut conn, &Document::numbered(1)).expect_err("there is no hstore").to_string();
    assert!(error.contains("hstore"), "the error names the type: {error}");
    assert_eq!(documents::table.count().get_result(&mut conn), Ok(0_i64), "the connection goes on");

    let warnings = logged(Level::Warn, &upgrade.database);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("missing: ") && warnings[0].contains("public.hstore"), "{warnings:?}");
}

#[test]
fn another_search_path_finds_the_type_of_the_same_name_there() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    upgrade.run_on(upgrade.old, CREATE_TENANT).expect("a tenant");
    let mut hot = PgConnection::establish(&url).expect("a connection");
    let mut stock = PgConnection::establish(&url).expect("a connection");
    synchronize(&mut hot).expect("a first look");
    assert_eq!(write_and_read_back(&mut hot, 1), Ok(()));
    assert_eq!(write_and_read_back(&mut stock, 2), Ok(()));

    for conn in [&mut hot, &mut stock] {
        conn.batch_execute("SET search_path = tenant, public").expect("another path");
    }
    assert!(matches!(synchronize(&mut hot), Ok(Outcome::Changed(_))));
    assert_eq!(write_and_read_back(&mut hot, 3), Ok(()));
    assert!(write_and_read_back(&mut stock, 4).is_err(), "the control finds the tenant's type by itself");
}

#[test]
fn a_type_of_a_transaction_that_was_open_at_the_first_look_is_watched_once_it_commits() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let mut migration = PgConnection::establish(&url).expect("a connection");
    let mut conn = PgConnection::establish(&url).expect("a connection");
    migration.begin_test_transaction().expect("a transaction");
    migration.batch_execute("CREATE TYPE late AS ENUM ('x', 'y')").expect("a type nobody sees yet");
    // A larger OID than the type's, for all to see.
    upgrade.run_on(upgrade.old, "CREATE TABLE bystander (id int)").expect("a table");

    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    migration.batch_execute("COMMIT").expect("a commit");

    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))), "the type is there now");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    upgrade.run_on(upgrade.old, "DROP TYPE late; CREATE TYPE late AS ENUM ('x', 'y')").expect("another type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
}

#[test]
fn a_transaction_with_a_later_id_than_any_that_ended_counts_as_open_too() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let connect = || PgConnection::establish(&url).expect("a connection");
    let (mut earlier, mut later, mut conn) = (connect(), connect(), connect());
    earlier.batch_execute("BEGIN; SELECT txid_current()").expect("a smaller transaction id");
    later.batch_execute("BEGIN; CREATE TYPE late AS ENUM ('x')").expect("a larger one, and a type");
    earlier.batch_execute("CREATE TABLE bystander (id int); COMMIT").expect("a larger OID");

    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    later.batch_execute("COMMIT").expect("a commit");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))), "the type is there now");
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
fn a_database_with_thousands_of_types_is_warned_of() {
    record_log();
    let upgrade = upgrade();
    let many =
        "DO $$BEGIN FOR i IN 1..1001 LOOP EXECUTE format('CREATE DOMAIN many_%s AS int', i); END LOOP; END$$";
    upgrade.run_on(upgrade.old, many).expect("many types");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
    let warnings = logged(Level::Warn, "call `track`");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
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

#[test]
fn a_domain_over_an_array_does_not_keep_others_from_being_known() {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, "CREATE DOMAIN labels AS text[]").expect("a domain over an array");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
}
