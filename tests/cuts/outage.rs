//! Many transactions wait while no server serves them. Meanwhile they do not spin, and when one is back, they do not
//! arrive at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{
    HotPoolTransactionBuilder, HotTransactionError, HotUpgradeManager, HotUpgradePool,
};
use fixture::builder;
use testbed::{Cluster, Forwarder};

use crate::setting::alone;
use crate::support::server::wait_until;

/// How far a crowd of transactions is.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicUsize,
    committed: AtomicUsize,
    /// Of closures.
    runs: AtomicUsize,
}

fn within(builder: HotPoolTransactionBuilder) -> HotPoolTransactionBuilder {
    builder.within(Duration::from_secs(120))
}

/// A thread of a crowd.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    thread::Builder::new().stack_size(512 * 1024).spawn_scoped(scope, run).expect("a thread")
}

/// A server of a test's own, with a table of arrivals.
fn server() -> Cluster {
    let server = Cluster::start(12).expect("a server");
    let mut client = server.client("postgres").expect("a server");
    client.batch_execute("CREATE TABLE arrivals (who text, at timestamptz, sessions bigint)").expect("a table");
    server
}

/// Notes when it came, and how many sessions there were.
fn arrive(conn: &mut PgConnection, who: &str) -> QueryResult<usize> {
    let sql = format!(
        "INSERT INTO arrivals SELECT '{who}', clock_timestamp(), count(*) FROM pg_stat_activity
         WHERE datname = current_database()"
    );
    sql_query(sql).execute(conn)
}

fn transact(pool: &Pool<HotUpgradeManager>, progress: &Progress, who: &str) -> Result<(), HotTransactionError> {
    progress.begun.fetch_add(1, Ordering::Relaxed);
    let result = pool.hot_transaction_with(within, |conn| {
        progress.runs.fetch_add(1, Ordering::Relaxed);
        arrive(conn, who).map(drop)
    });
    progress.committed.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
    result
}

/// What the arrivals of `who` say.
fn number(server: &Cluster, who: &str, expression: &str) -> i64 {
    let mut client = server.client("postgres").expect("a server");
    let sql = format!("SELECT ({expression})::bigint FROM arrivals a WHERE who = '{who}'");
    client.query_one(&sql, &[]).expect("a number").get(0)
}

/// How often one slot of a pool tries to connect in this time: at once, after 0.4 s, 0.8 s, 1.6 s, ….
fn attempts_of_a_slot(time: Duration) -> usize {
    let further = (time.as_secs_f64() / 0.4 + 1.0).log2().floor() as usize;
    // The one that was under way when it began.
    2 + further
}

#[test]
fn two_hundred_transactions_wait_for_a_server_that_is_down() {
    const THREADS: usize = 200;
    const SIZE: u32 = 8;
    let _alone = alone();
    let mut server = server();
    let address = Forwarder::start(server.address()).expect("an address");
    let url_of_control = server.url("postgres");
    let url = server.url_at(address.address(), "postgres");
    let pool = builder(SIZE).build(HotUpgradeManager::new(url)).expect("a pool");
    let progress = Progress::default();
    let is_over = AtomicBool::new(false);
    server.stop().expect("a stop");

    let began = Instant::now();
    let before = address.connections();
    thread::scope(|scope| {
        let waiting: Vec<_> =
            (0..THREADS).map(|_| spawn(scope, || transact(&pool, &progress, "waiting"))).collect();
        // One that tries again whenever it fails.
        let control = scope.spawn(|| {
            let mut failures = 0;
            while !is_over.load(Ordering::Relaxed) && PgConnection::establish(&url_of_control).is_err() {
                failures += 1;
            }
            failures
        });
        wait_until("all wait", || progress.begun.load(Ordering::Relaxed) == THREADS);
        wait_until("the pool has tried several times", || address.connections() >= before + 3 * SIZE as usize);
        let attempts = address.connections() - before;
        let most = SIZE as usize * attempts_of_a_slot(began.elapsed());
        assert!(attempts <= most, "{attempts} attempts of {THREADS} transactions, {most} at most");
        assert_eq!(progress.committed.load(Ordering::Relaxed), 0);
        is_over.store(true, Ordering::Relaxed);
        let failures: usize = control.join().expect("no panic");
        assert!(failures > most, "the control: {failures} attempts by a single thread");

        server.restart().expect("it is back");
        let before = address.connections();
        for result in waiting.into_iter().map(|waiting| waiting.join().expect("no panic")) {
            assert!(result.is_ok(), "{result:?}");
        }
        let arrived = address.connections() - before;
        assert!(arrived <= SIZE as usize, "{arrived} connections of {THREADS} transactions");
    });
    assert_eq!(number(&server, "waiting", "count(*)"), THREADS as i64);
    let sessions = number(&server, "waiting", "max(sessions)");
    assert!(sessions <= i64::from(SIZE), "{sessions} sessions at once");
}

