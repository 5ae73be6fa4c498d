//! Catalog loads, round trips and statements of checkouts and transactions, with a change and without.

use std::collections::HashSet;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, stats, synchronize};
use fixture::{
    RECREATE_ENUM, Statements, Through, Upgrade, start_time, take_in_turn, two_in_turn, write_and_read_back,
};
use testbed::{Cluster, Forwarder, PgBouncerConfig};

use crate::pools::{next_number, pool, storm, upgrade};
use crate::support::counted::alone;
use crate::support::freshness::wait_until_stale;

/// Catalog loads in the server's own statement log.
fn logged_loads(server: &Cluster, database: &str) -> usize {
    let log = server.log().expect("the server's log");
    log.lines()
        .filter(|line| line.contains(database) && line.contains("diesel-postgres-hot-upgrade: load"))
        .count()
}

fn one_load_for_sixteen(config: PgBouncerConfig) {
    let _alone = alone();
    let upgrade = upgrade(config);
    let pool = pool(&upgrade.url(), 16);
    storm(&pool);
    assert_eq!(logged_loads(upgrade.old, &upgrade.database), 1, "sixteen new connections share one load");

    let before = stats();
    upgrade.switch_to(upgrade.new).expect("a switch");
    storm(&pool);
    let after = stats();

    assert_eq!(after.catalog_loads() - before.catalog_loads(), 1);
    assert_eq!(logged_loads(upgrade.new, &upgrade.database), 1, "the server counts the same");
    assert_eq!(after.changes() - before.changes(), 1);
    assert_eq!(after.resets() - before.resets(), 16);
    assert_eq!(pool.state().connections, 16);

    // Both servers are known now.
    upgrade.switch_to(upgrade.old).expect("a switch");
    storm(&pool);
    assert_eq!(stats().catalog_loads(), after.catalog_loads());
    assert_eq!(stats().changes() - after.changes(), 1);
}

/// Two servers behind a pooler, and an address of it that counts round trips.
fn counted() -> (Upgrade, Forwarder, String) {
    let upgrade = upgrade(PgBouncerConfig::default());
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let url = format!("postgres://postgres@{}/{}", forwarder.address(), upgrade.database);
    (upgrade, forwarder, url)
}

/// The round trips of one check.
fn cost(forwarder: &Forwarder, conn: &mut PgConnection) -> usize {
    let before = forwarder.round_trips();
    synchronize(conn).expect("a server");
    forwarder.round_trips() - before
}

#[test]
fn looks_cost_the_round_trips_that_the_documentation_says() {
    let _alone = alone();
    let (upgrade, forwarder, url) = counted();
    let mut conn = PgConnection::establish(&url).expect("a connection");
    let mut cost = || cost(&forwarder, &mut conn);
    let mut costs = |expected: [usize; 2], what: &str| {
        assert_eq!([cost(), cost()], expected, "{what}, and once more");
        assert_eq!([cost(), cost()], [1, 1], "after {what}");
    };
    costs([3 + 1, 1 + 1], "a new connection, and the first preparation of each statement");
    wait_until_stale();
    costs([1, 1], "a look for new types");
    wait_until_stale();
    upgrade.run_on(upgrade.old, "CREATE TABLE one_more ()").expect("a table");
    costs([1, 1], "a table");
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    costs([4 + 1, 1 + 1], "another type");
    upgrade.run_on(upgrade.old, "CREATE TYPE one_type_more AS ENUM ()").expect("a type");
    costs([1, 1], "one type more that is not looked for yet");
    wait_until_stale();
    costs([5 + 1, 1 + 1], "one type more");
    // Without a reset, nothing is prepared again.
    upgrade.switch_to(upgrade.new).expect("a switch");
    costs([4, 1 + 1], "another server");
    upgrade.switch_to(upgrade.old).expect("a switch");
    costs([4 + 1, 1 + 1], "the one before");
    wait_until_stale();
    upgrade.switch_to(upgrade.new).expect("a switch");
    costs([5 + 1, 1 + 1], "a server that was looked at a while ago");
}

#[test]
fn a_connection_asks_first_about_the_server_that_the_last_one_moved_to() {
    let _alone = alone();
    let (upgrade, forwarder, url) = counted();
    let mut conns = [(); 3].map(|()| PgConnection::establish(&url).expect("a connection"));
    let costs = |conns: &mut [PgConnection; 3]| conns.each_mut().map(|conn| cost(&forwarder, conn));
    // Prepares what is prepared once.
    (0..2).for_each(|_| {
        costs(&mut conns);
    });
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(costs(&mut conns), [4 + 1, 3 + 1, 3 + 1], "to a server that nobody has seen; identify is prepared");
    costs(&mut conns);
    upgrade.switch_to(upgrade.old).expect("a switch");
    assert_eq!(costs(&mut conns), [4 + 1, 3 + 1, 3 + 1], "back");
    costs(&mut conns);
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    assert_eq!(costs(&mut conns), [4 + 1, 2 + 1, 2 + 1], "a change of the same server, which is no move");
}

#[test]
fn a_connection_that_follows_a_while_later_looks_as_well() {
    let _alone = alone();
    let (upgrade, forwarder, url) = counted();
    let mut conns = [(); 2].map(|()| PgConnection::establish(&url).expect("a connection"));
    for conn in &mut conns {
        (0..2).for_each(|_| drop(synchronize(conn).expect("a server")));
    }
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(cost(&forwarder, &mut conns[0]), 4 + 1, "the first one; identify is prepared");
    wait_until_stale();
    assert_eq!(cost(&forwarder, &mut conns[1]), 4 + 1, "one less than without the first one");
}

