//! The server, or a type, changes at the worst moment of a transaction. The control is the stock `transaction`.

use std::thread;

use diesel::prelude::*;
use diesel::result::Error;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{RECREATE_ENUM, Upgrade};
use testbed::PgBouncerConfig;

use crate::support::documents::{connections, work};
use crate::support::pools::upgrade;
use crate::support::server::{version, wait_until};

#[test]
fn the_server_changes_between_checkout_and_begin() {
    let upgrade = upgrade();
    let (mut hot, mut stock) = connections(&upgrade.url());

    upgrade.switch_to(upgrade.new).expect("a switch");

    assert_eq!(hot.hot_transaction(|conn| work(conn, 3)), Ok(()));
    stock.transaction(|conn| work(conn, 4)).expect_err("the control knows of the switch");
}

#[test]
fn the_server_changes_between_two_transactions_of_one_checkout() {
    let upgrade = upgrade();
    let (mut hot, mut stock) = connections(&upgrade.url());
    let mut number = 2;
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        for _ in 0..2 {
            number += 1;
            assert_eq!(hot.hot_transaction(|conn| work(conn, number)), Ok(()));
        }
    }
    stock.transaction(|conn| work(conn, 9)).expect_err("the control knows of the switch");
}

#[test]
fn a_connection_nobody_asked_before_is_asked_by_its_first_transaction() {
    let upgrade = upgrade();
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    conn.transaction(|conn| work(conn, 1)).expect("nothing has changed yet");
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(conn.hot_transaction(|conn| work(conn, 2)), Ok(()));
}

#[test]
fn a_switch_after_begin_waits_for_the_transaction() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    thread::scope(|scope| {
        let mut switch = None;
        let versions = hot.hot_transaction(|conn| {
            let thread =
                switch.get_or_insert_with(|| scope.spawn(|| upgrade.switch_to(upgrade.new).expect("a switch")));
            wait_until("PgBouncer pauses", || {
                upgrade.pgbouncer.is_paused(&upgrade.database).expect("its console")
            });
            assert!(!thread.is_finished(), "PgBouncer switched under an open transaction");
            work(conn, 3)?;
            version(conn)
        });
        assert_eq!(versions.expect("the transaction").get(..2), Some("10"), "still on the old server");
        switch.expect("a switch was begun").join().expect("no panic");
    });
    let after = hot.hot_transaction(|conn| {
        work(conn, 4)?;
        version(conn)
    });
    assert_eq!(after.expect("the next transaction").get(..2), Some("12"));
}

#[test]
fn a_type_is_created_anew_between_begin_and_the_statement() {
    let upgrade = upgrade();
    let (mut hot, mut stock) = connections(&upgrade.url());
    let mut attempts = 0;
    let healed = hot.hot_transaction(|conn| {
        attempts += 1;
        if attempts == 1 {
            upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
        }
        work(conn, 3)
    });
    assert_eq!(healed, Ok(()));
    assert_eq!(attempts, 2, "it failed once, was rolled back, and ran again");

    let control = stock.transaction(|conn| work(conn, 4));
    assert!(matches!(control, Err(Error::DatabaseError(..))), "{control:?}");
}

#[test]
fn a_type_that_is_created_anew_each_time_fails_after_the_third() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let mut attempts = 0;
    let result = hot.hot_transaction(|conn| {
        attempts += 1;
        upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
        work(conn, 3)
    });
    assert!(matches!(result, Err(Error::DatabaseError(..))), "{result:?}");
    assert_eq!(attempts, 3);
    assert_eq!(hot.hot_transaction(|conn| work(conn, 3)), Ok(()), "nothing was committed, and it goes on");
}

#[test]
fn a_type_nobody_watches_is_created_anew() {
    let upgrade = upgrade();
    let (mut hot, mut stock) = connections(&upgrade.url());
    let use_late = |conn: &mut PgConnection| late::table.filter(late::kind.eq(Kind)).count().get_result(conn);
    upgrade
        .run_on(upgrade.old, "CREATE TYPE late_kind AS ENUM ('x'); CREATE TABLE late (id int8, kind late_kind)")
        .expect("a type that neither connection has seen");
    // Diesel looks it up by itself; no checkout comes between.
    assert_eq!(hot.hot_transaction(use_late), Ok(0_i64));
    assert_eq!(stock.transaction(use_late), Ok(0_i64));

    upgrade
        .run_on(
            upgrade.old,
            "ALTER TYPE late_kind RENAME TO outgoing; CREATE TYPE late_kind AS ENUM ('x');
             ALTER TABLE late ALTER kind TYPE late_kind USING kind::text::late_kind; DROP TYPE outgoing",
        )
        .expect("another type of the same name");

    assert_eq!(hot.hot_transaction(use_late), Ok(0_i64));
    stock.transaction::<i64, _, _>(use_late).expect_err("the control heals by itself");
}

diesel::table! {
    late (id) {
        id -> Int8,
        kind -> crate::transactions::server_or_type_changes::LateKind,
    }
}

#[derive(Debug, diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "late_kind"))]
#[allow(unreachable_pub)] // The table that uses it is public.
pub struct LateKind;

#[derive(Debug, Clone, Copy, diesel::expression::AsExpression)]
#[diesel(sql_type = LateKind)]
struct Kind;

impl diesel::serialize::ToSql<LateKind, diesel::pg::Pg> for Kind {
    fn to_sql<'b>(
        &'b self,
        out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
    ) -> diesel::serialize::Result {
        std::io::Write::write_all(out, b"x")?;
        Ok(diesel::serialize::IsNull::No)
    }
}

#[test]
fn a_held_connection_survives_where_nobody_keeps_prepared_statements() {
    let config = PgBouncerConfig { max_prepared_statements: 0, ..PgBouncerConfig::default() };
    let upgrade = Upgrade::start(config).expect("two servers and a pooler");
    let mut hot = PgConnection::establish(&upgrade.url()).expect("a connection");
    hot.set_prepared_statement_cache_size(diesel::connection::CacheSize::Disabled);
    for (number, server) in (1..).zip([upgrade.new, upgrade.old, upgrade.new]) {
        assert_eq!(hot.hot_transaction(|conn| work(conn, number)), Ok(()));
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(hot.hot_transaction(|conn| work(conn, number + 10)), Ok(()));
    }
}
