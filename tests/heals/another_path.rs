//! A plain `SET search_path` makes statements mean other tables.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::client::{Client, In};
use crate::scenarios::{NOTHING, Scenario};
use crate::site::{Site, Way};
use crate::uses::reads;

const SETTINGS: [&str; 2] = ["SET search_path = new", "SET search_path = old"];

const TWO_SCHEMAS: Scenario = Scenario {
    prepare: |conn| {
        conn.batch_execute(
            "CREATE SCHEMA old; CREATE TABLE old.t (v int4); INSERT INTO old.t VALUES (7);
             CREATE SCHEMA new; CREATE TABLE new.t (v int8); INSERT INTO new.t VALUES (7)",
        )
    },
    used: |conn, how| reads(conn, how, "SELECT v AS value FROM t", &[0, 7]),
    itself: |conn| conn.batch_execute(SETTINGS[1]),
    ..NOTHING
};

fn heals(way: Way, within: In) {
    let mut site = Site::start(way);
    (TWO_SCHEMAS.prepare)(site.owner()).expect("two tables");
    let mut stock = site.connect();
    let used = |conn: &mut PgConnection| (TWO_SCHEMAS.used)(conn, crate::uses::How::Plain);
    (TWO_SCHEMAS.itself)(&mut stock).expect("a path");
    assert_eq!(used(&mut stock), Ok(()));
    stock.batch_execute(SETTINGS[0]).expect("another path");
    for _ in 0..3 {
        used(&mut stock).expect_err("the control");
    }
    for mut client in Client::all(&site) {
        let name = client.name();
        client.with(|conn| {
            (TWO_SCHEMAS.itself)(conn).expect("a path");
            assert_eq!(within.run(conn, &TWO_SCHEMAS), Ok(()), "{name}, at first");
            for time in 0..4 {
                conn.batch_execute(SETTINGS[time % 2]).expect("another path");
                for _ in 0..2 {
                    assert_eq!(within.run(conn, &TWO_SCHEMAS), Ok(()), "{name}, {time}");
                }
            }
        });
    }
}

#[test]
fn hot_query_heals_what_was_planned_for_the_path_before() {
    heals(Way::Direct, In::HotQuery);
    heals(Way::Sessions, In::HotQuery);
}

#[test]
fn a_verified_transaction_heals_what_was_planned_for_the_path_before() {
    heals(Way::Direct, In::HotTransaction);
    heals(Way::Sessions, In::HotTransaction);
}

#[test]
fn own_errors_after_another_path_hardly_run_again() {
    let mut site = Site::start(Way::Direct);
    site.run("CREATE SEQUENCE public.numbers");
    let mut client = Client::held(&site);
    let fail = |conn: &mut PgConnection| {
        let quotient = diesel::dsl::sql::<diesel::sql_types::BigInt>("nextval('public.numbers') / 0");
        conn.hot_query(diesel::select(quotient)).get_result::<i64>().expect_err("a division by zero");
    };
    client.with(|conn| {
        fail(conn);
        conn.batch_execute("SET search_path = pg_catalog, public").expect("another path");
        (0..20).for_each(|_| fail(conn));
    });
    let drawn = diesel::dsl::sql::<diesel::sql_types::BigInt>("nextval('public.numbers')");
    let drawn = diesel::select(drawn).get_result::<i64>(site.owner()).expect("a number") - 1;
    // Not each of them twice. One is run again since the session has none of Diesel's statements, one for the new path.
    // Whenever the connection notes the state of the catalog, one more: what other transactions, which are open then,
    // let appear as new (other tests have such on this server).
    assert!(drawn <= 21 + 2 + 3, "{drawn} attempts");
}
