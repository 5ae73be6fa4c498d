//! A tenant's search path in a transaction that fails. The other cases are tested for both drivers at once:
//! `tests/drivers`.

use diesel::prelude::*;
use diesel_async::SimpleAsyncConnection;
use testbed::Cluster;

use crate::support::meaning::{Label, judge};
use crate::tools::{Asks, Hot, Stock, blocking, conn_meaning, connect, run};

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
