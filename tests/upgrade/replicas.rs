//! Physical replicas: the same OIDs, another start time. Whichever of them answers, nothing is reset.

use std::collections::HashSet;

use diesel::connection::CacheSize;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize};
use fixture::{migrate, write_and_read_back};
use log::Level;
use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig};

use crate::events::{Counter, logged, record_log};
use crate::pools::hot_pool;
use crate::races::{wait_until, work};
use fixture::RECREATE_ENUM;

/// A server and a copy of it. (A copy that is no standby: it can be written to, which nobody notices here.)
fn replicas(database: &str) -> [Cluster; 2] {
    let mut primary = Cluster::start(12).expect("a server of this test's own");
    primary.create_database(database).expect("a database");
    migrate(&primary.url(database)).expect("migrations");
    primary.stop().expect("a stop");
    let replica = Cluster::copy_of(&primary).expect("a copy");
    primary.restart().expect("a restart");
    [primary, replica]
}

fn start_time(conn: &mut PgConnection) -> QueryResult<String> {
    diesel::select(sql::<Text>("concat(pg_postmaster_start_time())")).get_result(conn)
}

/// A PgBouncer that takes the two in turn, one transaction each.
fn in_turn([primary, replica]: &[Cluster; 2], database: &str) -> (PgBouncer, [Forwarder; 2]) {
    let extra = vec![("server_round_robin".to_owned(), "1".to_owned())];
    let config = PgBouncerConfig { default_pool_size: 2, extra, ..PgBouncerConfig::default() };
    let pgbouncer = PgBouncer::start(config).expect("a pooler");
    let twins = Forwarder::start_twins([primary.address(), replica.address()]).expect("two addresses");
    let mut target = primary.target(database);
    target.address = twins[0].address();
    let target = target.also_at(twins[1].address().ip());
    pgbouncer.route(database, &target).expect("a route");
    let connect = || PgConnection::establish(&pgbouncer.url(database)).expect("a connection");
    let (mut one, mut other) = (connect(), connect());
    let starts: QueryResult<_> =
        one.transaction(|one| other.transaction(|other| Ok((start_time(one)?, start_time(other)?))));
    let (one, other) = starts.expect("two transactions at once");
    assert_ne!(one, other, "both server connections go to the same server");
    (pgbouncer, twins)
}

/// The servers that answered `rounds` checkouts, each with a transaction.
fn use_in_turn(url: &str, conn: &mut PgConnection, rounds: std::ops::Range<u64>) -> HashSet<String> {
    let mut starts = HashSet::new();
    for number in rounds {
        assert!(matches!(synchronize(conn), Ok(Outcome::Unchanged)), "{url}, {number}");
        // Each costs its own number of transactions: else one server would answer every check.
        if number % 3 == 0 {
            starts.insert(start_time(conn).expect("a start"));
        }
        assert_eq!(conn.transaction(|conn| work(conn, number)), Ok(()));
        starts.insert(conn.transaction(start_time).expect("a start"));
    }
    starts
}

#[test]
fn where_two_replicas_alternate_nothing_is_reset() {
    let replicas = replicas("app");
    let (pgbouncer, _twins) = in_turn(&replicas, "app");
    let url = pgbouncer.url("app");
    for replica in &replicas {
        let mut conn = PgConnection::establish(&replica.url("app")).expect("a connection");
        wait_until("the server's types are known", || matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    }
    let counter = Counter::default();
    let mut conn = PgConnection::establish(&url).expect("a connection");
    conn.set_instrumentation(counter.clone());
    synchronize(&mut conn).expect("a first look");
    use_in_turn(&url, &mut conn, 1..4);

    let before = counter.counts();
    let starts = use_in_turn(&url, &mut conn, 4..40);
    let after = counter.counts();

    assert_eq!(starts.len(), 2, "one server answered all");
    assert_eq!(after.cached, before.cached, "the statement cache was kept");
    assert_eq!(after.lookups, 0, "the OID cache was kept");
    let loads = replicas.iter().map(|server| server.log().expect("its log"));
    let loads: usize = loads.map(|log| log.matches("diesel-postgres-hot-upgrade: load").count()).sum();
    assert_eq!(loads, 2, "one for each, however often they take turns");

    // The control: one of them is not what it was.
    let mut other = replicas[1].client("app").expect("a connection");
    other.batch_execute(RECREATE_ENUM).expect("another enum");
    // Inside transactions, so that one server answers the whole of a check.
    let outcomes: Vec<_> = (0..6).map(|_| conn.transaction(synchronize).expect("an answer")).collect();
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Changed(_))), "{outcomes:?}");
    for number in 41..50 {
        assert_eq!(conn.hot_transaction(|conn| work(conn, number)), Ok(()));
    }
    assert!(counter.counts().cached > after.cached, "the statement cache was emptied");
}

#[test]
fn a_failover_to_a_replica_is_no_change() {
    record_log();
    let database = "failed_over";
    let [primary, replica] = replicas(database);
    let stranger = Cluster::start(12).expect("a server that is no replica");
    stranger.create_database(database).expect("a database");
    migrate(&stranger.url(database)).expect("migrations");
    let forwarder = Forwarder::start(primary.address()).expect("an address");
    let pool = hot_pool(&primary.url_at(forwarder.address(), database), 2, CacheSize::Unbounded);
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));

    let mut numbers = 2..;
    let warned = || logged(Level::Warn, database).len();
    for (server, warnings) in [(&replica, 0), (&primary, 0), (&replica, 0), (&stranger, 1)] {
        forwarder.retarget(server.address());
        for number in numbers.by_ref().take(3) {
            assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), number), Ok(()));
        }
        assert_eq!(warned(), warnings, "{:?}", logged(Level::Warn, database));
    }
}
