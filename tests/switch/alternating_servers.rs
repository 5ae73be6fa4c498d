//! Two servers behind one address: each transaction is answered by the other one.

use std::collections::HashSet;
use std::thread;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize};
use fixture::{Through, Upgrade, documents, take_in_turn, two_in_turn};
use testbed::{Cluster, Forwarder, PgBouncerConfig};

use crate::support::documents::work;
use crate::support::pools::{HotPool, hot_pool};
use crate::support::server::{version, wait_until};

/// PostgreSQL 10 and 12 behind one address of a PgBouncer.
struct Alternating {
    upgrade: Upgrade,
    _between: Vec<Forwarder>,
}

impl Alternating {
    fn start(through: Through, max_prepared_statements: u32) -> Self {
        let config = PgBouncerConfig { max_prepared_statements, ..two_in_turn() };
        let upgrade = Upgrade::start(config).expect("two servers and a pooler");
        let servers = [upgrade.old, upgrade.new];
        let between = take_in_turn(&upgrade.pgbouncer, &upgrade.database, servers, through).expect("both servers");
        let alternating = Alternating { upgrade, _between: between };
        alternating.know_both();
        alternating
    }

    /// Lets the process get to know both servers, as it would sooner or later.
    fn know_both(&self) {
        for server in [self.upgrade.old, self.upgrade.new] {
            let mut conn = PgConnection::establish(&server.url(&self.upgrade.database)).expect("a connection");
            // Until no transaction is open any more that was open at the first look.
            wait_until("the server's types are known", || {
                synchronize(&mut conn).is_ok_and(|outcome| matches!(outcome, Outcome::Unchanged))
            });
        }
    }
}

/// One connection has moved to the other server, so those that follow ask about that one first.
#[test]
fn no_connection_is_left_empty_where_two_servers_begin_to_alternate_after_a_switch() {
    let upgrade = Upgrade::start(two_in_turn()).expect("two servers and a pooler");
    let mut conns: Vec<_> =
        (0..8).map(|_| PgConnection::establish(&upgrade.url()).expect("a connection")).collect();
    for conn in &mut conns {
        synchronize(conn).expect("a first look");
    }
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(matches!(synchronize(&mut conns[0]), Ok(Outcome::Changed(_))));
    let servers = [upgrade.old, upgrade.new];
    let _between =
        take_in_turn(&upgrade.pgbouncer, &upgrade.database, servers, Through::Hosts).expect("both servers");
    for (number, conn) in conns.iter_mut().enumerate().skip(1) {
        let outcome = synchronize(conn);
        assert!(matches!(outcome, Ok(Outcome::Unchanged | Outcome::Changed(_))), "{number}: {outcome:?}");
    }
}

fn every_transaction_is_right(through: Through, max_prepared_statements: u32, cache: CacheSize) {
    let alternating = Alternating::start(through, max_prepared_statements);
    let url = alternating.upgrade.url();
    let mut hot = PgConnection::establish(&url).expect("a connection");
    let mut stock = PgConnection::establish(&url).expect("a connection");
    for conn in [&mut hot, &mut stock] {
        conn.set_prepared_statement_cache_size(cache);
    }
    let (mut versions, mut failures) = (HashSet::new(), 0);
    for number in 1..=40 {
        let mut closure = |conn: &mut PgConnection| {
            work(conn, number)?;
            version(conn)
        };
        // Each costs its own number of statements: with one alone, the last of them might meet one server only.
        let version = if number % 3 == 0 {
            hot.hot_transaction_with(|builder| builder.before_probe("SET LOCAL lock_timeout = '9s'"), &mut closure)
        } else {
            hot.hot_transaction(&mut closure)
        };
        versions.insert(version.expect("a verified transaction"));
    }
    for number in 1_001..=1_040 {
        failures += usize::from(stock.transaction(|conn| work(conn, number)).is_err());
    }
    assert_eq!(versions.len(), 2, "one server answered all: {versions:?}");
    assert!(failures >= 10, "the control failed only {failures} times");
}

#[test]
fn every_transaction_is_right_where_two_hosts_alternate() {
    every_transaction_is_right(Through::Hosts, 200, CacheSize::Unbounded);
}

#[test]
fn every_transaction_is_right_behind_a_load_balancer_that_alternates() {
    every_transaction_is_right(Through::LoadBalancer, 200, CacheSize::Unbounded);
}

#[test]
fn every_transaction_is_right_where_two_servers_alternate_and_nobody_keeps_prepared_statements() {
    every_transaction_is_right(Through::Hosts, 0, CacheSize::Disabled);
    every_transaction_is_right(Through::LoadBalancer, 0, CacheSize::Disabled);
}

#[test]
fn where_two_servers_alternate_a_check_at_checkout_can_not_promise_what_a_verified_transaction_does() {
    let alternating = Alternating::start(Through::LoadBalancer, 200);
    let pool = hot_pool(&alternating.upgrade.url(), 4, CacheSize::Unbounded);
    let verified =
        failures_of_four_threads(&pool, 0, |conn, number| conn.hot_transaction(|conn| work(conn, number)));
    assert_eq!(verified, 0);
    let on_old = documents_on(&alternating.upgrade, alternating.upgrade.old);
    assert!((1..100).contains(&on_old), "{on_old} of 100 on one of the two");

    // One server answers the check, the other one the transaction. (A pooler that has lost a connection meanwhile may
    // have opened the next one to the server of the other.)
    let alternating = Alternating::start(Through::LoadBalancer, 200);
    let pool = hot_pool(&alternating.upgrade.url(), 4, CacheSize::Unbounded);
    let control =
        failures_of_four_threads(&pool, 1_000, |conn, number| conn.transaction(|conn| work(conn, number)));
    assert!(control > 0, "a check at checkout is enough");
}

/// Of a hundred checkouts with one transaction each.
fn failures_of_four_threads(
    pool: &HotPool,
    first: u64,
    transact: fn(&mut PgConnection, u64) -> QueryResult<()>,
) -> usize {
    thread::scope(|scope| {
        let threads = [0, 100, 200, 300].map(|offset| {
            scope.spawn(move || {
                let numbers = first + offset + 1..first + offset + 26;
                numbers.filter(|n| transact(&mut pool.get().expect("a connection"), *n).is_err()).count()
            })
        });
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}

fn documents_on(upgrade: &Upgrade, server: &Cluster) -> i64 {
    let mut conn = PgConnection::establish(&server.url(&upgrade.database)).expect("a connection");
    documents::table.count().get_result(&mut conn).expect("a count")
}
