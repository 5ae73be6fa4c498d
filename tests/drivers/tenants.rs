//! A tenant's search path within a transaction. What follows on the same connection binds the session's types.

use crate::support::drivers::{Driver, Options, Session};
use crate::support::meaning::{Verdict, is_wrong, judge};
use crate::support::pools::upgrade;
use crate::uses::{label_in_a_plain_transaction, meaning, plain_label, verified_label};

const SET_PATH: &str = "SET LOCAL search_path = tenant, public";

const TYPES: &str =
    "CREATE TYPE label AS ENUM ('x'); CREATE SCHEMA tenant; CREATE TYPE tenant.label AS ENUM ('x')";

fn before_probe(conn: &mut Session<'_>) -> Verdict {
    judge(conn.hot_transaction_after(SET_PATH, meaning))
}

fn in_the_closure(conn: &mut Session<'_>) -> Verdict {
    judge(conn.hot_transaction(|conn| {
        conn.batch_execute(SET_PATH)?;
        conn.synchronize()?;
        meaning(conn)
    }))
}

fn what_follows_is_right(driver: Driver, tenant: fn(&mut Session<'_>) -> Verdict) {
    const FOLLOWERS: [fn(&mut Session<'_>) -> Verdict; 3] =
        [plain_label, label_in_a_plain_transaction, verified_label];
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, TYPES).expect("types");
    let url = upgrade.old.url(&upgrade.database);
    for first in 0..FOLLOWERS.len() {
        let mut conn = driver.connect(&url, Options::HOT);
        let mut conn = conn.session();
        assert_eq!(verified_label(&mut conn), Ok(()));
        assert_eq!(plain_label(&mut conn), Ok(()));
        for round in 0..3 {
            assert_eq!(tenant(&mut conn), Ok(()), "the tenant, round {round}");
            for step in 0..FOLLOWERS.len() {
                let followed = FOLLOWERS[(first + step) % FOLLOWERS.len()](&mut conn);
                assert_eq!(followed, Ok(()), "step {step} after {first}, round {round}");
            }
        }
    }
    let mut stock = driver.connect(&url, Options::STOCK);
    assert_eq!(plain_label(&mut stock.session()), Ok(()));
    let control = tenant(&mut stock.session());
    assert!(is_wrong(&control), "the control: {control:?}");
}

pub(crate) fn after_a_path_that_is_set_before_the_probe_the_sessions_types_are_bound(driver: Driver) {
    what_follows_is_right(driver, before_probe);
}

pub(crate) fn after_a_path_that_is_set_in_the_closure_the_sessions_types_are_bound(driver: Driver) {
    what_follows_is_right(driver, in_the_closure);
}

pub(crate) fn in_a_plain_transaction_a_tenants_path_is_an_error_that_says_what_to_do(driver: Driver) {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, TYPES).expect("types");
    let mut conn = driver.connect(&upgrade.old.url(&upgrade.database), Options::HOT);
    let mut conn = conn.session();
    conn.synchronize().expect("a first look");
    let result = conn.transaction(|conn| {
        conn.batch_execute(SET_PATH)?;
        conn.synchronize()
    });
    let error = result.expect_err("nothing says when the path ends").to_string();
    assert!(error.contains("before_probe"), "{error}");
    assert_eq!(plain_label(&mut conn), Ok(()));
}
