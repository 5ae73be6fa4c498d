//! An application's own errors are not healed in vain: one question each, and next to no rerun.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

use crate::counting::{Counting, FAILURES, PREPARE};
use crate::site::{Site, Way, connect};

/// `BEGIN`, the statement, `ROLLBACK`, one question.
const EACH: usize = 4;

/// What may come on top of all that, whatever their number.
const A_FEW: usize = 8;

fn start() -> (Site, Counting) {
    let mut site = Site::start(Way::Direct);
    site.run(PREPARE);
    let counting = Counting::connect(&site);
    (site, counting)
}

/// Fails so often, and calls `meanwhile` before each failure.
fn fail(counting: &mut Counting, times: usize, mut meanwhile: impl FnMut(usize)) {
    for time in 0..times {
        meanwhile(time);
        counting.fail(FAILURES[time % FAILURES.len()]);
    }
}

#[test]
fn a_thousand_errors_cost_one_question_each_and_no_rerun() {
    let (_site, mut counting) = start();
    let before = counting.round_trips();
    fail(&mut counting, 1_000, |_| {});
    let round_trips = counting.round_trips() - before;
    assert!(counting.closures <= 1_000 + A_FEW, "{} closures", counting.closures);
    assert!(round_trips <= 1_000 * EACH + 10 * A_FEW, "{round_trips} round trips");
}

#[test]
fn each_kind_of_error_costs_one_question() {
    for failure in FAILURES {
        let (_site, mut counting) = start();
        let before = counting.round_trips();
        for _ in 0..50 {
            counting.fail(failure);
        }
        let round_trips = counting.round_trips() - before;
        assert!(counting.closures <= 50 + A_FEW, "{failure:?}: {} closures", counting.closures);
        assert!(round_trips <= 50 * EACH + 2 * A_FEW, "{failure:?}: {round_trips} round trips");
    }
}

#[test]
fn an_unrelated_change_of_the_catalog_costs_one_rerun() {
    let (mut site, mut counting) = start();
    fail(&mut counting, 1_000, |time| {
        if time % 250 == 100 {
            site.run(&format!("CREATE TABLE unrelated_{time} (v int8); ALTER TABLE unrelated_{time} ADD w text"));
        }
    });
    assert!(counting.closures <= 1_000 + 4 + A_FEW, "{} closures", counting.closures);
}

#[test]
fn an_old_transaction_does_not_make_every_error_a_rerun() {
    let (mut site, mut counting) = start();
    let mut old = site.connect();
    old.batch_execute("BEGIN; INSERT INTO accounts VALUES (2, 2)").expect("a transaction that stays open");
    site.run("CREATE TABLE newer (v int8)");
    let before = counting.round_trips();
    fail(&mut counting, 200, |_| {});
    let round_trips = counting.round_trips() - before;
    assert!(counting.closures <= 200 + A_FEW, "{} closures", counting.closures);
    assert!(round_trips <= 200 * EACH + 10 * A_FEW, "{round_trips} round trips");
    old.batch_execute("ROLLBACK").expect("it was open");
}

#[test]
fn an_old_transaction_in_another_database_does_not_make_every_error_a_rerun() {
    let (mut site, mut counting) = start();
    let mut elsewhere = connect(&site.server.url("postgres"));
    elsewhere.batch_execute("BEGIN; SELECT txid_current()").expect("a transaction that stays open");
    site.run("CREATE TABLE newer (v int8)");
    fail(&mut counting, 200, |_| {});
    assert!(counting.closures <= 200 + A_FEW, "{} closures", counting.closures);
}

#[test]
fn temporary_tables_of_others_cost_no_rerun() {
    let (site, mut counting) = start();
    let mut other = site.connect();
    // The session's own schema is new as well.
    other.batch_execute("CREATE TEMP TABLE first (v text)").expect("a temporary table");
    fail(&mut counting, 200, |_| {
        other
            .batch_execute("CREATE TEMP TABLE t (id bigserial PRIMARY KEY, v text); DROP TABLE t")
            .expect("a temporary table");
    });
    assert!(counting.closures <= 200 + A_FEW, "{} closures", counting.closures);
}

#[test]
fn an_error_of_a_single_statement_costs_one_question() {
    let (_site, mut counting) = start();
    let quotient = diesel::dsl::sql::<diesel::sql_types::Integer>("1 / ").bind::<diesel::sql_types::Integer, _>(0);
    let query = diesel::select(quotient);
    let before = counting.round_trips();
    for _ in 0..200 {
        counting.conn.hot_query(query.clone()).get_result::<i32>().expect_err("a division by zero");
    }
    // One of the two is for preparing it, which Diesel does each time.
    let round_trips = counting.round_trips() - before;
    assert!(round_trips <= 200 * 3 + 10 * A_FEW, "{round_trips} round trips");
}

#[test]
fn errors_leave_the_connections_caches_alone() {
    let (_site, mut counting) = start();
    let steady = |counting: &mut Counting| {
        let before = counting.round_trips();
        let count = |conn: &mut PgConnection| crate::counting::accounts::table.count().get_result::<i64>(conn);
        counting.conn.hot_transaction(count).expect("a count");
        counting.round_trips() - before
    };
    steady(&mut counting);
    let before = steady(&mut counting);
    fail(&mut counting, 50, |_| {});
    assert_eq!((steady(&mut counting), before), (3, 3), "BEGIN, the statement that is still prepared, COMMIT");
    synchronize(&mut counting.conn).expect("nothing changed");
}
