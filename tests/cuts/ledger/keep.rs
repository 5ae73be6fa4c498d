//! The writers, the switches, and the comparison with what is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotTransactionError, HotUpgradeExt, HotUpgradePool};
use fixture::{Document, insert, read_back};

use crate::support::pools::{hot_pool, stock_pool};
use crate::support::server::wait_until;

/// Is this the long run?
fn is_long() -> bool {
    std::env::var_os("CUTS_LONG").is_some()
}

fn writers() -> u64 {
    if is_long() { 16 } else { 4 }
}

fn switches() -> u32 {
    if is_long() { 20 } else { 4 }
}

/// More than this are not tried until the controls have failed.
const MOST_SWITCHES: u32 = 60;

/// What a writer was told of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Committed,
    Unknown,
    Failed(String),
    /// By a control, which does not say whether it was committed.
    Error,
}

/// Who runs the transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// `pool.hot_transaction`
    Pool,
    /// `pool.get()?.hot_transaction`
    Connection,
    /// `pool.get()?.transaction` on a stock pool
    Stock,
}

const SUBJECTS: [Subject; 3] = [Subject::Pool, Subject::Connection, Subject::Stock];

#[derive(Debug, Default)]
struct Ledger {
    told: HashMap<u64, Told>,
    runs: usize,
    wrong_answers: usize,
}

impl Ledger {
    fn count(&self, is_counted: impl Fn(&Told) -> bool) -> usize {
        self.told.values().filter(|told| is_counted(told)).count()
    }
}

/// How far the writers of a scenario are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    committed: [AtomicUsize; 3],
    /// Of the controls.
    errors: [AtomicUsize; 3],
    /// How often a closure of the pool has run.
    runs: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    /// Waits until the pool has committed that many more transactions.
    pub(super) fn wait_for(&self, transactions: usize) {
        let committed = || self.committed[Subject::Pool as usize].load(Ordering::Relaxed);
        let goal = committed() + transactions;
        wait_until("the writers write", || committed() >= goal);
    }

    /// Waits until the pool's closures have run so many times more, whatever came of it.
    pub(super) fn wait_for_runs(&self, runs: usize) {
        let goal = self.runs.load(Ordering::Relaxed) + runs;
        wait_until("the writers try to write", || self.runs.load(Ordering::Relaxed) >= goal);
    }

    /// Has each control failed?
    fn have_controls_failed(&self) -> bool {
        let errors = |subject: Subject| self.errors[subject as usize].load(Ordering::Relaxed);
        errors(Subject::Connection) > 0 && errors(Subject::Stock) > 0
    }

    /// Waits until each subject writes.
    pub(super) fn wait_for_all(&self) {
        let before: Vec<_> = self.committed.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        wait_until("all writers write", || {
            self.committed.iter().zip(&before).all(|(count, before)| count.load(Ordering::Relaxed) >= before + 10)
        });
    }
}

/// Lets the writers end when it is dropped.
struct Ends<'a>(&'a Progress);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Writes a document and reads it back. Counts runs and wrong answers.
fn work(conn: &mut PgConnection, document: &Document, ledger: &mut Ledger) -> QueryResult<()> {
    ledger.runs += 1;
    insert(conn, document)?;
    let found = read_back(conn, document)?;
    ledger.wrong_answers += usize::from(found != [document.clone()]);
    Ok(())
}

fn transact<M>(
    subject: Subject,
    pool: &Pool<M>,
    document: &Document,
    ledger: &mut Ledger,
    progress: &Progress,
) -> Told
where
    M: ManageConnection<Connection = PgConnection>,
{
    if subject == Subject::Pool {
        let result: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
            progress.runs.fetch_add(1, Ordering::Relaxed);
            work(conn, document, ledger)
        });
        return match result {
            Ok(()) => Told::Committed,
            Err(HotTransactionError::OutcomeUnknown { .. }) => Told::Unknown,
            Err(error) => Told::Failed(format!("{error:?}")),
        };
    }
    let Ok(mut conn) = pool.get() else {
        return Told::Error;
    };
    let result = if subject == Subject::Connection {
        conn.hot_transaction(|conn| work(conn, document, ledger))
    } else {
        conn.transaction(|conn| work(conn, document, ledger))
    };
    if result.is_ok() { Told::Committed } else { Told::Error }
}

