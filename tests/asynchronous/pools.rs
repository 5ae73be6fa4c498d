//! Writers and switches, and a ledger of what each writer was told: what was acknowledged is on exactly one of the two
//! servers, once, and no transaction fails. And the blocking harness of migrations on the asynchronous connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncConnection, RunQueryDsl};
use fixture::Upgrade;
use testbed::Cluster;

use crate::support::pools::upgrade;
use crate::support::server::wait_until;
use crate::tools::{Bb8, Hot, Stock, bb8, blocking, run, write_and_read_back};

const WRITERS: u32 = 8;

#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    failed: AtomicUsize,
    is_over: AtomicBool,
}

fn seen(counter: &AtomicUsize) -> usize {
    AtomicUsize::load(counter, Ordering::Relaxed)
}

/// Numbers documents of the fixture, and says how often each is on both servers together.
fn written(upgrade: &Upgrade) -> HashMap<String, usize> {
    let mut counted = HashMap::new();
    for server in [upgrade.old, upgrade.new] {
        let of = |server: &Cluster| {
            let mut client = server.client(&upgrade.database).expect("a client");
            client.query("SELECT title::text FROM documents", &[]).expect("titles")
        };
        for row in of(server) {
            *counted.entry(row.get(0)).or_insert(0) += 1;
        }
    }
    counted
}

macro_rules! ledger {
    ($conn:ty, $method:ident, $switches:expr) => {{
        let upgrade = blocking(upgrade);
        let pool: Bb8<$conn> = bb8(&upgrade.url(), WRITERS, CacheSize::Unbounded).await;
        let progress = Arc::new(Progress::default());
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (pool, progress) = (pool.clone(), Arc::clone(&progress));
                tokio::spawn(async move {
                    while !AtomicBool::load(&progress.is_over, Ordering::Relaxed) {
                        let mut conn = pool.get().await.expect("a connection");
                        let told: QueryResult<()> = conn.$method(async |conn| write_and_read_back!(conn)).await;
                        let counter = if told.is_ok() { &progress.acknowledged } else { &progress.failed };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for number in 0..$switches {
            let goal = seen(&progress.acknowledged) + seen(&progress.failed) + 8;
            let to = if number % 2 == 0 { upgrade.new } else { upgrade.old };
            blocking(|| {
                wait_until("they write", || seen(&progress.acknowledged) + seen(&progress.failed) >= goal);
                upgrade.switch_to(to).expect("a switch");
            });
        }
        progress.is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("no panic");
        }
        let counted = blocking(|| written(&upgrade));
        assert!(counted.values().all(|count| *count == 1), "written twice");
        assert_eq!(counted.len(), seen(&progress.acknowledged), "what was acknowledged is there");
        seen(&progress.failed)
    }};
}

#[test]
fn no_verified_transaction_fails_in_fifty_switches_and_each_is_there_once() {
    run(async { assert_eq!(ledger!(Hot, hot_transaction, 50), 0) });
}

#[test]
fn stock_transactions_fail_in_three_switches() {
    run(async { assert_ne!(ledger!(Stock, transaction, 3), 0, "the control is right") });
}

#[test]
fn the_blocking_wrapper_runs_migrations() {
    use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
    use diesel_migrations::{FileBasedMigrations, MigrationHarness};

    let server = Cluster::shared(12);
    let database = format!("async_migrations_{}", std::process::id());
    server.create_database(&database).expect("a database");
    let mut conn: AsyncConnectionWrapper<Hot> =
        diesel::Connection::establish(&server.url(&database)).expect("a connection");
    let migrations = FileBasedMigrations::find_migrations_directory().expect("the project's");
    conn.run_pending_migrations(migrations).expect("they run");
    let mut client = server.client(&database).expect("a client");
    assert_eq!(client.query("SELECT 'documents'::regclass", &[]).expect("a table").len(), 1);
}

#[test]
fn a_test_transaction_stays_in_a_pool() {
    run(async {
        let upgrade = blocking(upgrade);
        let pool: Bb8<Hot> = bb8(&upgrade.url(), 1, CacheSize::Unbounded).await;
        pool.get().await.expect("a connection").begin_test_transaction().await.expect("a transaction");
        for _ in 0..3 {
            let mut conn = pool.get().await.expect("a connection");
            let used: QueryResult<()> = write_and_read_back!(&mut *conn);
            assert_eq!(used, Ok(()));
            assert!(!PoolableConnection::is_broken(&mut *conn));
        }
        let mut conn = pool.get().await.expect("a connection");
        let count: i64 = fixture::documents::table.count().get_result(&mut conn).await.expect("a count");
        assert_eq!(count, 3, "all in one transaction");
        drop(conn);
        assert!(blocking(|| written(&upgrade)).is_empty());
    });
}
