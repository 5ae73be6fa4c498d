//! A pool's transaction asks something else in the message that rolls back: it heals all the same.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotTransactionError, HotUpgradePool};

use crate::scenarios::{
    A_COLUMN_BECOMES_TEXT, A_COLUMN_BECOMES_WIDER, A_COLUMN_IS_ADDED, AN_ENUM_IS_RECREATED, Scenario,
};
use crate::site::{Site, Way};
use crate::support::pools::hot_pool;
use crate::uses::How;

fn heals(way: Way, scenario: &Scenario) {
    let mut site = Site::start(way);
    (scenario.prepare)(site.owner()).expect("what the scenario begins with");
    let pool = hot_pool(&site.url(), 2, way.cache());
    let mut stock = site.connect();
    let used = |conn: &mut PgConnection| (scenario.used)(conn, How::Plain);
    let rounds = 3 * way.backends();
    site.on_every_backend(used);
    used(&mut stock).expect("nothing changed");
    for round in 0..rounds {
        let result: Result<(), HotTransactionError> = pool.hot_transaction(used);
        assert!(result.is_ok(), "{way:?}, round {round}, before: {result:?}");
    }
    site.run(scenario.change);
    if way != Way::WithoutStatementCache {
        used(&mut stock).expect_err("the control");
    }
    for round in 0..rounds {
        let result: Result<(), HotTransactionError> = pool.hot_transaction(used);
        assert!(result.is_ok(), "{way:?}, round {round}: {result:?}");
    }
}

#[test]
fn a_pools_transaction_heals_stale_plans() {
    for way in [Way::Direct, Way::Transactions, Way::WithoutStatementCache, Way::Sessions] {
        for scenario in
            [&A_COLUMN_BECOMES_TEXT, &A_COLUMN_BECOMES_WIDER, &A_COLUMN_IS_ADDED, &AN_ENUM_IS_RECREATED]
        {
            heals(way, scenario);
        }
    }
}
