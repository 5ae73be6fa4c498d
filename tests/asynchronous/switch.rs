//! The server is replaced under deadpool, and bb8 replaces no connection for it. Whether its answers are right is tested
//! for both drivers at once: `tests/drivers`.

use diesel::connection::CacheSize;
use fixture::Upgrade;

use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::tools::{Bb8, Deadpool, Hot, Stock, bb8, blocking, deadpool, run, use_every_connection};

const SIZE: u32 = 4;

fn switch(upgrade: &Upgrade, to: &testbed::Cluster) {
    blocking(|| upgrade.switch_to(to)).expect("a switch");
}

#[test]
fn bb8_replaces_no_connection() {
    run(async {
        let upgrade = blocking(upgrade);
        let hot: Bb8<Hot> = bb8(&upgrade.url(), SIZE, CacheSize::Unbounded).await;
        for server in [upgrade.new, upgrade.old, upgrade.new] {
            assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG);
            switch(&upgrade, server);
        }
        assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG);
        assert_eq!(hot.state().statistics.connections_created, u64::from(SIZE));
    });
}

async fn deadpool_stays_right(cache: CacheSize) {
    let upgrade = blocking(upgrade);
    let hot: Deadpool<Hot> = deadpool(&upgrade.url(), SIZE as usize, cache);
    let stock: Deadpool<Stock> = deadpool(&upgrade.url(), SIZE as usize, cache);
    assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG);
    assert_eq!(use_every_connection!(stock, SIZE), NOTHING_WRONG);
    for (number, server) in [upgrade.new, upgrade.old, upgrade.new].into_iter().enumerate() {
        switch(&upgrade, server);
        assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG, "after switch {number}");
        if number != 1 {
            assert_eq!(use_every_connection!(stock, SIZE).len(), SIZE as usize, "the control is right");
        }
    }
}

#[test]
fn every_connection_of_deadpool_is_right_after_each_switch() {
    run(deadpool_stays_right(CacheSize::Unbounded));
}

#[test]
fn every_connection_of_deadpool_is_right_without_a_statement_cache() {
    run(deadpool_stays_right(CacheSize::Disabled));
}
