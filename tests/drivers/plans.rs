//! Prepared statements that are out of date: one rerun heals them.

use diesel::prelude::*;
use fixture::Upgrade;
use testbed::PgBouncerConfig;

use crate::support::drivers::{Driver, Options, Session};

diesel::table! {
    stale (id) {
        id -> Int4,
        v -> Text,
    }
}

/// What makes each of the plans stale.
const CHANGES: [&str; 2] = ["ALTER TABLE stale ALTER v TYPE text", "ALTER TABLE stale ALTER v TYPE varchar"];

fn read(conn: &mut Session<'_>) -> QueryResult<Vec<String>> {
    conn.load(stale::table.select(stale::v))
}

fn a_column_changes(driver: Driver, is_pooled: bool) {
    // One server connection: each stale plan is met again.
    let config = PgBouncerConfig { default_pool_size: 1, ..PgBouncerConfig::default() };
    let upgrade = Upgrade::start(config).expect("two servers and a pooler");
    let url = if is_pooled { upgrade.url() } else { upgrade.old.url(&upgrade.database) };
    let create = "CREATE TABLE stale (id int4 PRIMARY KEY, v varchar); INSERT INTO stale VALUES (1, 'x')";
    upgrade.run_on(upgrade.old, create).expect("a table");
    let mut verified = driver.connect(&url, Options::HOT);
    let mut single = driver.connect(&url, Options::HOT);
    let mut stock = driver.connect(&url, Options::STOCK);
    let x = Ok(vec!["x".to_owned()]);
    for round in 0..6 {
        assert_eq!(verified.session().hot_transaction(read), x, "round {round}");
        assert_eq!(single.session().hot_load(stale::table.select(stale::v)), x, "round {round}");
        if round < 2 {
            assert_eq!(read(&mut stock.session()), x);
        }
        if round % 2 == 1 {
            upgrade.run_on(upgrade.old, CHANGES[round / 2 % 2]).expect("a migration");
            if round == 1 {
                assert!(stock.session().hot_transaction(read).is_err(), "the control");
            }
        }
    }
}

pub(crate) fn a_stale_plan_is_healed(driver: Driver) {
    a_column_changes(driver, false);
}

pub(crate) fn a_stale_plan_of_a_pooler_is_healed(driver: Driver) {
    a_column_changes(driver, true);
}
