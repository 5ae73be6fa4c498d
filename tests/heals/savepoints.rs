//! A statement fails in a savepoint of a verified transaction, which is in order again when the closure returns the
//! error.

use std::cell::Cell;
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::client::Client;
use crate::counting::{Counting, PREPARE};
use crate::scenarios::{A_COLUMN_BECOMES_WIDER, A_HIDING_TABLE_IS_DROPPED, Scenario};
use crate::site::{Site, Way};
use crate::uses::How;

const SCENARIOS: [Scenario; 2] = [A_COLUMN_BECOMES_WIDER, A_HIDING_TABLE_IS_DROPPED];

/// A site after the change, with clients that have used what went stale. Stock Diesel fails for ever.
fn stale(scenario: &Scenario, way: Way) -> (Site, Vec<Client>) {
    let mut site = Site::start(way);
    (scenario.prepare)(site.owner()).expect("what the scenario begins with");
    let mut clients = Client::all(&site);
    let mut stock = site.connect();
    let nested = |conn: &mut PgConnection| {
        conn.transaction(|conn| conn.transaction(|conn| (scenario.used)(conn, How::Plain)))
    };
    site.on_every_backend(|conn| (scenario.used)(conn, How::Plain));
    assert_eq!(nested(&mut stock), Ok(()));
    for client in &mut clients {
        assert_eq!(client.with(nested), Ok(()), "{}", client.name());
    }
    site.run(scenario.change);
    for _ in 0..2 * way.backends() {
        nested(&mut stock).expect_err("the control");
    }
    (site, clients)
}

fn rounds(way: Way) -> usize {
    3 * way.backends()
}

fn a_savepoint_heals(way: Way) {
    for scenario in SCENARIOS {
        let (_site, mut clients) = stale(&scenario, way);
        // Behind a pooler, each server connection is healed once, whoever meets it.
        let mut failures = 0;
        for client in &mut clients {
            for _ in 0..rounds(way) {
                let runs = Cell::new(0);
                let done = client.with(|conn| {
                    conn.hot_transaction(|conn| {
                        runs.set(runs.get() + 1);
                        conn.transaction(|conn| (scenario.used)(conn, How::Plain))
                    })
                });
                assert_eq!(runs.get(), 1, "the closure returned an error while its transaction was in order");
                failures += usize::from(done.is_err());
            }
        }
        assert!(failures <= way.backends().max(clients.len()), "{failures} failures");
    }
}

#[test]
fn a_failure_in_a_savepoint_is_healed_for_the_next_time_directly() {
    a_savepoint_heals(Way::Direct);
}

#[test]
fn a_failure_in_a_savepoint_is_healed_for_the_next_time_in_session_mode() {
    a_savepoint_heals(Way::Sessions);
}

#[test]
fn a_failure_in_a_savepoint_is_healed_for_the_next_time_behind_a_pooler_that_prepares_statements() {
    a_savepoint_heals(Way::Transactions);
}

fn a_nested_one_heals(way: Way) {
    for scenario in SCENARIOS {
        let (_site, mut clients) = stale(&scenario, way);
        for client in &mut clients {
            for round in 0..rounds(way) {
                let done = client.with(|conn| {
                    conn.hot_transaction(|conn| conn.hot_transaction(|conn| (scenario.used)(conn, How::Plain)))
                });
                assert_eq!(done, Ok(()), "{}, round {round}", client.name());
            }
        }
    }
}

#[test]
fn a_failure_in_a_nested_verified_transaction_is_healed_directly() {
    a_nested_one_heals(Way::Direct);
}

#[test]
fn a_failure_in_a_nested_verified_transaction_is_healed_in_session_mode() {
    a_nested_one_heals(Way::Sessions);
}

#[test]
fn a_failure_in_a_nested_verified_transaction_is_healed_behind_a_pooler_that_prepares_statements() {
    a_nested_one_heals(Way::Transactions);
}

/// Errors that have nothing to do with any statement, and own errors in savepoints.
#[test]
fn an_applications_errors_in_order_cost_nothing_and_run_nothing_again() {
    let mut site = Site::start(Way::Direct);
    site.run(PREPARE);
    let mut counting = Counting::connect(&site);
    let (before, runs, began) = (counting.round_trips(), Cell::new(0), Instant::now());
    for time in 0..1_000 {
        if time == 500 {
            site.run("CREATE TABLE unrelated (v int8)");
        }
        let refused = counting.conn.hot_transaction(|_| {
            runs.set(runs.get() + 1);
            Err::<(), _>(Error::RollbackTransaction)
        });
        assert_eq!(refused, Err(Error::RollbackTransaction));
    }
    assert_eq!(runs.get(), 1_000);
    let round_trips = counting.round_trips() - before;
    assert!(round_trips <= 2 * 1_000 + 20 + looks_since(began), "{round_trips} round trips");

    let (before, runs, began) = (counting.round_trips(), Cell::new(0), Instant::now());
    for _ in 0..200 {
        let failed = counting.conn.hot_transaction(|conn| {
            runs.set(runs.get() + 1);
            conn.transaction(|conn| conn.batch_execute("SELECT 1 / 0"))
        });
        failed.expect_err("a division by zero");
    }
    assert_eq!(runs.get(), 200);
    // `BEGIN`, the savepoint, the statement, its rollback, `ROLLBACK`.
    let round_trips = counting.round_trips() - before;
    assert!(round_trips <= 200 * 5 + 20 + looks_since(began), "{round_trips} round trips");
}

/// Round trips: the connection looks for new types once a second.
fn looks_since(began: Instant) -> usize {
    2 * began.elapsed().as_secs() as usize
}
