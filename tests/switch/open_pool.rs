//! The server is replaced behind PgBouncer while the pool stays open.

use diesel::connection::CacheSize;
use fixture::{Upgrade, migrate_in_order};
use testbed::{Cluster, PgBouncerConfig, Release};

use crate::support::pools::{NOTHING_WRONG, hot_pool, stock_pool, upgrade, use_every_connection};

/// 10 to 12, back, and there again, with a pool of eight that stays open.
fn every_connection_survives(config: PgBouncerConfig, cache: CacheSize) {
    let upgrade = Upgrade::start(config).expect("two servers and a pooler");
    let hot = hot_pool(&upgrade.url(), 8, cache);
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);

    for server in [upgrade.new, upgrade.old, upgrade.new] {
        // A new one each time: on the way back, OIDs that were never cleared would fit again.
        let stock = stock_pool(&upgrade.url(), 8, cache);
        assert_eq!(use_every_connection(&stock), NOTHING_WRONG);

        upgrade.switch_to(server).expect("a switch");

        assert_eq!(use_every_connection(&hot), NOTHING_WRONG, "protected, on {}", server.major());
        assert_eq!(use_every_connection(&stock).len(), 8, "stock, on {}", server.major());
    }
}

#[test]
fn every_connection_survives_where_pgbouncer_keeps_prepared_statements() {
    every_connection_survives(PgBouncerConfig::default(), CacheSize::Unbounded);
}

#[test]
fn every_connection_survives_where_pgbouncer_keeps_prepared_statements_and_diesel_does_not() {
    every_connection_survives(PgBouncerConfig::default(), CacheSize::Disabled);
}

#[test]
fn every_connection_survives_where_nobody_keeps_prepared_statements() {
    let config = PgBouncerConfig { max_prepared_statements: 0, ..PgBouncerConfig::default() };
    every_connection_survives(config, CacheSize::Disabled);
}

#[test]
fn every_connection_survives_behind_a_pgbouncer_without_prepared_statements() {
    let config = PgBouncerConfig { release: Release::Debian12, ..PgBouncerConfig::default() };
    every_connection_survives(config, CacheSize::Disabled);
}

#[test]
fn another_cluster_of_the_same_version_is_noticed() {
    let upgrade = upgrade();
    let sibling = Cluster::start(12).expect("another server of the same version");
    sibling.create_database(&upgrade.database).expect("a database");
    migrate_in_order(&sibling.url(&upgrade.database), "hstore,citext").expect("migrations");
    upgrade.switch_to(upgrade.new).expect("the first of the two");
    let hot = hot_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);
    assert_eq!(use_every_connection(&stock), NOTHING_WRONG);

    upgrade.switch_to(&sibling).expect("a switch");

    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);
    assert_eq!(use_every_connection(&stock).len(), 4, "the control");
}