fn write<M>(subject: Subject, pool: &Pool<M>, first_number: u64, progress: &Progress) -> Ledger
where
    M: ManageConnection<Connection = PgConnection>,
{
    let mut ledger = Ledger::default();
    for number in first_number.. {
        if progress.is_over.load(Ordering::Relaxed) {
            break;
        }
        let told = transact(subject, pool, &Document::numbered(number), &mut ledger, progress);
        progress.errors[subject as usize].fetch_add(usize::from(told == Told::Error), Ordering::Relaxed);
        if told == Told::Committed {
            progress.committed[subject as usize].fetch_add(1, Ordering::Relaxed);
        }
        ledger.told.insert(number, told);
    }
    ledger
}

/// The ledgers of the three subjects, which write at the same time, while `switch` is called again and again.
pub(super) struct Ledgers([Ledger; 3]);

pub(super) fn keep(url: &str, mut switch: impl FnMut(u32, &Progress)) -> Ledgers {
    let progress = Progress::default();
    let size = writers() as u32;
    let hot = [(); 2].map(|()| hot_pool(url, size, CacheSize::Unbounded));
    let stock = stock_pool(url, size, CacheSize::Unbounded);
    let mut ledgers: [Ledger; 3] = Default::default();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for subject in SUBJECTS {
            for writer in 1..=writers() {
                let (progress, hot, stock) = (&progress, &hot, &stock);
                let first_number = (subject as u64 + 1) * 1_000_000_000 + writer * 1_000_000;
                let writer = scope.spawn(move || match subject {
                    Subject::Stock => write(subject, stock, first_number, progress),
                    _ => write(subject, &hot[subject as usize], first_number, progress),
                });
                running.push((subject, writer));
            }
        }
        // Also if a switch panics.
        let ends = Ends(&progress);
        progress.wait_for_all();
        for number in 0..MOST_SWITCHES {
            // Of a few connections, none may be in a transaction when they are cut.
            if number >= switches() && progress.have_controls_failed() {
                break;
            }
            switch(number, &progress);
            progress.wait_for(20 * writers() as usize);
        }
        drop(ends);
        for (subject, writer) in running {
            let of_writer = writer.join().expect("no panic");
            let ledger = &mut ledgers[subject as usize];
            ledger.told.extend(of_writer.told);
            ledger.runs += of_writer.runs;
            ledger.wrong_answers += of_writer.wrong_answers;
        }
    });
    Ledgers(ledgers)
}

impl Ledgers {
    /// Compares what the writers were told with how often each document is there.
    pub(super) fn check(&self, scenario: &str, written: &HashMap<u64, i64>) {
        let [pool, connection, stock] = &self.0;
        for ledger in &self.0 {
            for (number, told) in &ledger.told {
                let times = written.get(number).copied().unwrap_or_default();
                let is_right = match told {
                    Told::Committed => times == 1,
                    Told::Unknown | Told::Error => times <= 1,
                    Told::Failed(_) => times == 0,
                };
                assert!(is_right, "{scenario}: document {number} was told {told:?}, and is there {times} times");
            }
        }
        let failed = |told: &Told| matches!(told, Told::Failed(_));
        let first = pool.told.values().find(|told| failed(told));
        assert_eq!(first, None, "{scenario}: of {} failures", pool.count(failed));
        assert_eq!(pool.wrong_answers, 0, "{scenario}");
        let [committed, unknown] =
            [Told::Committed, Told::Unknown].map(|wanted| pool.count(|told| *told == wanted));
        let controls = [connection, stock].map(|ledger| ledger.count(|told| *told == Told::Error));
        println!(
            "{scenario}: {committed} committed in {} runs, 0 failed, {unknown} unknown; conn.hot_transaction failed \
             {} times, stock {} times",
            pool.runs, controls[0], controls[1]
        );
        assert!(controls.iter().all(|failures| *failures > 0), "{scenario}: a control did not fail: {controls:?}");
    }
}
