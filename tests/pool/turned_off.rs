//! A pool, or all of a process, that was told to be as stock.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, Outcome, synchronize};

use crate::support::pools::{NOTHING_WRONG, builder, hot_pool, upgrade, use_every_connection};

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
            .args(["--exact", "pool::turned_off::the_environment_turns_everything_off"])
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
