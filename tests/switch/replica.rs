//! Physical replicas: the same OIDs, another start time. If the user says that they are interchangeable, nothing is
//! reset, whichever of them answers; it is never a change that is reported.

use std::collections::HashSet;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::r2d2::ManageConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager, Outcome, synchronize};
use fixture::{RECREATE_ENUM, Through, migrate, start_time, take_in_turn, two_in_turn, write_and_read_back};
use log::Level;
use testbed::{Cluster, Forwarder, PgBouncer};

use crate::support::documents::work;
use crate::support::events::{Counter, logged, record_log};
use crate::support::pools::{builder, hot_pool};

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
fn interchangeable_replicas_that_alternate_reset_nothing() {
    nothing_is_reset(Through::Hosts);
}

#[test]
fn interchangeable_replicas_behind_a_load_balancer_reset_nothing() {
    nothing_is_reset(Through::LoadBalancer);
}

fn nothing_is_reset(through: Through) {
    let replicas = replicas("app");
    let pgbouncer = PgBouncer::start(two_in_turn()).expect("a pooler");
    let _between = take_in_turn(&pgbouncer, "app", replicas.each_ref(), through).expect("both replicas");
    let url = pgbouncer.url("app");
    let counter = Counter::default();
    let manager = HotUpgradeManager::new(url.as_str()).interchangeable_replicas(true);
    let pool = builder(1).build(manager).expect("a pool");
    let conn = &mut *pool.get().expect("a connection");
    conn.set_instrumentation(counter.clone());
    synchronize(conn).expect("a first look");
    use_in_turn(&url, conn, 1..4);

    let before = counter.counts();
    let starts = use_in_turn(&url, conn, 4..40);
    let after = counter.counts();

    assert_eq!(starts.len(), 2, "one server answered all");
    assert_eq!(after.cached, before.cached, "the statement cache was kept");
    assert_eq!(after.lookups, 0, "the OID cache was kept");
    let loads = replicas.iter().map(|server| server.log().expect("its log"));
    let loads: usize = loads.map(|log| log.matches("diesel-postgres-hot-upgrade: load").count()).sum();
    assert!(loads <= 1, "one for both, however often they take turns: {loads}");

    // The control: one of them is not what it was.
    let mut other = replicas[1].client("app").expect("a connection");
    other.batch_execute(RECREATE_ENUM).expect("another enum");
    // Inside transactions, so that one server answers the whole of a check.
    let outcomes: Vec<_> = (0..6).map(|_| conn.transaction(synchronize).expect("an answer")).collect();
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Changed(_))), "{outcomes:?}");
    for number in 41..50 {
        assert_eq!(conn.hot_transaction(|conn| work(conn, number)), Ok(()));
    }
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

#[test]
fn a_pool_with_interchangeable_replicas_works_beside_one_without() {
    let database = "beside";
    // A later server of the testbed may have the system identifier of this one: no other test of this process starts
    // replicas of this major.
    let server = Cluster::start(13).expect("a server of this test's own");
    server.create_database(database).expect("a database");
    let url = server.url(database);
    synchronize(&mut PgConnection::establish(&url).expect("a connection")).expect("a first look");

    let manager = HotUpgradeManager::new(&url).interchangeable_replicas(true);
    let mut conn = manager.connect().expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "it was filled");
}
