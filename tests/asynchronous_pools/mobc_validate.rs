//! diesel-async 0.9.2 has `validate` for mobc the wrong way round: it calls a connection valid if it is broken. So mobc
//! closes healthy connections at each checkout, and keeps broken ones. This holds for the stock connection and for this
//! crate's: it can't be mended from outside.

use diesel::connection::CacheSize;
use diesel::result::Error;
use diesel::sql_types::Integer;
use diesel_async::pooled_connection::mobc::Pool;
use diesel_async::{AnsiTransactionManager, AsyncConnection, RunQueryDsl, TransactionManager};
use testbed::Cluster;

use crate::tools::{Hot, Stock, blocking, manager, run};

/// Which session answers.
macro_rules! session {
    ($conn:expr) => {{
        let pid = diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()"));
        RunQueryDsl::get_result::<i32>(pid, $conn).await
    }};
}

/// The sessions of five checkouts of a pool of one connection. Each is a new one if healthy connections are closed.
macro_rules! sessions {
    ($conn:ty, $url:expr) => {{
        let pool: Pool<$conn> = Pool::builder().max_open(1).build(manager(&$url, CacheSize::Unbounded));
        let mut sessions = std::collections::BTreeSet::new();
        for _ in 0..5 {
            let mut conn = pool.get().await.expect("a connection");
            sessions.insert(session!(&mut *conn).expect("a session"));
        }
        sessions.len()
    }};
}

#[test]
fn mobc_opens_a_connection_anew_at_each_checkout() {
    run(async {
        let url = Cluster::shared(12).url("postgres");
        assert_eq!(sessions!(Stock, url), 5, "stock: `validate` is mended, so docs/async.md has to change");
        assert_eq!(sessions!(Hot, url), 5);
        let pool = crate::tools::bb8::<Hot>(&url, 1, CacheSize::Unbounded).await;
        let mut sessions = std::collections::BTreeSet::new();
        for _ in 0..5 {
            sessions.insert(session!(&mut *pool.get().await.expect("a connection")).expect("a session"));
        }
        assert_eq!(sessions.len(), 1, "the control, bb8, keeps it");
    });
}

/// Leaves a transaction open on the pool's only connection, which is broken by that, and returns what the next user of
/// the pool gets: the session that left it, and how many transactions are open.
macro_rules! after_an_open_transaction {
    ($conn:ty, $url:expr) => {{
        let pool: Pool<$conn> = Pool::builder().max_open(1).build(manager(&$url, CacheSize::Unbounded));
        let mut conn = pool.get().await.expect("a connection");
        AnsiTransactionManager::begin_transaction(&mut *conn).await.expect("a transaction");
        let left = session!(&mut *conn).expect("a session");
        drop(conn);
        let mut conn = pool.get().await.expect("a connection");
        let is_same = session!(&mut *conn).expect("a session") == left;
        let status = AnsiTransactionManager::transaction_manager_status_mut(&mut *conn);
        (is_same, status.transaction_depth().expect("in order").is_some())
    }};
}

#[test]
fn mobc_keeps_a_connection_with_an_open_transaction() {
    run(async {
        let url = blocking(|| Cluster::shared(12).url("postgres"));
        assert_eq!(after_an_open_transaction!(Stock, url), (true, true), "stock");
        assert_eq!(after_an_open_transaction!(Hot, url), (true, true));
        // The control: bb8 closes it.
        let pool = crate::tools::bb8::<Hot>(&url, 1, CacheSize::Unbounded).await;
        let mut conn = pool.get().await.expect("a connection");
        AnsiTransactionManager::begin_transaction(&mut *conn).await.expect("a transaction");
        drop(conn);
        let mut conn = pool.get().await.expect("a connection");
        let begun: Result<(), Error> = conn.transaction(async |_| Ok(())).await;
        assert_eq!(begun, Ok(()));
        let status = AnsiTransactionManager::transaction_manager_status_mut(&mut *conn);
        assert!(status.transaction_depth().expect("in order").is_none());
    });
}
