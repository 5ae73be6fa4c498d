//! The server is replaced while connections stay open.

use diesel::connection::CacheSize;
use fixture::Upgrade;
use testbed::PgBouncerConfig;

use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::tools::{Bb8, Deadpool, Hot, Stock, bb8, blocking, deadpool, run, use_every_connection};

const SIZE: u32 = 4;

fn switch(upgrade: &Upgrade, to: &testbed::Cluster) {
    blocking(|| upgrade.switch_to(to)).expect("a switch");
}

async fn bb8_stays_right(cache: CacheSize) {
    let upgrade = blocking(upgrade);
    let hot: Bb8<Hot> = bb8(&upgrade.url(), SIZE, cache).await;
    let stock: Bb8<Stock> = bb8(&upgrade.url(), SIZE, cache).await;
    assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG);
    assert_eq!(use_every_connection!(stock, SIZE), NOTHING_WRONG);
    for (number, server) in [upgrade.new, upgrade.old, upgrade.new].into_iter().enumerate() {
        switch(&upgrade, server);
        assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG, "after switch {number}");
        assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG, "again after switch {number}");
        if number != 1 {
            assert_eq!(use_every_connection!(stock, SIZE).len(), SIZE as usize, "the control is right");
        }
    }
    assert_eq!(hot.state().statistics.connections_created, u64::from(SIZE), "connections were replaced");
}

#[test]
fn every_connection_of_bb8_is_right_after_each_switch() {
    run(bb8_stays_right(CacheSize::Unbounded));
}

#[test]
fn every_connection_of_bb8_is_right_without_a_statement_cache() {
    run(bb8_stays_right(CacheSize::Disabled));
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

#[test]
fn a_held_connection_is_right_in_verified_transactions_and_after_synchronize() {
    run(async {
        let upgrade = blocking(upgrade);
        let mut hot: Hot = crate::tools::connect(&upgrade.url()).await;
        let mut stock: Stock = crate::tools::connect(&upgrade.url()).await;
        let plain: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut hot);
        assert_eq!(plain, Ok(()));
        let control: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut stock);
        assert_eq!(control, Ok(()));
        for server in [upgrade.new, upgrade.old, upgrade.new] {
            switch(&upgrade, server);
            let verified: diesel::QueryResult<()> =
                hot.hot_transaction(async |conn| crate::tools::write_and_read_back!(conn)).await;
            assert_eq!(verified, Ok(()));
        }
        switch(&upgrade, upgrade.old);
        hot.synchronize().await.expect("a check");
        let plain: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut hot);
        assert_eq!(plain, Ok(()));
        switch(&upgrade, upgrade.new);
        let control: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut stock);
        assert!(control.is_err(), "the control is right");
    });
}

/// A pooler that prepares nothing for its clients: the statements that tokio-postgres keeps for itself are gone.
#[test]
fn without_prepared_statements_in_the_pooler_a_connection_is_replaced_and_right() {
    run(async {
        let config = PgBouncerConfig { max_prepared_statements: 0, default_pool_size: 1, ..Default::default() };
        let upgrade = blocking(|| Upgrade::start(config)).expect("two servers and a pooler");
        let hot: Bb8<Hot> = bb8(&upgrade.url(), 1, CacheSize::Unbounded).await;
        assert_eq!(use_every_connection!(hot, 1), NOTHING_WRONG);
        switch(&upgrade, upgrade.new);
        assert_eq!(use_every_connection!(hot, 1), NOTHING_WRONG);
        assert_eq!(hot.state().statistics.connections_created, 2);
    });
}