fn make_read_only(server: &Cluster, is: &str) {
    let mut client = server.client("postgres").expect("a server");
    client.batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {is}")).expect("a setting");
    client.batch_execute("SELECT pg_reload_conf()").expect("a reload");
    wait_until("the setting", || {
        let mut client = server.client("postgres").expect("a server");
        client.query_one("SHOW transaction_read_only", &[]).expect("a setting").get::<_, String>(0) == is
    });
}

/// Of 100 arrivals, how many came within the busiest tenth of a second?
const BUSIEST: &str = "100 * max((SELECT count(*) FROM arrivals b WHERE b.who = a.who
    AND b.at >= a.at AND b.at < a.at + interval '0.1 s')) / count(*)";

/// Tries again every second, as one could with stock Diesel.
fn transact_in_step(pool: &Pool<ConnectionManager<PgConnection>>, began: Instant, tries: &AtomicUsize) {
    while pool.get().expect("a connection").transaction(|conn| arrive(conn, "in step")).is_err() {
        tries.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(1) - Duration::from_nanos(began.elapsed().subsec_nanos().into()));
    }
}

#[test]
fn transactions_that_wait_for_a_server_that_takes_writes_do_not_come_back_at_once() {
    const THREADS: usize = 60;
    const SIZE: u32 = 20;
    let _alone = alone();
    let server = server();
    let address = Forwarder::start(server.address()).expect("an address");
    let url = server.url_at(address.address(), "postgres");
    let pool = builder(SIZE).build(HotUpgradeManager::new(url.as_str())).expect("a pool");
    let stock = builder(SIZE).build(ConnectionManager::new(server.url("postgres"))).expect("a pool");
    let (progress, tries) = (Progress::default(), AtomicUsize::new(0));
    transact(&pool, &Progress::default(), "before").expect("it takes writes");
    make_read_only(&server, "on");

    let began = Instant::now();
    let before = address.connections();
    thread::scope(|scope| {
        let waiting: Vec<_> =
            (0..THREADS).map(|_| spawn(scope, || transact(&pool, &progress, "waiting"))).collect();
        let in_step: Vec<_> =
            (0..THREADS).map(|_| spawn(scope, || transact_in_step(&stock, began, &tries))).collect();
        // By then their pauses have grown to a second.
        wait_until("all have tried ten times", || progress.runs.load(Ordering::Relaxed) >= 10 * THREADS);
        wait_until("the control has tried", || tries.load(Ordering::Relaxed) >= 2 * THREADS);
        let runs = progress.runs.load(Ordering::Relaxed);
        // On old connections; at once; after 10 ms to 640 ms; then after half a second or more.
        let of_each = 1 + 7 + 1 + (2.0 * began.elapsed().as_secs_f64()).ceil() as usize;
        let most = SIZE as usize + THREADS * of_each;
        assert!(runs <= most, "{runs} runs of {THREADS} transactions, {most} at most");
        let connections = address.connections() - before;
        assert!(connections <= runs + SIZE as usize, "{connections} connections of {runs} runs");
        assert_eq!(progress.committed.load(Ordering::Relaxed), 0);

        make_read_only(&server, "off");
        for result in waiting.into_iter().map(|waiting| waiting.join().expect("no panic")) {
            assert!(result.is_ok(), "{result:?}");
        }
        in_step.into_iter().for_each(|control| control.join().expect("no panic"));
    });
    assert_eq!(number(&server, "waiting", "count(*)"), THREADS as i64);
    assert_eq!(number(&server, "in step", "count(*)"), THREADS as i64);
    let [busiest, of_control] = ["waiting", "in step"].map(|who| number(&server, who, BUSIEST));
    println!("within 0.1 s came {busiest} % of the transactions, and {of_control} % of the control");
    assert!(busiest < 75, "{busiest} % came within 0.1 s");
    assert!(of_control > busiest, "the control: {of_control} %, not more than {busiest} %");
}
