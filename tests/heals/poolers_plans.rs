//! PgBouncer keeps prepared statements for all clients, on each of its server connections. What went stale there is
//! healed for all of them, so nothing is to do after a migration.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::client::{Client, In};
use crate::counting::{FAILURES, PREPARE};
use crate::deaf::deaf_to_deallocate;
use crate::scenarios::A_COLUMN_BECOMES_WIDER;
use crate::site::{Site, Way};
use crate::uses::{How, reads};

const BACKENDS: usize = 4;

fn used(conn: &mut PgConnection) -> QueryResult<()> {
    (A_COLUMN_BECOMES_WIDER.used)(conn, How::Plain)
}

/// Nothing changes for this one.
fn other(conn: &mut PgConnection) -> QueryResult<()> {
    reads(conn, How::Plain, "SELECT 'x'::text AS value", b"x")
}

/// Every server connection has a stale plan, and each client has met it.
fn stale(through: impl FnOnce(&Site), clients: impl FnOnce(&Site) -> Vec<Client>) -> (Site, Vec<Client>) {
    let mut site = Site::start(Way::Transactions);
    through(&site);
    site.run(PREPARE);
    (A_COLUMN_BECOMES_WIDER.prepare)(site.owner()).expect("a table");
    let mut clients = clients(&site);
    for client in &mut clients {
        client.with(|conn| used(conn).and_then(|()| other(conn))).expect("nothing changed");
    }
    site.on_every_backend(|conn| used(conn).and_then(|()| other(conn)));
    site.run(A_COLUMN_BECOMES_WIDER.change);
    (site, clients)
}

fn start(clients: impl FnOnce(&Site) -> Vec<Client>) -> (Site, Vec<Client>) {
    stale(|_| {}, clients)
}

/// Runs in a verified transaction, and counts how often the closure ran.
fn fails(client: &mut Client, within: In, time: usize) -> usize {
    let mut runs = 0;
    client.with(|conn| match within {
        In::HotTransaction => {
            use diesel_postgres_hot_upgrade::HotUpgradeExt;
            let failed = conn.hot_transaction(|conn| {
                runs += 1;
                FAILURES[time % FAILURES.len()].fail(conn)
            });
            failed.expect_err("the application fails");
        }
        In::HotQuery => {
            use diesel_postgres_hot_upgrade::HotUpgradeExt;
            let quotient = diesel::dsl::sql::<diesel::sql_types::Integer>("1 / 0");
            conn.hot_query(diesel::select(quotient)).get_result::<i32>().expect_err("the application fails");
        }
    });
    runs
}

fn own_errors_stand_in_no_way(within: In, errors: usize) {
    let (_site, mut clients) = start(|site| vec![Client::held(site)]);
    let client = &mut clients[0];
    let began = Instant::now();
    let runs: usize = (0..errors).map(|time| fails(client, within, time)).sum();
    if within == In::HotTransaction {
        assert!(runs <= errors + at_most_in_vain(began), "{runs} runs of {errors} transactions");
    }
    for round in 0..3 * BACKENDS {
        let healed = client.with(|conn| within.run(conn, &A_COLUMN_BECOMES_WIDER));
        assert_eq!(healed, Ok(()), "after {errors} errors, round {round}");
    }
}

#[test]
fn own_errors_after_a_change_leave_every_server_connection_to_be_healed_by_verified_transactions() {
    for errors in [1, 2, 7, 200] {
        own_errors_stand_in_no_way(In::HotTransaction, errors);
    }
}

#[test]
fn own_errors_after_a_change_leave_every_server_connection_to_be_healed_by_hot_queries() {
    for errors in [1, 2, 5] {
        own_errors_stand_in_no_way(In::HotQuery, errors);
    }
}

#[test]
fn a_thousand_errors_behind_a_pooler_run_again_once_for_each_server_connection() {
    let (mut site, mut clients) = start(|site| vec![Client::held(site)]);
    site.run("CREATE TABLE unrelated (v int8)");
    let began = Instant::now();
    let runs: usize = (0..1_000).map(|time| fails(&mut clients[0], In::HotTransaction, time)).sum();
    assert!(runs <= 1_000 + at_most_in_vain(began), "{runs} runs");
}

/// One rerun for each server connection, and one in ten seconds. If transactions of other tests are open when the
/// catalog's state is noted, what they did appears as new later: one more for each server connection.
fn at_most_in_vain(began: Instant) -> usize {
    2 * BACKENDS + 1 + began.elapsed().as_secs() as usize / 10
}

/// One client heals the server connections for those that have no protection.
#[test]
fn plain_statements_of_all_clients_work_after_one_has_healed() {
    for within in [In::HotTransaction, In::HotQuery] {
        let (site, mut clients) = start(|site| vec![Client::held(site)]);
        let mut stock = site.connect();
        for _ in 0..BACKENDS {
            used(&mut stock).expect_err("the control");
            assert_eq!(other(&mut stock), Ok(()));
        }
        // Each is met in turn, and by either of them.
        for round in 0..8 * BACKENDS {
            assert_eq!(clients[0].with(|conn| within.run(conn, &A_COLUMN_BECOMES_WIDER)), Ok(()), "{round}");
            assert_eq!(other(&mut stock), Ok(()), "its statements go on working");
            if round % 3 == 0 {
                assert_eq!(other(&mut stock), Ok(()), "its statements go on working");
            }
        }
        for round in 0..3 * BACKENDS {
            assert_eq!(used(&mut stock), Ok(()), "{within:?}, round {round}");
            assert_eq!(clients[0].with(used), Ok(()), "{within:?}, round {round}");
        }
    }
}

/// PgBouncer before 1.22. The control shows what `DEALLOCATE ALL` does to others there.
#[test]
fn a_pooler_that_does_not_notice_loses_one_server_connection_that_no_other_client_used() {
    let deaf = |site: &Site| site.reroute(deaf_to_deallocate(site.server.address()));
    let (site, mut clients) = stale(deaf, |site| {
        vec![Client::Pooled(crate::support::pools::hot_pool(&site.url(), 1, site.way.cache()))]
    });
    let mut stock = site.connect();
    let mut failures = 0;
    for round in 0..6 * BACKENDS {
        let done = clients[0].with(|conn| In::HotTransaction.run(conn, &A_COLUMN_BECOMES_WIDER));
        failures += usize::from(done.is_err());
        for _ in 0..BACKENDS {
            assert_eq!(other(&mut stock), Ok(()), "round {round}: another client's statements go on working");
        }
    }
    assert_eq!(failures, 1, "the transaction whose server connection was given up");

    stock.batch_execute("DEALLOCATE ALL").expect("a statement");
    let broken = (0..BACKENDS).filter(|_| other(&mut stock).is_err()).count();
    assert!(broken > 0, "the control");
}
