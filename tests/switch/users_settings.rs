//! What the user set on a connection survives a switch, and other databases don't notice one.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::write_and_read_back;

use crate::support::events::Counter;
use crate::support::pools::{hot_pool, upgrade};

/// How many statements went into the statement cache while the fixture's types were used: Diesel keeps one of the two.
fn newly_cached(conn: &mut PgConnection, counter: &Counter, number: u64) -> usize {
    let before = counter.counts().cached;
    assert_eq!(write_and_read_back(conn, number), Ok(()));
    counter.counts().cached - before
}

#[test]
fn instrumentation_and_cache_size_survive_a_switch() {
    let upgrade = upgrade();
    let counter = Counter::default();
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    conn.set_instrumentation(counter.clone());
    synchronize(&mut conn).expect("a first look");
    assert_eq!(newly_cached(&mut conn, &counter, 1), 1);
    assert_eq!(newly_cached(&mut conn, &counter, 2), 0, "cached before");

    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert_eq!(newly_cached(&mut conn, &counter, 3), 1, "the cache was emptied, and is still in use");

    // The user changes it between two switches.
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    upgrade.switch_to(upgrade.old).expect("a switch");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert_eq!(newly_cached(&mut conn, &counter, 4), 0, "still disabled");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));

    conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert_eq!(newly_cached(&mut conn, &counter, 5), 1, "in use again");
    assert_eq!(newly_cached(&mut conn, &counter, 6), 0, "and kept");
}

#[test]
fn a_pool_on_another_database_is_left_alone() {
    let (switched, other) = (upgrade(), upgrade());
    let concerned = hot_pool(&switched.url(), 1, CacheSize::Unbounded);
    let untouched = hot_pool(&other.url(), 1, CacheSize::Unbounded);
    let counter = Counter::default();
    untouched.get().expect("a connection").set_instrumentation(counter.clone());
    assert_eq!(newly_cached(&mut untouched.get().expect("a connection"), &counter, 1), 1);

    for (number, server) in (2..).zip([switched.new, switched.old, switched.new]) {
        switched.switch_to(server).expect("a switch");
        assert_eq!(write_and_read_back(&mut concerned.get().expect("a connection"), number), Ok(()));
        let mut conn = untouched.get().expect("a connection");
        assert_eq!(newly_cached(&mut conn, &counter, number), 0);
        assert_eq!(counter.counts().lookups, 0);
    }
}
