//! The server is replaced under deadpool, and bb8 replaces no connection for it. Whether its answers are right is
//! tested for both drivers at once: `tests/drivers`.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::r2d2::ConnectionManager;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{HotTransactionError, Outcome};
use fixture::{Document, Upgrade, documents};

use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::tools::{
    Bb8, Deadpool, Hot, Stock, bb8, blocking, deadpool, number, run, use_every_connection, write_and_read_back,
};

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

#[test]
fn without_a_check_at_checkout_a_transaction_of_the_pool_is_right() {
    run(async {
        let upgrade = blocking(upgrade);
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let manager = AsyncDieselConnectionManager::<Hot>::new_with_config(upgrade.url(), config);
        let fast: Deadpool<Hot> = deadpool::managed::Pool::builder(manager).max_size(1).build().expect("a pool");
        let manager = AsyncDieselConnectionManager::<Hot>::new(upgrade.url());
        let builder = bb8::Pool::builder().max_size(1).test_on_check_out(false);
        let untested: Bb8<Hot> = builder.build(manager).await.expect("a pool");
        assert_eq!(use_every_connection!(fast, 1), NOTHING_WRONG);
        assert_eq!(use_every_connection!(untested, 1), NOTHING_WRONG);
        blocking(|| upgrade.switch_to(upgrade.new)).expect("a switch");
        assert_eq!(use_every_connection!(fast, 1).len(), 1, "the control, a plain statement");
        assert_eq!(use_every_connection!(untested, 1).len(), 1, "the control, a plain statement");
        let verified: [Result<(), HotTransactionError>; 2] = [
            fast.hot_transaction(async |conn| write_and_read_back!(conn)).await,
            untested.hot_transaction(async |conn| write_and_read_back!(conn)).await,
        ];
        assert!(verified.iter().all(Result::is_ok), "{verified:?}");
    });
}

/// What blocking code does with a wrapped connection. Is the answer right?
macro_rules! use_wrapped {
    ($conn:expr) => {{
        let (conn, document) = ($conn, Document::numbered(number()));
        let insert = diesel::insert_into(documents::table).values(&document);
        let query = documents::table
            .filter(documents::title.eq(document.title.to_uppercase()))
            .filter(documents::status.eq(document.status))
            .select(Document::as_select());
        diesel::RunQueryDsl::execute(insert, conn)
            .and_then(|_| diesel::RunQueryDsl::load::<Document>(query, conn))
            .map(|found| found == [document.clone()])
    }};
}

/// The same with a connection of an async pool.
macro_rules! use_blocking {
    ($pool:expr) => {{
        let conn = $pool.get().await.expect("a connection");
        blocking(|| use_wrapped!(&mut AsyncConnectionWrapper::<_>::from(conn)))
    }};
}

#[test]
fn blocking_code_is_right_on_a_wrapped_connection_after_each_switch() {
    run(async {
        let upgrade = blocking(upgrade);
        let hot: Bb8<Hot> = bb8(&upgrade.url(), 1, CacheSize::Unbounded).await;
        let stock: Bb8<Stock> = bb8(&upgrade.url(), 1, CacheSize::Unbounded).await;
        assert_eq!(use_blocking!(hot), Ok(true));
        assert_eq!(use_blocking!(stock), Ok(true));
        for server in [upgrade.new, upgrade.old, upgrade.new] {
            switch(&upgrade, server);
            assert_eq!(use_blocking!(hot), Ok(true));
        }
        assert!(use_blocking!(stock).is_err(), "the control");

        // The methods of the connection are the wrapper's, too.
        let mut wrapper = AsyncConnectionWrapper::<_>::from(hot.get().await.expect("a connection"));
        switch(&upgrade, upgrade.old);
        assert!(matches!(wrapper.synchronize().await, Ok(Outcome::Changed(_))));
        let verified: QueryResult<()> = wrapper.hot_transaction(async |conn| write_and_read_back!(conn)).await;
        assert_eq!(verified, Ok(()));
    });
}

#[test]
fn a_pool_of_r2d2_checks_wrapped_connections() {
    fn pool<C>(url: &str) -> diesel::r2d2::Pool<ConnectionManager<AsyncConnectionWrapper<C>>>
    where
        AsyncConnectionWrapper<C>: diesel::r2d2::R2D2Connection,
        C: 'static,
    {
        fixture::builder(1).build(ConnectionManager::new(url)).expect("a pool")
    }
    let upgrade = upgrade();
    let (hot, stock) = (pool::<Hot>(&upgrade.url()), pool::<Stock>(&upgrade.url()));
    assert_eq!(use_wrapped!(&mut *hot.get().expect("a connection")), Ok(true));
    assert_eq!(use_wrapped!(&mut *stock.get().expect("a connection")), Ok(true));
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(use_wrapped!(&mut *hot.get().expect("a connection")), Ok(true));
    }
    assert!(use_wrapped!(&mut *stock.get().expect("a connection")).is_err(), "the control");
}
