//! What runs again takes effect once: all that the failed attempt did was rolled back, except that sequences skip.

use std::cell::Cell;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::client::Client;
use crate::scenarios::A_COLUMN_BECOMES_WIDER;
use crate::site::{Site, Way};
use crate::uses::{How, reads};

/// The most often that a closure runs.
const MAX_RUNS: usize = 3;

const EFFECTS: &str =
    "CREATE TABLE written (n int8); CREATE TABLE counter (n int8); INSERT INTO counter VALUES (0);
    CREATE SEQUENCE numbers";

const CHANGE: [&str; 2] = ["ALTER TABLE t ALTER v TYPE int8", "ALTER TABLE t ALTER v TYPE int4"];

fn number(conn: &mut PgConnection, sql: &str) -> i64 {
    diesel::select(diesel::dsl::sql::<BigInt>(sql)).get_result(conn).expect(sql)
}

/// What a transaction does before it meets what is stale.
fn take_effect(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("INSERT INTO written VALUES (1); UPDATE counter SET n = n + 1; NOTIFY effects")?;
    diesel::select(diesel::dsl::sql::<BigInt>("nextval('numbers')")).get_result::<i64>(conn).map(drop)
}

fn start(way: Way) -> Site {
    let mut site = Site::start(way);
    (A_COLUMN_BECOMES_WIDER.prepare)(site.owner()).expect("a table");
    site.run(EFFECTS);
    site
}

fn everything_takes_effect_once(way: Way) {
    let mut site = start(way);
    let mut listener = site.server_session();
    listener.batch_execute("LISTEN effects").expect("a listener");
    let used = |conn: &mut PgConnection| reads(conn, How::Plain, "SELECT v AS value FROM t", &[0, 7]);
    site.on_every_backend(used);
    let mut client = Client::held(&site);
    client.with(|conn| conn.hot_transaction(used)).expect("nothing changed");
    let mut most_runs = 0;
    let times = 4 * way.backends();
    for time in 0..times {
        site.run(CHANGE[time % 2]);
        let runs = Cell::new(0);
        let healed = client.with(|conn| {
            conn.hot_transaction(|conn| {
                runs.set(runs.get() + 1);
                take_effect(conn)?;
                used(conn)
            })
        });
        assert_eq!(healed, Ok(()), "after change {time}");
        most_runs = most_runs.max(runs.get());
    }
    assert!((2..=MAX_RUNS).contains(&most_runs), "{most_runs} runs: nothing was healed, or too often");
    let times = i64::try_from(times).expect("a few");
    let owner = site.owner();
    assert_eq!(number(owner, "(SELECT count(*) FROM written)"), times, "rows");
    assert_eq!(number(owner, "(SELECT sum(n)::int8 FROM counter)"), times, "a counter");
    let drawn = number(owner, "nextval('numbers')") - 1;
    assert!((times..=times * MAX_RUNS as i64).contains(&drawn), "{drawn} numbers of a sequence");
    // What was sent before this answer has arrived.
    assert_eq!(number(&mut listener, "1::int8"), 1);
    let notifications: Vec<_> = listener.notifications_iter().collect();
    assert_eq!(i64::try_from(notifications.len()), Ok(times), "{notifications:?}");
}

#[test]
fn everything_takes_effect_once_directly() {
    everything_takes_effect_once(Way::Direct);
}

#[test]
fn everything_takes_effect_once_behind_a_pooler_that_prepares_statements() {
    everything_takes_effect_once(Way::Transactions);
}

#[test]
fn everything_takes_effect_once_in_session_mode() {
    everything_takes_effect_once(Way::Sessions);
}

#[test]
fn a_single_insert_takes_effect_once() {
    let mut site = Site::start(Way::Direct);
    site.run("CREATE TABLE t (value text); CREATE SEQUENCE numbers");
    let insert = |conn: &mut PgConnection, how| {
        reads(conn, how, "INSERT INTO t (value) VALUES (nextval('numbers') || 'x') RETURNING *", b"x")
    };
    let (mut hot, mut stock) = (site.connect(), site.connect());
    assert_eq!(insert(&mut hot, How::HotQuery), Ok(()));
    assert_eq!(insert(&mut stock, How::Plain), Ok(()));
    for further in 0..3_i64 {
        site.run(&format!("ALTER TABLE t ADD further_{further} int8"));
        insert(&mut stock, How::Plain).expect_err("the control");
        assert_eq!(insert(&mut hot, How::HotQuery), Ok(()));
        assert_eq!(number(site.owner(), "(SELECT count(*) FROM t)"), 3 + further);
    }
}

/// The catalog changes before each attempt fails.
#[test]
fn a_closure_runs_at_most_three_times() {
    let mut site = start(Way::Direct);
    let mut client = Client::held(&site);
    let mut runs = 0;
    let failed = client.with(|conn| {
        conn.hot_transaction(|conn| {
            runs += 1;
            take_effect(conn)?;
            site.run(&format!("CREATE TABLE run_{runs} (v int8); CREATE TYPE type_{runs} AS ENUM ('x')"));
            conn.batch_execute("SELECT 1 / 0")
        })
    });
    assert_eq!(failed.expect_err("each run fails").to_string(), "division by zero");
    assert!((1..=MAX_RUNS).contains(&runs), "{runs} runs");
    assert_eq!(number(site.owner(), "(SELECT count(*) FROM written)"), 0);
    assert_eq!(number(site.owner(), "(SELECT sum(n)::int8 FROM counter)"), 0);
}
