//! Sixteen writers and fifty switches, and a ledger of what each writer was told: whatever was acknowledged is on
//! exactly one of the two servers, once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool, R2D2Connection};
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Document, Upgrade, insert, read_back};
use testbed::{Cluster, PgBouncerConfig};

use crate::support::pools::{hot_pool, stock_pool};
use crate::support::server::wait_until;

const WRITERS: u64 = 16;
const SWITCHES: u32 = 50;

/// What a writer was told of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed,
    /// The closure had not come to its end, so `COMMIT` was not sent.
    FailedBeforeCommit,
    FailedAtCommit,
}

#[derive(Debug, Default)]
struct Ledger {
    told: HashMap<u64, Told>,
    /// Errors of connections that were lost, those at checkout included.
    lost: Vec<String>,
    /// Errors of connections that can go on.
    errors: Vec<String>,
    wrong_answers: usize,
}

impl Ledger {
    fn add(&mut self, other: Ledger) {
        self.told.extend(other.told);
        self.lost.extend(other.lost);
        self.errors.extend(other.errors);
        self.wrong_answers += other.wrong_answers;
    }

    fn count(&self, wanted: Told) -> usize {
        self.told.values().filter(|told| **told == wanted).count()
    }
}

/// How far the writers of one scenario are.
#[derive(Debug, Default)]
struct Progress {
    transactions: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    /// Waits until so many more transactions have ended.
    fn wait_for(&self, transactions: usize) {
        let goal = self.transactions.load(Ordering::Relaxed) + transactions;
        wait_until("the writers write", || self.transactions.load(Ordering::Relaxed) >= goal);
    }
}

/// Writes a document and reads it back, by `transact`, until told to stop.
fn write<M>(pool: &Pool<M>, first_number: u64, progress: &Progress, transact: Transact) -> Ledger
where
    M: ManageConnection<Connection = PgConnection>,
{
    let mut ledger = Ledger::default();
    for number in first_number.. {
        if progress.is_over.load(Ordering::Relaxed) {
            break;
        }
        let document = Document::numbered(number);
        let mut conn = match pool.get() {
            Ok(conn) => conn,
            Err(error) => {
                ledger.lost.push(format!("checkout: {error}"));
                continue;
            }
        };
        let mut is_at_end = false;
        let result = transact(&mut conn, &mut |conn| {
            is_at_end = false;
            insert(conn, &document)?;
            let found = read_back(conn, &document)?;
            ledger.wrong_answers += usize::from(found != [document.clone()]);
            is_at_end = true;
            Ok(())
        });
        let told = match &result {
            Ok(()) => Told::Committed,
            Err(_) if is_at_end => Told::FailedAtCommit,
            Err(_) => Told::FailedBeforeCommit,
        };
        ledger.told.insert(number, told);
        progress.transactions.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result {
            let errors = if conn.is_broken() { &mut ledger.lost } else { &mut ledger.errors };
            errors.push(error.to_string());
        }
    }
    ledger
}

type Work<'a> = &'a mut dyn FnMut(&mut PgConnection) -> QueryResult<()>;

type Transact = fn(&mut PgConnection, Work<'_>) -> QueryResult<()>;

fn verified(conn: &mut PgConnection, work: Work<'_>) -> QueryResult<()> {
    conn.hot_transaction(work)
}

fn stock(conn: &mut PgConnection, work: Work<'_>) -> QueryResult<()> {
    conn.transaction(work)
}

/// How often each document is on the two servers together.
fn written(upgrade: &Upgrade) -> HashMap<u64, i64> {
    let mut written = HashMap::new();
    for server in [upgrade.old, upgrade.new] {
        let mut client = server.client(&upgrade.database).expect("a server");
        for row in client.query("SELECT code::text, count(*) FROM documents GROUP BY 1", &[]).expect("documents") {
            let code: String = row.get(0);
            let number = code.strip_prefix("DE-").and_then(|number| number.parse().ok()).expect("a number");
            *written.entry(number).or_default() += row.get::<_, i64>(1);
        }
    }
    written
}

/// Lets the writers write during fifty switches, each preceded by a disturbance, and returns what they were told.
fn keep_a_ledger<M>(
    upgrade: &Upgrade,
    pool: &Pool<M>,
    transact: Transact,
    transactions_between: usize,
    disturb: impl Fn(u32, &Cluster),
) -> Ledger
where
    M: ManageConnection<Connection = PgConnection>,
{
    let progress = Progress::default();
    let mut ledger = Ledger::default();
    thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| {
                let progress = &progress;
                scope.spawn(move || write(pool, writer * 1_000_000, progress, transact))
            })
            .collect();
        for switch in 0..SWITCHES {
            let (from, to) = if switch % 2 == 0 { (upgrade.old, upgrade.new) } else { (upgrade.new, upgrade.old) };
            disturb(switch, from);
            upgrade.switch_to(to).expect("a switch");
            // Each fifth is followed by the next one at once.
            if switch % 5 != 4 {
                progress.wait_for(transactions_between);
            }
        }
        progress.is_over.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| ledger.add(writer.join().expect("no panic")));
    });
    ledger
}

