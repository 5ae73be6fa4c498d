//! What a blocking and an async pool of one process share: what is tracked, what is reported, and what was counted. It
//! belongs to the process, so each of these runs in one of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::CacheSize;
use diesel_postgres_hot_upgrade::{on_change, stats, track};

use crate::support::own_process::in_a_process_of_its_own;
use crate::support::pools::{NOTHING_WRONG, hot_pool, upgrade, use_every_connection as use_blocking};
use crate::tools::{Bb8, Hot, bb8, blocking, run, use_every_connection};

const SIZE: u32 = 4;

/// Both pools are right after each switch, each server's catalog is read once, and no connection is replaced.
async fn both_pools() -> u64 {
    let upgrade = blocking(upgrade);
    let observed = Arc::new(AtomicU64::new(0));
    let observer = Arc::clone(&observed);
    on_change(move |_| {
        observer.fetch_add(1, Ordering::SeqCst);
    });
    let asynchronous: Bb8<Hot> = bb8(&upgrade.url(), SIZE, CacheSize::Unbounded).await;
    let in_r2d2 = blocking(|| hot_pool(&upgrade.url(), SIZE, CacheSize::Unbounded));
    let before = stats();
    for (number, server) in (1..).zip([upgrade.new, upgrade.old, upgrade.new, upgrade.old]) {
        blocking(|| upgrade.switch_to(server)).expect("a switch");
        // One after the other is the first to come.
        if number % 2 == 0 {
            assert_eq!(use_every_connection!(asynchronous, SIZE), NOTHING_WRONG);
        }
        assert_eq!(blocking(|| use_blocking(&in_r2d2)), NOTHING_WRONG);
        assert_eq!(use_every_connection!(asynchronous, SIZE), NOTHING_WRONG);
        assert_eq!(stats().changes() - before.changes(), number);
        assert_eq!(observed.load(Ordering::SeqCst), number, "each change is observed once");
    }
    assert_eq!(asynchronous.state().statistics.connections_created, u64::from(SIZE));
    stats().catalog_loads()
}

#[test]
fn each_change_is_observed_once_and_each_catalog_is_read_once() {
    let name = "each_change_is_observed_once_and_each_catalog_is_read_once";
    in_a_process_of_its_own(module_path!(), name, || assert_eq!(run(both_pools()), 2));
}

/// The other three types of the fixture are in no snapshot.
#[test]
fn if_one_type_is_tracked_the_others_are_right_and_cost_no_connection() {
    let name = "if_one_type_is_tracked_the_others_are_right_and_cost_no_connection";
    in_a_process_of_its_own(module_path!(), name, || {
        track::<fixture::sql_types::DocumentStatus>();
        assert_eq!(run(both_pools()), 2);
    });
}
