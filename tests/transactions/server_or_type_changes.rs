//! The server, or a type, changes at the worst moment of a transaction. The control is the stock `transaction`.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};
use fixture::{Document, Upgrade, insert, read_back};
use testbed::PgBouncerConfig;

use crate::same_server::new_type::CREATE_TENANT;
use crate::support::pools::upgrade;
use fixture::RECREATE_ENUM;

/// What a transaction of the fixture does: write a document, and read it back.
pub(crate) fn work(conn: &mut PgConnection, number: u64) -> QueryResult<()> {
    let document = Document::numbered(number);
    insert(conn, &document)?;
    assert_eq!(read_back(conn, &document)?, [document], "a wrong answer");
    Ok(())
}

/// A protected connection and a stock one, which have both used the fixture's types.
pub(crate) fn connections(url: &str) -> (PgConnection, PgConnection) {
    let mut hot = PgConnection::establish(url).expect("a connection");
    let mut stock = PgConnection::establish(url).expect("a connection");
    synchronize(&mut hot).expect("a first look");
    hot.hot_transaction(|conn| work(conn, 1)).expect("nothing has changed yet");
    stock.transaction(|conn| work(conn, 2)).expect("nothing has changed yet");
    (hot, stock)
}

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

/// Waits for a condition of another thread or process.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(1));
    }
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
fn options_hold_whichever_way_the_transaction_begins() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    for server in [upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        for _ in 0..2 {
            let isolation = hot.hot_transaction_with(
                |builder| builder.serializable().read_only().deferrable(),
                |conn| settings(conn, "transaction_isolation, transaction_read_only, transaction_deferrable"),
            );
            assert_eq!(isolation, Ok("serializable, on, on".to_owned()));
            let others = hot.hot_transaction_with(
                |builder| builder.repeatable_read().read_write().not_deferrable(),
                |conn| settings(conn, "transaction_isolation, transaction_read_only, transaction_deferrable"),
            );
            assert_eq!(others, Ok("repeatable read, off, off".to_owned()));
            let default = hot.hot_transaction_with(
                |builder| builder.serializable().read_committed(),
                |conn| settings(conn, "transaction_isolation"),
            );
            assert_eq!(default, Ok("read committed".to_owned()));
        }
    }
    for server in [upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        for _ in 0..2 {
            let locked = hot.hot_transaction_with(
                |builder| builder.before_probe(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; LOCK TABLE documents; SET LOCAL lock_timeout = '77s'",
                ),
                |conn| {
                    let number = i64::from(server.major()) as u64;
                    insert(conn, &Document::numbered(number))?;
                    settings(conn, "transaction_isolation, lock_timeout")
                },
            );
            assert_eq!(locked, Ok("repeatable read, 77s".to_owned()));
        }
    }
}

/// The server that answers, such as `100023`.
pub(crate) fn version(conn: &mut PgConnection) -> QueryResult<String> {
    settings(conn, "server_version_num")
}

fn settings(conn: &mut PgConnection, names: &str) -> QueryResult<String> {
    let settings: Vec<_> = names.split(", ").map(|name| format!("current_setting('{name}')")).collect();
    let sql = format!("concat_ws(', ', {})", settings.join(", "));
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&sql)).get_result(conn)
}

#[test]
fn what_fails_before_the_probe_is_reported_and_leaves_no_transaction_open() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let result = hot.hot_transaction_with(
        |builder| builder.before_probe("LOCK TABLE no_such_table"),
        |_| -> QueryResult<()> { panic!("the closure must not run") },
    );
    assert!(result.expect_err("there is no such table").to_string().contains("no_such_table"));
    assert_eq!(hot.hot_transaction(|conn| work(conn, 3)), Ok(()));
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

#[test]
fn a_transaction_of_a_tenant_finds_the_tenants_types() {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, CREATE_TENANT).expect("a tenant");
    let (mut hot, mut stock) = connections(&upgrade.url());
    let tenant = "SET LOCAL search_path = tenant, public";
    for number in 3..6 {
        let in_closure = hot.hot_transaction(|conn| {
            conn.batch_execute(tenant)?;
            synchronize(conn)?;
            work(conn, number)
        });
        assert_eq!(in_closure, Ok(()));
        assert_eq!(hot.hot_transaction(|conn| work(conn, number)), Ok(()), "and back");
        let before_probe =
            hot.hot_transaction_with(|builder| builder.before_probe(tenant), |conn| work(conn, number + 10));
        assert_eq!(before_probe, Ok(()));
    }
    let control = stock.transaction(|conn| {
        conn.batch_execute(tenant)?;
        work(conn, 9)
    });
    control.expect_err("the control finds the tenant's type by itself");
}
