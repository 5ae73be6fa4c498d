//! `Verify::AtMostEvery`: checkouts that ask nothing for a while.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::Pool;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, Verify, synchronize};
use fixture::{RECREATE_ENUM, Upgrade, write_and_read_back};

use crate::support::documents::work;
use crate::support::events::Counter;
use crate::support::pools::{HotPool, builder, upgrade};

const HOUR: Duration = Duration::from_secs(3600);

fn pool(upgrade: &Upgrade, verify: Verify) -> (HotPool, Counter) {
    let pool: Pool<_> = builder(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(upgrade.url()).verify(verify))
        .expect("a pool");
    let counter = Counter::default();
    pool.get().expect("a connection").set_instrumentation(counter.clone());
    (pool, counter)
}

/// How many statements a checkout sends.
fn cost_of_checkout(pool: &HotPool, counter: &Counter) -> usize {
    let before = counter.counts().queries;
    drop(pool.get().expect("a connection"));
    counter.counts().queries - before
}

#[test]
fn a_checkout_within_the_window_sends_nothing() {
    let upgrade = upgrade();
    let (pool, counter) = pool(&upgrade, Verify::AtMostEvery(HOUR));
    assert_eq!(cost_of_checkout(&pool, &counter), 0, "it was asked when it was new");
    assert_eq!(cost_of_checkout(&pool, &counter), 0);

    for verify in [Verify::AtMostEvery(Duration::ZERO), Verify::EveryCheckout, Verify::default()] {
        let (pool, counter) = self::pool(&upgrade, verify);
        assert!(cost_of_checkout(&pool, &counter) >= 1, "{verify:?}");
    }
}

#[test]
fn a_window_ends() {
    let upgrade = upgrade();
    let window = Duration::from_millis(200);
    let (pool, counter) = pool(&upgrade, Verify::AtMostEvery(window));
    std::thread::sleep(window);
    assert!(cost_of_checkout(&pool, &counter) >= 1);
}

#[test]
fn within_the_window_a_switch_is_seen_by_verified_transactions_only() {
    let upgrade = upgrade();
    let (pool, _) = pool(&upgrade, Verify::AtMostEvery(HOUR));
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(write_and_read_back(&mut pool.get().expect("a connection"), 2).is_err(), "a plain statement");
    assert_eq!(pool.get().expect("a connection").hot_transaction(|conn| work(conn, 3)), Ok(()));
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 4), Ok(()), "healed for all");
}

#[test]
fn an_error_ends_the_window() {
    let upgrade = upgrade();
    let (pool, counter) = pool(&upgrade, Verify::AtMostEvery(HOUR));
    let fail = || diesel::sql_query("SELECT no_such_column");

    let mut conn = pool.get().expect("a connection");
    conn.hot_transaction(|conn| fail().execute(conn)).expect_err("no such column");
    drop(conn);
    assert!(cost_of_checkout(&pool, &counter) >= 1);
    assert_eq!(cost_of_checkout(&pool, &counter), 0);

    let mut conn = pool.get().expect("a connection");
    conn.hot_query(diesel::sql_query("CALL nobody()")).execute().expect_err("nobody");
    drop(conn);
    assert!(cost_of_checkout(&pool, &counter) >= 1);
    assert_eq!(cost_of_checkout(&pool, &counter), 0);

    // It fails, types have changed, and it fails again.
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    let mut conn = pool.get().expect("a connection");
    conn.hot_query(fail()).execute().expect_err("no such column");
    drop(conn);
    assert!(cost_of_checkout(&pool, &counter) >= 1);

    // As a savepoint.
    let mut conn = pool.get().expect("a connection");
    let outer = conn.transaction(|conn| {
        conn.hot_transaction(|conn| fail().execute(conn)).expect_err("no such column");
        QueryResult::Ok(())
    });
    assert_eq!(outer, Ok(()));
    drop(conn);
    assert!(cost_of_checkout(&pool, &counter) >= 1);
}

#[test]
fn caches_that_are_right_for_a_transaction_alone_end_the_window() {
    let upgrade = upgrade();
    upgrade
        .run_on(upgrade.old, "CREATE SCHEMA tenant; CREATE TYPE tenant.document_status AS ENUM ('draft')")
        .expect("a tenant");
    let (pool, counter) = pool(&upgrade, Verify::AtMostEvery(HOUR));
    let result = pool.get().expect("a connection").hot_transaction(|conn| {
        conn.batch_execute("SET LOCAL search_path = tenant, public")?;
        synchronize(conn)
    });
    assert!(result.is_ok());
    assert!(cost_of_checkout(&pool, &counter) >= 1);
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));
}
