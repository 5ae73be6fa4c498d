//! What each thread does: check out a connection, do some work of its own, write and read back, or read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::r2d2::R2D2Connection;
use diesel::result::QueryResult;
use diesel_postgres_hot_upgrade::HotTransactionError;
use fixture::{Document, count_known, insert, read_back};

use crate::args::MAX_THREADS;
use crate::run::Message;
use crate::subject::{Subject, SubjectPool};

/// A thread begins something new this often, so that a pool that fails quickly doesn't take the others' time.
const PERIOD: Duration = Duration::from_millis(20);

/// What an application does between its checkout and its first statement. The server can change meanwhile.
const OWN_WORK: Duration = Duration::from_millis(5);

/// Of the numbers of documents, each thread has so many to itself.
const NUMBERS: u64 = 1 << 32;

/// One transaction.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) subject: Subject,
    /// Since the start of the run, as all times.
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// How long the checkout took, the check of the connection included. None if it is part of the transaction.
    pub(crate) checkout: Option<Duration>,
    /// The checkout and the transaction, without the application's own work.
    pub(crate) latency: Duration,
    pub(crate) statements: u32,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Right,
    /// No error, and another answer than the right one.
    Wrong,
    /// The connection was cut while `COMMIT` was under way, and the application was told.
    Unknown,
    Failed {
        text: String,
        /// The connection is gone, and nobody's caches had a part in it.
        is_lost: bool,
    },
}

/// The load on one pool.
pub(crate) struct Load<'a> {
    pub(crate) pool: &'a SubjectPool,
    pub(crate) threads: u32,
    pub(crate) start: Instant,
    pub(crate) length: Duration,
    /// Ends the load early.
    pub(crate) stop: &'a AtomicBool,
}

impl Load<'_> {
    /// Runs until the time is up.
    pub(crate) fn run(&self, events: &Sender<Message>) {
        thread::scope(|scope| {
            for number in 0..self.threads {
                let events = events.clone();
                scope.spawn(move || self.run_thread(number, &events));
            }
        });
    }

    /// Before the run: uses every connection once.
    pub(crate) fn warm_up(pool: &SubjectPool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut numbers = first_number(pool.subject, MAX_THREADS)..;
        pool.warm_up(|conn| {
            let number = numbers.next().unwrap_or_default();
            Ok(write(conn, number, &mut 0)? && read(conn, &mut 0)?)
        })
    }

    fn run_thread(&self, thread: u32, events: &Sender<Message>) {
        // Threads that begin at the same moment would wait for each other.
        let mut next = self.start + PERIOD * thread / self.threads;
        for number in first_number(self.pool.subject, thread).. {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.start.elapsed() >= self.length || self.stop.load(Ordering::Relaxed) {
                break;
            }
            next = Instant::now() + PERIOD;
            if events.send(Message::Event(self.transact_once(number))).is_err() {
                break;
            }
        }
    }

    fn transact_once(&self, number: u64) -> Event {
        let began = Instant::now();
        if self.pool.is_whole() {
            return self.transact_on_pool(number, began);
        }
        let checked_out = self.pool.checkout();
        let checkout = began.elapsed();
        thread::sleep(OWN_WORK);
        let from = Instant::now();
        let mut statements = 0;
        let outcome = match checked_out {
            Ok(mut conn) => {
                let done = self.pool.transact(&mut conn, |conn| work(conn, number, &mut statements));
                match done {
                    Err(error) => Outcome::Failed {
                        text: error.to_string(),
                        is_lost: conn.is_broken() || conn.ping().is_err(),
                    },
                    Ok(is_right) => Outcome::of(is_right),
                }
            }
            Err(error) => Outcome::Failed { text: format!("checkout: {error}"), is_lost: false },
        };
        self.event(began, Some(checkout), checkout + from.elapsed(), statements, outcome)
    }

    /// The pool checks a connection out by itself.
    fn transact_on_pool(&self, number: u64, began: Instant) -> Event {
        thread::sleep(OWN_WORK);
        let from = Instant::now();
        let mut statements = 0;
        let outcome = match self.pool.transact_on_pool(|conn| work(conn, number, &mut statements)) {
            Ok(is_right) => Outcome::of(is_right),
            Err(HotTransactionError::OutcomeUnknown { .. }) => Outcome::Unknown,
            Err(error) => Outcome::Failed { text: error.to_string(), is_lost: false },
        };
        self.event(began, None, from.elapsed(), statements, outcome)
    }

    fn event(
        &self,
        began: Instant,
        checkout: Option<Duration>,
        latency: Duration,
        statements: u32,
        outcome: Outcome,
    ) -> Event {
        let (subject, began) = (self.pool.subject, began - self.start);
        Event { subject, began, ended: self.start.elapsed(), checkout, latency, statements, outcome }
    }
}

impl Outcome {
    fn of(is_right: bool) -> Self {
        if is_right { Outcome::Right } else { Outcome::Wrong }
    }
}

/// Every other one writes.
fn work(conn: &mut PgConnection, number: u64, statements: &mut u32) -> QueryResult<bool> {
    if number % 2 == 0 { write(conn, number, statements) } else { read(conn, statements) }
}

/// Above the numbers of documents that are there already.
fn first_number(subject: Subject, thread: u32) -> u64 {
    (subject as u64 * u64::from(MAX_THREADS + 1) + u64::from(thread) + 1) * NUMBERS
}

/// Writes a document and reads it back by its `citext`, its `hstore`, its enum and its domain. Is the answer right?
fn write(conn: &mut PgConnection, number: u64, statements: &mut u32) -> QueryResult<bool> {
    let document = Document::numbered(number);
    *statements += 1;
    insert(conn, &document)?;
    *statements += 1;
    Ok(read_back(conn, &document)? == [document])
}

/// Counts a document that is on both servers, by its `citext` in another case. Is the answer right?
fn read(conn: &mut PgConnection, statements: &mut u32) -> QueryResult<bool> {
    *statements += 1;
    Ok(count_known(conn)? == 1)
}
