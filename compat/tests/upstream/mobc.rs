//! diesel-async's `validate` for mobc says the opposite of what it should.

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, PoolableConnection, RecyclingMethod};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use mobc::Manager;
use testbed::Cluster;

type StockManager = AsyncDieselConnectionManager<AsyncPgConnection>;

fn manager() -> StockManager {
    let server = tokio::task::block_in_place(|| Cluster::shared(17));
    StockManager::new(server.url("postgres"))
}

#[tokio::test(flavor = "multi_thread")]
async fn mobc_closes_each_healthy_connection_that_comes_back() {
    let pool = mobc::Pool::builder().max_open(1).build(manager());
    let mut backends = Vec::new();
    for _ in 0..3 {
        let mut conn = pool.get().await.expect("a connection");
        let backend: i32 = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()"))
            .get_result(&mut *conn)
            .await
            .expect("its number");
        assert!(!backends.contains(&backend), "a connection was kept");
        backends.push(backend);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mobc_keeps_a_broken_connection() {
    let manager = manager();
    let mut conn = manager.connect().await.expect("a connection");
    assert!(!conn.is_broken());
    assert!(!Manager::validate(&manager, &mut conn), "a healthy one is to be closed");
    conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await.expect_err("it is gone");
    while conn.ping(&RecyclingMethod::Verified).await.is_ok() {}
    let begun = conn.begin_test_transaction().await;
    assert!(begun.is_err() && conn.is_broken(), "{begun:?}");
    assert!(Manager::validate(&manager, &mut conn), "a broken one is to be kept");
}
