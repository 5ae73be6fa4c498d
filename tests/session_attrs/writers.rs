//! Writers keep writing while their primary is demoted: it is restarted as a standby, the address leads new connections
//! to the new primary, and the open ones stay where they are. No write of `pool.hot_transaction` fails. The controls,
//! `conn.hot_transaction` in a window and stock, lose writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_types::{BigInt, Integer};
use diesel_postgres_hot_upgrade::{
    HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool, TargetSessionAttrs, Verify,
};
use testbed::{Cluster, Forwarder};

use super::servers::with_standby;
use crate::support::diverging::{DATABASE, pooler, session};
use crate::support::pools::builder;
use crate::support::server::wait_until;
use crate::support::ways::{HotPool, pool_of};

/// Writers of each pool.
const WRITERS: i32 = 2;

/// Between the first numbers of two writers.
const DISTANCE: i32 = 10_000_000;

/// Who writes, and how.
#[derive(Debug)]
enum Subject {
    /// `pool.hot_transaction`
    Pool(HotPool),
    /// `pool.get()?.hot_transaction`
    Connection(HotPool),
    /// `pool.get()?.transaction`
    Stock(Pool<ConnectionManager<PgConnection>>),
}

/// What a writer was told of a number.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Committed,
    Unknown,
    Failed(String),
}

fn insert(conn: &mut PgConnection, number: i32) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO writes VALUES ($1)").bind::<Integer, _>(number).execute(conn).map(drop)
}

impl Subject {
    fn write(&self, number: i32) -> Told {
        let failed = |error: &dyn std::error::Error| Told::Failed(error.to_string());
        let result = match self {
            Subject::Pool(pool) => {
                let result: Result<(), HotTransactionError> = pool.hot_transaction(|conn| insert(conn, number));
                return match result {
                    Ok(()) => Told::Committed,
                    Err(HotTransactionError::OutcomeUnknown { .. }) => Told::Unknown,
                    Err(error) => failed(&error),
                };
            }
            Subject::Connection(pool) => {
                pool.get().map(|mut conn| conn.hot_transaction(|conn| insert(conn, number)))
            }
            Subject::Stock(pool) => pool.get().map(|mut conn| conn.transaction(|conn| insert(conn, number))),
        };
        match result {
            Ok(Ok(())) => Told::Committed,
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&error),
        }
    }

    fn is_protected(&self) -> bool {
        matches!(self, Subject::Pool(_))
    }
}

/// A subject, and how far its writers are.
#[derive(Debug)]
struct Writing {
    name: &'static str,
    subject: Subject,
    committed: AtomicUsize,
    failed: AtomicUsize,
}

impl Writing {
    fn of(name: &'static str, subject: Subject) -> Self {
        Writing { name, subject, committed: AtomicUsize::new(0), failed: AtomicUsize::new(0) }
    }

    fn write_until(&self, is_over: &AtomicBool, first_number: i32) -> HashMap<i32, Told> {
        let mut told = HashMap::new();
        for number in first_number.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let outcome = self.subject.write(number);
            match &outcome {
                Told::Committed => self.committed.fetch_add(1, Ordering::Relaxed),
                Told::Unknown => 0,
                Told::Failed(_) => self.failed.fetch_add(1, Ordering::Relaxed),
            };
            told.insert(number, outcome);
        }
        told
    }

    fn wait_for(&self, further: usize) {
        let goal = self.committed.load(Ordering::Relaxed) + further;
        wait_until(self.name, || self.committed.load(Ordering::Relaxed) >= goal);
    }
}

fn all_on(url: &str) -> Vec<Writing> {
    let read_write = || HotUpgradeManager::new(url).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let in_a_window = || read_write().verify(Verify::AtMostEvery(Duration::from_secs(3600)));
    let size = WRITERS as u32;
    let stock = builder(size).build(ConnectionManager::new(url)).expect("a stock pool");
    vec![
        Writing::of("a pool's, checked", Subject::Pool(pool_of(size, read_write()))),
        Writing::of("a pool's, in a window", Subject::Pool(pool_of(size, in_a_window()))),
        Writing::of("a pool's, any server", Subject::Pool(pool_of(size, HotUpgradeManager::new(url)))),
        Writing::of("a connection's, in a window", Subject::Connection(pool_of(size, in_a_window()))),
        Writing::of("stock", Subject::Stock(stock)),
    ]
}

/// How often each number is there.
fn written(server: &Cluster) -> HashMap<i32, i64> {
    let rows = diesel::sql_query("SELECT n, count(*) AS times FROM writes GROUP BY n");
    rows.load::<Row>(&mut session(server)).expect("rows").into_iter().map(|row| (row.n, row.times)).collect()
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = BigInt)]
    times: i64,
}

/// Lets the writers end, also if the test panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn no_write_fails_while_a_primary_is_demoted(major: u32) {
    let (mut old, mut new) = with_standby(major);
    let pgbouncer = pooler(&old);
    let address = Forwarder::start(pgbouncer.address()).expect("an address");
    let all = all_on(&pgbouncer.url_at(address.address(), DATABASE));
    let is_over = AtomicBool::new(false);
    let mut pooler_of_new = None;
    let told: Vec<_> = thread::scope(|scope| {
        let ends = Ends(&is_over);
        let running: Vec<_> = (0..)
            .zip(&all)
            .flat_map(|(subject, writing)| (0..WRITERS).map(move |writer| (subject * WRITERS + writer, writing)))
            .map(|(number, writing)| {
                let is_over = &is_over;
                (writing, scope.spawn(move || writing.write_until(is_over, number * DISTANCE)))
            })
            .collect();
        all.iter().for_each(|writing| writing.wait_for(10));

        new.catch_up_with(&old).expect("a standby that follows");
        old.stop().expect("a stop");
        new.promote().expect("a promotion");
        old.restart_as_standby_of(&new).expect("a demotion");
        let pgbouncer = pooler_of_new.insert(pooler(&new));
        address.lead_new_to(pgbouncer.address());

        all.iter().filter(|writing| writing.subject.is_protected()).for_each(|writing| writing.wait_for(40));
        let controls = || all.iter().filter(|writing| !writing.subject.is_protected());
        wait_until("the controls fail", || controls().all(|writing| writing.failed.load(Ordering::Relaxed) > 0));
        drop(ends);
        running.into_iter().map(|(writing, writer)| (writing, writer.join().expect("no panic"))).collect()
    });
    let written = written(&new);
    for (writing, told) in &told {
        for (number, told) in told {
            let times = written.get(number).copied().unwrap_or_default();
            let is_right = match told {
                Told::Committed => times == 1,
                Told::Unknown => times <= 1,
                // Stock can't say whether it was committed.
                Told::Failed(_) => times == 0 || !writing.subject.is_protected() && times == 1,
            };
            assert!(is_right, "{}: {number} was told {told:?}, and is there {times} times", writing.name);
            let has_failed = matches!(told, Told::Failed(_));
            assert!(!(has_failed && writing.subject.is_protected()), "{}: {told:?}", writing.name);
        }
    }
}

#[test]
fn no_write_fails_while_a_primary_of_10_is_demoted() {
    no_write_fails_while_a_primary_is_demoted(10);
}

#[test]
fn no_write_fails_while_a_primary_of_12_is_demoted() {
    no_write_fails_while_a_primary_is_demoted(12);
}

#[test]
fn no_write_fails_while_a_primary_of_18_is_demoted() {
    no_write_fails_while_a_primary_is_demoted(18);
}
