//! What a transaction costs, counted on the wire between the application and PgBouncer.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager, HotUpgradePool, synchronize};
use fixture::{Document, builder, insert};
use testbed::Forwarder;

use crate::support::pools::upgrade;
use crate::support::round_trips::{connect, round_trips};

fn insert_one(conn: &mut PgConnection) -> QueryResult<()> {
    insert(conn, &Document::numbered(1))
}

#[test]
fn a_verified_transaction_costs_as_many_round_trips_as_a_plain_one() {
    let upgrade = upgrade();
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let mut conn = connect(&upgrade, &forwarder);
    let cost = |conn: &mut PgConnection, work: fn(&mut PgConnection) -> QueryResult<()>| {
        round_trips(&forwarder, conn, work)
    };

    let plain = cost(&mut conn, |conn| conn.transaction(|_| Ok(())));
    let verified = cost(&mut conn, |conn| conn.hot_transaction(|_| Ok(())));
    assert_eq!((plain, verified), (2, 2), "an empty one");

    let plain = cost(&mut conn, |conn| conn.transaction(insert_one));
    let verified = cost(&mut conn, |conn| conn.hot_transaction(insert_one));
    assert_eq!((plain, verified), (3, 3), "one insert");

    let with_options =
        cost(&mut conn, |conn| conn.hot_transaction_with(|builder| builder.serializable(), insert_one));
    assert_eq!(with_options, 3);

    let inside = cost(&mut conn, |conn| conn.hot_transaction(|conn| conn.hot_transaction(insert_one)));
    let inside_plain = cost(&mut conn, |conn| conn.transaction(|conn| conn.transaction(insert_one)));
    assert_eq!((inside, inside_plain), (5, 5), "a savepoint inside");

    let before_probe = cost(&mut conn, |conn| {
        conn.hot_transaction_with(|builder| builder.before_probe("LOCK TABLE documents"), insert_one)
    });
    // One more where another test has a transaction open, since there may be types that nobody has seen.
    assert!((6..=7).contains(&before_probe), "{before_probe}: the probe on its own, in a savepoint");

    let query = cost(&mut conn, |conn| {
        let document = Document::numbered(1);
        conn.hot_query(diesel::insert_into(fixture::documents::table).values(document)).execute().map(drop)
    });
    assert_eq!(query, 1, "a single statement");
}

#[test]
fn a_pools_transaction_costs_a_round_trip_less_than_a_checkout_and_a_transaction() {
    let upgrade = upgrade();
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let url = upgrade.pgbouncer.url_at(forwarder.address(), &upgrade.database);
    let pool = builder(1).build(HotUpgradeManager::new(url)).expect("a pool");
    let cost = |work: &dyn Fn()| {
        // Prepares what is prepared once, and asks what is asked once.
        (0..3).for_each(|_| work());
        let before = forwarder.round_trips();
        work();
        forwarder.round_trips() - before
    };
    let by_connection = cost(&|| {
        pool.get().expect("a connection").hot_transaction(insert_one).expect("a transaction");
    });
    let by_pool = cost(&|| pool.hot_transaction(insert_one).expect("a transaction"));
    assert_eq!((by_connection, by_pool), (4, 3), "one insert");
}

#[test]
fn a_change_costs_a_verified_transaction_what_the_documentation_says() {
    let upgrade = upgrade();
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let mut conn = connect(&upgrade, &forwarder);
    // Both servers are known to the process, as for all but its first connection.
    for server in [upgrade.old, upgrade.new] {
        let mut other = PgConnection::establish(&server.url(&upgrade.database)).expect("a connection");
        synchronize(&mut other).expect("a first look");
    }
    let steady = round_trips(&forwarder, &mut conn, |conn| conn.hot_transaction(|_| Ok(())));

    upgrade.switch_to(upgrade.new).expect("a switch");
    let before = forwarder.round_trips();
    conn.hot_transaction(|_| QueryResult::Ok(())).expect("it works");
    let after_switch = forwarder.round_trips() - before;
    // Up to two more where other tests have transactions open, since there may be types that nobody has seen.
    assert!((steady + 5..=steady + 8).contains(&after_switch), "{after_switch} round trips after a switch");

    // So that the probe is prepared on this server.
    synchronize(&mut conn).expect("nothing changed");
    // Behind a pooler that prepares statements, the first failure on each of its server connections runs again: its plans
    // may be out of date. Another one runs again because an earlier one was rolled back.
    for _ in 0..2 {
        conn.hot_transaction(|conn| conn.batch_execute("no such statement")).expect_err("bad SQL");
    }
    let before = forwarder.round_trips();
    conn.hot_transaction(|conn| conn.batch_execute("no such statement")).expect_err("bad SQL");
    let failed = forwarder.round_trips() - before;
    assert_eq!(failed, 3, "BEGIN, the statement, and ROLLBACK, which asks in the same message");

    let before = forwarder.round_trips();
    let by_application = conn.hot_transaction(|_| Err::<(), _>(diesel::result::Error::RollbackTransaction));
    assert!(by_application.is_err());
    assert_eq!(forwarder.round_trips() - before, 2, "an error of the application asks nothing");
}
