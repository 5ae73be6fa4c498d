//! What the user set on a connection survives a switch, and other databases don't notice one.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, Outcome, synchronize};
use fixture::write_and_read_back;

use crate::support::events::Counter;
use crate::support::pools::{NOTHING_WRONG, builder, hot_pool, upgrade, use_every_connection};

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

#[test]
fn a_pool_that_was_told_to_is_stock() {
    let upgrade = upgrade();
    let pool = builder(2)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new().enabled(false)))
        .build(HotUpgradeManager::new(upgrade.url()).enabled(false))
        .expect("a pool");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(use_every_connection(&pool).len(), 2, "as the stock pool does");
}

const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";

/// The variable is read once in a process: this test runs itself again, in a process that has it.
#[test]
fn the_environment_turns_everything_off() {
    if std::env::var_os(VARIABLE).is_none() {
        let itself = std::env::current_exe().expect("this test's program");
        let output = std::process::Command::new(itself)
            .args(["--exact", "switch::users_settings::the_environment_turns_everything_off"])
            .env(VARIABLE, "off")
            .output()
            .expect("another run");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && report.contains("1 passed"), "{report}");
        return;
    }
    let upgrade = upgrade();
    let pool = hot_pool(&upgrade.url(), 2, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(use_every_connection(&pool).len(), 2, "as the stock pool does");
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert_eq!(diesel_postgres_hot_upgrade::stats().probes(), 0);
}