#[test]
fn a_change_costs_one_catalog_load_for_a_pool_of_sixteen() {
    one_load_for_sixteen(PgBouncerConfig::default());
}

#[test]
fn a_change_costs_one_catalog_load_where_sixteen_share_one_server_connection() {
    one_load_for_sixteen(PgBouncerConfig { default_pool_size: 1, ..PgBouncerConfig::default() });
}

fn one_load_for_each(through: Through) {
    let _alone = alone();
    let upgrade = upgrade(two_in_turn());
    let servers = [upgrade.old, upgrade.new];
    let _between = take_in_turn(&upgrade.pgbouncer, &upgrade.database, servers, through).expect("both servers");
    let mut hot = PgConnection::establish(&upgrade.url()).expect("a connection");
    let mut stock = PgConnection::establish(&upgrade.url()).expect("a connection");
    let use_it = |conn: &mut PgConnection| {
        write_and_read_back(conn, next_number()).map_err(|_| diesel::result::Error::RollbackTransaction)?;
        start_time(conn)
    };
    let before = stats();
    let mut answered = HashSet::new();
    for number in 0..50 {
        // Each costs its own number of turns: else the last of them might be the same server's always.
        let server = if number % 3 == 0 {
            hot.hot_transaction_with(|builder| builder.before_probe("SET LOCAL lock_timeout = '9s'"), use_it)
        } else {
            hot.hot_transaction(use_it)
        };
        answered.insert(server.expect("a verified transaction"));
    }
    let after = stats();
    assert_eq!(answered.len(), 2, "one server answered all");
    assert_eq!(after.catalog_loads() - before.catalog_loads(), 2, "both stay known");
    let flips = after.resets() - before.resets();
    assert!(flips >= 10, "only {flips} times another server answered");
    let control = (0..50).filter(|_| stock.transaction(use_it).is_err()).count();
    assert!(control >= 10, "the control failed only {control} times");

    // Four at once, whichever server answers each.
    let pool = pool(&upgrade.url(), 4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    pool.get().expect("a connection").hot_transaction(use_it).expect("a verified transaction");
                }
            });
        }
    });
    let with_pool = stats();
    assert!(with_pool.resets() > after.resets(), "one server answered all");
    assert_eq!(with_pool.catalog_loads(), after.catalog_loads(), "a flip costs no load");
}

#[test]
fn two_hosts_that_alternate_cost_one_catalog_load_each() {
    one_load_for_each(Through::Hosts);
}

#[test]
fn a_load_balancer_that_alternates_between_two_servers_costs_one_catalog_load_for_each() {
    one_load_for_each(Through::LoadBalancer);
}

#[test]
fn an_unchanged_server_costs_one_statement_a_checkout() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let pool = pool(&upgrade.url(), 1);
    // The first ones may have to wait for transactions that began before: autovacuum's, say.
    for _ in 0..20 {
        drop(pool.get().expect("a connection"));
    }
    let statements = Statements::default();
    pool.get().expect("a connection").set_instrumentation(statements.clone());
    let before = stats();
    for _ in 0..100 {
        drop(pool.get().expect("a connection"));
    }
    let after = stats();
    assert_eq!(after.probes() - before.probes(), 100);
    assert_eq!(statements.count(), 100, "each probe is one statement, and nothing else is sent");
    assert_eq!(after.catalog_loads(), before.catalog_loads());
    assert_eq!(after.resets(), before.resets());
}

#[test]
fn what_other_sessions_create_costs_no_catalog_load() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let url = upgrade.old.url(&upgrade.database);
    let mut conn = PgConnection::establish(&url).expect("a connection");
    let mut other = PgConnection::establish(&url).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    let before = stats();
    for number in 0..10 {
        let sql = format!(
            "CREATE TABLE t{number} (id int); CREATE VIEW v{number} AS SELECT 1;
             CREATE TEMP TABLE x{number} (id int); CREATE TYPE pg_temp.y{number} AS ENUM ('a')"
        );
        other.batch_execute(&sql).expect("tables, views, and temporary types");
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    }
    assert_eq!(stats().catalog_loads(), before.catalog_loads());
}

#[test]
fn sessions_that_see_a_type_otherwise_do_not_drive_each_other_to_load() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let url = upgrade.old.url(&upgrade.database);
    let connect = || PgConnection::establish(&url).expect("a connection");
    let (mut plain, mut shadowing, mut quoting) = (connect(), connect(), connect());
    shadowing.batch_execute("CREATE TEMP TABLE document_status (id int)").expect("a table of that name");
    quoting.batch_execute("SET quote_all_identifiers = on").expect("a setting");
    for conn in [&mut plain, &mut shadowing, &mut quoting] {
        synchronize(conn).expect("a first look");
    }
    let before = stats();
    for _ in 0..10 {
        for conn in [&mut plain, &mut shadowing, &mut quoting] {
            assert!(matches!(synchronize(conn), Ok(Outcome::Unchanged)));
        }
    }
    assert_eq!(stats().catalog_loads(), before.catalog_loads());
    assert_eq!(stats().resets(), before.resets());
}
