//! A connection that was made in another way, and is protected from then on.

use diesel::connection::CacheSize;
use diesel::{ConnectionError, QueryResult};
use diesel_async::AsyncConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_postgres_hot_upgrade::Outcome;

use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::tools::{Bb8, Hot, Stock, bb8, blocking, connect, run, use_every_connection, write_and_read_back};

#[test]
fn a_wrapped_connection_is_unknown_until_it_is_asked_and_right_from_then_on() {
    run(async {
        let upgrade = blocking(upgrade);
        let mut hot = Hot::wrap(connect(&upgrade.url()).await);
        let mut never_asked = Hot::wrap(connect(&upgrade.url()).await);
        let mut stock: Stock = connect(&upgrade.url()).await;
        assert!(matches!(hot.synchronize().await, Ok(Outcome::Primed)));
        assert!(matches!(hot.synchronize().await, Ok(Outcome::Unchanged)));
        let used: [QueryResult<()>; 3] = [
            write_and_read_back!(&mut hot),
            write_and_read_back!(&mut never_asked),
            write_and_read_back!(&mut stock),
        ];
        assert_eq!(used, [Ok(()), Ok(()), Ok(())]);
        blocking(|| upgrade.switch_to(upgrade.new)).expect("a switch");
        assert!(matches!(hot.synchronize().await, Ok(Outcome::Changed(_))));
        let used: QueryResult<()> = write_and_read_back!(&mut hot);
        assert_eq!(used, Ok(()));
        let verified: QueryResult<()> = never_asked.hot_transaction(async |conn| write_and_read_back!(conn)).await;
        assert_eq!(verified, Ok(()), "a verified transaction asks");
        let control: QueryResult<()> = write_and_read_back!(&mut stock);
        assert!(control.is_err(), "the control");
    });
}

#[test]
fn a_pool_whose_set_up_function_wraps_is_right_after_each_switch() {
    const SIZE: u32 = 3;
    run(async {
        let upgrade = blocking(upgrade);
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(|url| {
            let url = url.to_owned();
            Box::pin(async move {
                let mut conn = Hot::wrap(Stock::establish(&url).await?);
                conn.synchronize().await.map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(conn)
            })
        });
        let manager = AsyncDieselConnectionManager::<Hot>::new_with_config(upgrade.url(), config);
        let hot: Bb8<Hot> = bb8::Pool::builder().max_size(SIZE).build(manager).await.expect("a pool");
        let stock: Bb8<Stock> = bb8(&upgrade.url(), SIZE, CacheSize::Unbounded).await;
        assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG);
        assert_eq!(use_every_connection!(stock, SIZE), NOTHING_WRONG);
        for server in [upgrade.new, upgrade.old, upgrade.new] {
            blocking(|| upgrade.switch_to(server)).expect("a switch");
            assert_eq!(use_every_connection!(hot, SIZE), NOTHING_WRONG);
        }
        assert_eq!(hot.state().statistics.connections_created, u64::from(SIZE));
        assert_eq!(use_every_connection!(stock, SIZE).len(), SIZE as usize, "the control");
    });
}

#[test]
fn a_connection_that_was_used_on_another_server_is_right_once_it_is_wrapped_and_asked() {
    run(async {
        let upgrade = blocking(upgrade);
        let (mut used, mut control): (Stock, Stock) =
            (connect(&upgrade.url()).await, connect(&upgrade.url()).await);
        for stock in [&mut used, &mut control] {
            let used: QueryResult<()> = write_and_read_back!(&mut *stock);
            assert_eq!(used, Ok(()));
        }
        blocking(|| upgrade.switch_to(upgrade.new)).expect("a switch");
        let mut hot = Hot::wrap(used);
        hot.synchronize().await.expect("a check");
        let plain: QueryResult<()> = write_and_read_back!(&mut hot);
        let verified: QueryResult<()> = hot.hot_transaction(async |conn| write_and_read_back!(conn)).await;
        assert_eq!((plain, verified), (Ok(()), Ok(())));
        let control: QueryResult<()> = write_and_read_back!(&mut control);
        assert!(control.is_err(), "the control");
    });
}
