//! Reruns by cause, and failures that were left as they are.

use diesel_postgres_hot_upgrade::{HotUpgradeExt, Stats, stats};

use crate::client::{Client, In};
use crate::counting::{Counting, FAILURES, PREPARE};
use crate::scenarios::{A_COLUMN_BECOMES_TEXT, A_COLUMN_BECOMES_WIDER, STATEMENTS_ARE_DEALLOCATED, Scenario};
use crate::site::{Site, Way};
use crate::support::counted::alone;
use crate::uses::{How, binds_label};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Healed {
    heals: u64,
    for_types: u64,
    for_catalog: u64,
    failures_left: u64,
}

/// What `work` adds to the counters.
fn counted(work: impl FnOnce()) -> Healed {
    let before = stats();
    work();
    let after = stats();
    let grew = |counter: fn(&Stats) -> u64| counter(&after) - counter(&before);
    let healed = Healed {
        heals: grew(Stats::heals),
        for_types: grew(Stats::reruns_for_types),
        for_catalog: grew(Stats::reruns_for_catalog),
        failures_left: grew(Stats::failures_left),
    };
    assert_eq!(healed.heals, grew(Stats::heals_for_types) + grew(Stats::heals_for_catalog), "the sum of both");
    healed
}

/// A connection that has used what then went stale.
fn stale(scenario: &Scenario) -> (Site, Client) {
    let mut site = Site::start(Way::Direct);
    (scenario.prepare)(site.owner()).expect("what the scenario begins with");
    let mut client = Client::held(&site);
    client.with(|conn| (scenario.used)(conn, How::Plain)).expect("nothing changed");
    client.with(scenario.itself).expect("what the connection does itself");
    site.run(scenario.change);
    (site, client)
}

#[test]
fn a_stale_statement_counts_once() {
    let _alone = alone();
    for scenario in [A_COLUMN_BECOMES_TEXT, A_COLUMN_BECOMES_WIDER, STATEMENTS_ARE_DEALLOCATED] {
        for within in [In::HotTransaction, In::HotQuery] {
            let (_site, mut client) = stale(&scenario);
            let healed = counted(|| assert_eq!(client.with(|conn| within.run(conn, &scenario)), Ok(())));
            assert_eq!(healed, Healed { heals: 1, for_catalog: 1, ..Healed::default() }, "{within:?}");
            let again = counted(|| assert_eq!(client.with(|conn| within.run(conn, &scenario)), Ok(())));
            assert_eq!(again, Healed::default(), "{within:?}, again");
        }
    }
}

#[test]
fn a_type_that_moves_under_a_transaction_counts_once() {
    let _alone = alone();
    let mut site = Site::start(Way::Direct);
    site.run("CREATE TYPE label AS ENUM ('x')");
    let mut client = Client::held(&site);
    let mut is_first = true;
    let healed = counted(|| {
        let done = client.with(|conn| {
            conn.hot_transaction(|conn| {
                if std::mem::take(&mut is_first) {
                    site.run("DROP TYPE label; CREATE TYPE label AS ENUM ('y')");
                }
                binds_label(conn, How::Plain)
            })
        });
        assert_eq!(done, Ok(()));
    });
    assert_eq!(healed, Healed { heals: 1, for_types: 1, ..Healed::default() });
}

#[test]
fn an_applications_own_errors_are_left_and_reset_nothing() {
    let _alone = alone();
    let mut site = Site::start(Way::Direct);
    site.run(PREPARE);
    let mut counting = Counting::connect(&site);
    let resets = stats().resets();
    let left = counted(|| {
        for time in 0..200 {
            counting.fail(FAILURES[time % FAILURES.len()]);
        }
    });
    assert_eq!(left, Healed { failures_left: 200, ..Healed::default() });
    assert_eq!(stats().resets(), resets);
    assert_eq!(counting.closures, 200);
}

#[test]
fn a_rerun_in_vain_is_no_heal() {
    let _alone = alone();
    let mut site = Site::start(Way::Direct);
    site.run(PREPARE);
    let mut counting = Counting::connect(&site);
    site.run("CREATE TABLE unrelated (v int8)");
    let vain = counted(|| counting.fail(FAILURES[0]));
    assert_eq!(vain, Healed { for_catalog: 1, failures_left: 1, ..Healed::default() });
}

#[test]
fn an_error_that_a_closure_returns_by_itself_is_no_failed_statement() {
    let _alone = alone();
    let site = Site::start(Way::Direct);
    let mut client = Client::held(&site);
    let nothing = counted(|| {
        let refused =
            client.with(|conn| conn.hot_transaction(|_| Err::<(), _>(diesel::result::Error::RollbackTransaction)));
        assert!(refused.is_err());
    });
    assert_eq!(nothing, Healed::default());
}
