//! A tenant's search path within a transaction. What follows on the same connection binds the session's types. The
//! control is a stock connection in the tenant's place.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use testbed::Cluster;

use crate::support::meaning::{Label, Verdict, is_wrong, judge};
use crate::tools::{Asks, Hot, Stock, blocking, conn_meaning, connect, run, verified};

const SET_PATH: &str = "SET LOCAL search_path = tenant, public";

async fn database(name: &str) -> String {
    let name = format!("async_tenants_{name}_{}", std::process::id());
    let server = Cluster::shared(12);
    blocking(|| server.create_database(&name)).expect("a database");
    let url = server.url(&name);
    let mut owner: Stock = connect(&url).await;
    let types = "CREATE TYPE label AS ENUM ('x'); CREATE SCHEMA tenant; CREATE TYPE tenant.label AS ENUM ('x')";
    owner.batch_execute(types).await.expect("types");
    url
}

async fn before_probe(conn: &mut Hot) -> Verdict {
    let with = conn.hot_transaction_with(
        |builder| builder.before_probe(SET_PATH),
        async |conn| conn_meaning::<Label>(conn).await,
    );
    judge(with.await)
}

async fn in_the_closure(conn: &mut Hot) -> Verdict {
    let transaction = conn.hot_transaction(async |conn| {
        conn.batch_execute(SET_PATH).await?;
        conn.synchronize().await?;
        conn_meaning::<Label>(conn).await
    });
    judge(transaction.await)
}

async fn plain_transaction(conn: &mut Hot) -> Verdict {
    judge(conn.transaction(async |conn| conn_meaning::<Label>(conn).await).await)
}

async fn what_follows_is_right(name: &str, tenant: impl AsyncFn(&mut Hot) -> Verdict) {
    let url = database(name).await;
    for first in 0..3 {
        let mut conn: Hot = connect(&url).await;
        assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
        assert_eq!(conn.plain::<Label>().await, Ok(()));
        for round in 0..3 {
            assert_eq!(tenant(&mut conn).await, Ok(()), "the tenant, round {round}");
            for step in 0..3 {
                let followed = match (first + step) % 3 {
                    0 => conn.plain::<Label>().await,
                    1 => plain_transaction(&mut conn).await,
                    _ => verified::<Label>(&mut conn).await,
                };
                assert_eq!(followed, Ok(()), "step {step} after {first}, round {round}");
            }
        }
    }
    let mut stock: Stock = connect(&url).await;
    assert_eq!(stock.plain::<Label>().await, Ok(()));
    stock.batch_execute(&format!("BEGIN; {SET_PATH}")).await.expect("a transaction");
    let control = stock.plain::<Label>().await;
    assert!(is_wrong(&control), "the control: {control:?}");
}

#[test]
fn after_a_path_that_is_set_before_the_probe_the_sessions_types_are_bound() {
    run(what_follows_is_right("before_probe", before_probe));
}

#[test]
fn after_a_path_that_is_set_in_the_closure_the_sessions_types_are_bound() {
    run(what_follows_is_right("closure", in_the_closure));
}

#[test]
fn in_a_stock_transaction_a_tenants_path_is_an_error_that_says_what_to_do() {
    run(async {
        let url = database("stock").await;
        let mut conn: Hot = connect(&url).await;
        let result = conn
            .transaction(async |conn| {
                conn.batch_execute(SET_PATH).await?;
                conn.synchronize().await.map(drop)
            })
            .await;
        let error = result.expect_err("it can't be told when the path ends").to_string();
        assert!(error.contains("before_probe"), "{error}");
        assert_eq!(conn.plain::<Label>().await, Ok(()));
    });
}

#[test]
fn after_a_tenant_in_a_verified_transaction_that_failed_the_sessions_types_are_bound() {
    run(async {
        let url = database("failed").await;
        let mut conn: Hot = connect(&url).await;
        for _ in 0..3 {
            let failed: QueryResult<()> = conn
                .hot_transaction(async |conn| {
                    conn.batch_execute(SET_PATH).await?;
                    conn.synchronize().await?;
                    judge(conn_meaning::<Label>(conn).await).expect("right");
                    Err(diesel::result::Error::RollbackTransaction)
                })
                .await;
            assert_eq!(failed, Err(diesel::result::Error::RollbackTransaction));
            assert_eq!(conn.plain::<Label>().await, Ok(()));
        }
    });
}
