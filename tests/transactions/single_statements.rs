//! Single statements outside a transaction: errors are healed, and nothing runs twice that may have taken effect.

use diesel::connection::SimpleConnection;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::Text;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};
use fixture::{Document, documents};

use crate::support::documents::connections;
use crate::support::pools::upgrade;

fn of_code(number: u64) -> fixture::Code {
    Document::numbered(number).code
}

#[test]
fn a_statement_that_fails_after_a_switch_is_healed() {
    let upgrade = upgrade();
    let (mut hot, mut stock) = connections(&upgrade.url());
    let insert = |number| diesel::insert_into(documents::table).values(Document::numbered(number));

    let mut number = 2;
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        number += 1;
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(hot.hot_query(insert(number)).execute(), Ok(1));
        upgrade.switch_to(if server.major() == 10 { upgrade.new } else { upgrade.old }).expect("a switch");
        upgrade.switch_to(server).expect("a switch");
        let query = documents::table.filter(documents::code.eq(of_code(number))).select(Document::as_select());
        assert_eq!(hot.hot_query(query).load(), Ok(vec![Document::numbered(number)]));
    }
    upgrade.switch_to(upgrade.old).expect("a switch");
    let count = documents::table.filter(documents::status.eq(fixture::Status::Draft)).count();
    assert!(hot.hot_query(count).get_result::<i64>().is_ok_and(|drafts| drafts > 0));
    upgrade.switch_to(upgrade.new).expect("a switch");
    insert(9).execute(&mut stock).expect_err("the control heals by itself");
}

#[test]
fn no_row_is_not_found() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let none = documents::table.filter(documents::id.eq(-1)).select(documents::id);
    assert_eq!(hot.hot_query(none).get_result::<i64>(), Err(Error::NotFound));
}

/// A value that can't be decoded.
#[derive(Debug, FromSqlRow)]
struct Undecodable;

impl FromSql<Text, Pg> for Undecodable {
    fn from_sql(_: PgValue<'_>) -> deserialize::Result<Self> {
        Err("it can't be decoded".into())
    }
}

#[test]
fn an_error_of_decoding_what_was_written_does_not_write_it_again() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    // So that there would be something to heal.
    upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('a')").expect("a type");
    let insert = diesel::insert_into(documents::table)
        .values(Document::numbered(3))
        .returning(diesel::dsl::sql::<Text>("code::text"));

    let result = hot.hot_query(insert).load::<Undecodable>();

    assert!(matches!(result, Err(Error::DeserializationError(_))), "{result:?}");
    let written = documents::table.filter(documents::code.eq(of_code(3))).count();
    assert_eq!(written.get_result(&mut hot), Ok(1_i64));
}

#[test]
fn a_procedure_that_committed_before_it_failed_is_not_called_again() {
    let upgrade = upgrade();
    upgrade.switch_to(upgrade.new).expect("procedures came with PostgreSQL 11");
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    conn.batch_execute(
        "CREATE TABLE called (id int8);
         CREATE PROCEDURE fail_late() LANGUAGE plpgsql AS
         $$BEGIN INSERT INTO called VALUES (1); COMMIT; PERFORM 1 / 0; END$$",
    )
    .expect("a procedure");
    synchronize(&mut conn).expect("a first look");
    upgrade.run_on(upgrade.new, "CREATE TYPE bystander AS ENUM ('a')").expect("a type");

    conn.hot_query(diesel::sql_query("CALL fail_late()")).execute().expect_err("a division by zero");

    let calls = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM called");
    assert_eq!(calls.get_result(&mut conn), Ok(1_i64));
}

#[test]
fn an_error_that_is_no_fault_of_the_caches_is_handed_on_untouched() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let duplicate = diesel::sql_query("INSERT INTO documents SELECT * FROM documents");
    let result = hot.hot_query(duplicate).execute();
    assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
}

#[test]
fn inside_a_transaction_a_statement_runs_once() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let result = hot.transaction(|conn| {
        upgrade.run_on(upgrade.old, fixture::RECREATE_ENUM).expect("another enum of the same name");
        let insert = diesel::insert_into(documents::table).values(Document::numbered(3));
        conn.hot_query(insert).execute()
    });
    assert!(matches!(result, Err(Error::DatabaseError(..))), "{result:?}");
    let insert = diesel::insert_into(documents::table).values(Document::numbered(3));
    assert_eq!(hot.hot_query(insert).execute(), Ok(1), "and outside of it, it is healed");
}
