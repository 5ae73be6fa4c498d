//! Types in no snapshot: the rows of tables, temporary types, and what is not tracked. The connection looks them up by
//! itself, and is not replaced for it.

use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::support::meaning::Label;
use crate::tools::{Asks, Bb8, Hot, bb8, blocking, connect, run, verified};

#[test]
fn a_type_in_no_snapshot_costs_no_connection() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        for server in [upgrade.old, upgrade.new] {
            blocking(|| upgrade.run_on(server, "CREATE TABLE label ()")).expect("a row type");
        }
        blocking(|| {
            upgrade.run_on(upgrade.old, "CREATE TABLE unrelated (); DROP TABLE label; CREATE TABLE label ()")
        })
        .expect("another OID");
        let pool: Bb8<Hot> = bb8(&upgrade.url(), 1, diesel::connection::CacheSize::Unbounded).await;
        for server in [upgrade.old, upgrade.new, upgrade.old] {
            blocking(|| upgrade.switch_to(server)).expect("a switch");
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(conn.plain::<Label>().await, Ok(()));
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
        }
        assert_eq!(pool.state().statistics.connections_created, 1);
    });
}

#[test]
fn a_type_that_does_not_exist_is_an_error_that_aborts_nothing() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        let mut hot: Hot = connect(&upgrade.url()).await;
        let result = hot
            .transaction(async |conn| {
                let missing = conn.plain::<Label>().await.expect_err("there is no such type");
                assert!(missing.contains("label"), "{missing}");
                let used: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut *conn);
                used
            })
            .await;
        assert_eq!(result, Ok(()));
    });
}

#[test]
fn a_temporary_type_costs_no_connection_and_what_it_hid_is_right_afterwards() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        blocking(|| upgrade.run_on(upgrade.old, "CREATE TYPE label AS ENUM ('x')")).expect("a type");
        let pool: Bb8<Hot> =
            bb8(&upgrade.old.url(&upgrade.database), 1, diesel::connection::CacheSize::Unbounded).await;
        for _ in 0..3 {
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
            conn.batch_execute("CREATE TYPE pg_temp.label AS ENUM ('x')").await.expect("a temporary type");
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
            drop(conn);
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(conn.plain::<Label>().await, Ok(()), "in the next checkout");
            conn.batch_execute("DROP TYPE pg_temp.label").await.expect("it is gone");
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
        }
        assert_eq!(pool.state().statistics.connections_created, 1);
    });
}