/// Compares what the writers were told with what is on the two servers.
fn check(upgrade: &Upgrade, ledger: &Ledger) {
    let written = written(upgrade);
    for (number, told) in &ledger.told {
        let times = written.get(number).copied().unwrap_or_default();
        let is_right = match told {
            Told::Committed => times == 1,
            Told::FailedBeforeCommit => times == 0,
            Told::FailedAtCommit => times <= 1,
        };
        assert!(is_right, "document {number} was told {told:?}, and is there {times} times");
    }
    assert_eq!(ledger.wrong_answers, 0);
    assert_eq!(ledger.errors, [] as [String; 0], "errors that are not of a lost connection");
}

/// Four server connections: each one is new after each switch, and to open it takes a server longer than a transaction.
fn config(max_prepared_statements: u32) -> PgBouncerConfig {
    PgBouncerConfig { max_prepared_statements, default_pool_size: 4, ..PgBouncerConfig::default() }
}

fn no_transaction_fails(max_prepared_statements: u32, cache: CacheSize) {
    let upgrade = Upgrade::start(config(max_prepared_statements)).expect("two servers and a pooler");
    let pool = hot_pool(&upgrade.url(), WRITERS as u32, cache);
    let ledger = keep_a_ledger(&upgrade, &pool, verified, 40, |_, _| {});

    check(&upgrade, &ledger);
    assert_eq!(ledger.lost, [] as [String; 0]);
    let committed = ledger.count(Told::Committed);
    assert_eq!(committed, ledger.told.len());

    let upgrade = Upgrade::start(config(max_prepared_statements)).expect("two servers and a pooler");
    let pool = stock_pool(&upgrade.url(), WRITERS as u32, cache);
    let control = keep_a_ledger(&upgrade, &pool, stock, 80, |_, _| {});
    let failures = control.errors.len() + control.lost.len();
    assert!(failures > 1_000, "the control failed only {failures} times");
    println!("{committed} committed and none failed; of the control's {}, {failures} failed", control.told.len());
}

#[test]
fn no_transaction_fails_where_pgbouncer_keeps_prepared_statements() {
    no_transaction_fails(200, CacheSize::Unbounded);
}

#[test]
fn no_transaction_fails_where_nobody_keeps_prepared_statements() {
    no_transaction_fails(0, CacheSize::Disabled);
}

/// Kills server connections, or all connections, between the switches.
fn only_connections_are_lost(max_prepared_statements: u32, cache: CacheSize) {
    // KILL cuts logins off, which PgBouncer takes for failed ones: it would wait 15 s before it tries again.
    let extra = vec![("server_login_retry".to_owned(), "0.02".to_owned())];
    let config = PgBouncerConfig { extra, ..config(max_prepared_statements) };
    let upgrade = Upgrade::start(config).expect("two servers and a pooler");
    let pool = hot_pool(&upgrade.url(), WRITERS as u32, cache);
    let database = &upgrade.database;
    let ledger = keep_a_ledger(&upgrade, &pool, verified, 30, |switch, server| match switch % 5 {
        1 => {
            let kill = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = '{database}' AND pid <> pg_backend_pid()"
            );
            upgrade.run_on(server, &kill).expect("a kill");
        }
        3 => {
            upgrade.pgbouncer.console(&format!("KILL {database}")).expect("a kill");
            upgrade.pgbouncer.console(&format!("RESUME {database}")).expect("and on again");
        }
        _ => {}
    });

    check(&upgrade, &ledger);
    let committed = ledger.count(Told::Committed);
    assert!(committed > 500, "only {committed} were committed");
    assert!(!ledger.lost.is_empty(), "no connection was lost: the kills did nothing");
    println!(
        "{committed} committed, {} failed before COMMIT and {} at it, {} connections lost",
        ledger.count(Told::FailedBeforeCommit),
        ledger.count(Told::FailedAtCommit),
        ledger.lost.len()
    );
}

#[test]
fn only_connections_are_lost_where_pgbouncer_keeps_prepared_statements() {
    only_connections_are_lost(200, CacheSize::Unbounded);
}

#[test]
fn only_connections_are_lost_where_nobody_keeps_prepared_statements() {
    only_connections_are_lost(0, CacheSize::Disabled);
}
