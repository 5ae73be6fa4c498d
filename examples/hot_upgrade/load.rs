//! What each thread does: check out a connection, write a document, read it back.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use fixture::{Document, insert, read_back};

/// When the switch began, and when it was done.
#[derive(Debug, Default)]
pub(crate) struct SwitchClock {
    began: OnceLock<Instant>,
    done: OnceLock<Instant>,
}

impl SwitchClock {
    pub(crate) fn time<T>(&self, switch: impl FnOnce() -> T) -> T {
        let _ = self.began.set(Instant::now());
        let result = switch();
        let _ = self.done.set(Instant::now());
        result
    }
}

/// One pool under load.
pub(crate) struct Load<'a, M: ManageConnection> {
    pub(crate) pool: &'a Pool<M>,
    pub(crate) first_number: u64,
    pub(crate) clock: &'a SwitchClock,
    pub(crate) end: Instant,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) statements: u64,
    pub(crate) wrong_answers: u64,
    /// On connections that were checked out before the switch was done: no checkout can know of it.
    pub(crate) failures_in_flight: u64,
    /// On connections that were checked out after the switch.
    pub(crate) failures_after_checkout: u64,
    /// Before the switch: nothing should fail there.
    pub(crate) failures_before: u64,
    pub(crate) failures_by_text: BTreeMap<String, u64>,
    pub(crate) first_success: Option<Duration>,
    checkouts: Vec<Duration>,
}

impl Tally {
    /// No wrong answer, nothing failed but what was under way during the switch, and work went on after it.
    pub(crate) fn is_right(&self) -> bool {
        let failures = self.failures_before + self.failures_after_checkout;
        self.wrong_answers == 0 && failures == 0 && self.first_success.is_some()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures_by_text.values().sum()
    }

    /// How long a checkout took before the switch, check of the connection included.
    pub(crate) fn median_checkout(&self) -> Option<Duration> {
        let mut checkouts = self.checkouts.clone();
        checkouts.sort_unstable();
        checkouts.get(checkouts.len() / 2).copied()
    }

    fn add(mut self, other: Tally) -> Tally {
        self.statements += other.statements;
        self.wrong_answers += other.wrong_answers;
        self.failures_in_flight += other.failures_in_flight;
        self.failures_after_checkout += other.failures_after_checkout;
        self.failures_before += other.failures_before;
        for (text, count) in other.failures_by_text {
            *self.failures_by_text.entry(text).or_default() += count;
        }
        self.first_success = self.first_success.into_iter().chain(other.first_success).min();
        self.checkouts.extend(other.checkouts);
        self
    }
}

impl<M: ManageConnection<Connection = PgConnection>> Load<'_, M> {
    /// Runs on as many threads as the pool has connections.
    pub(crate) fn run(&self) -> Tally {
        let number = AtomicU64::new(self.first_number);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.pool.max_size()).map(|_| scope.spawn(|| self.run_thread(&number))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a thread of the load"))
                .fold(Tally::default(), Tally::add)
        })
    }

    fn run_thread(&self, number: &AtomicU64) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < self.end {
            let began = Instant::now();
            let document = Document::numbered(number.fetch_add(1, Ordering::Relaxed));
            match self.write_and_read(&document, began, &mut tally) {
                Ok(()) => self.note_success(began, &mut tally),
                Err(text) => self.note_failure(text, began, &mut tally),
            }
        }
        tally
    }

    fn write_and_read(&self, document: &Document, began: Instant, tally: &mut Tally) -> Result<(), String> {
        let mut conn = self.pool.get().map_err(|error| format!("checkout: {error}"))?;
        if self.clock.began.get().is_none() {
            tally.checkouts.push(began.elapsed());
        }
        tally.statements += 1;
        insert(&mut conn, document).map_err(|error| error.to_string())?;
        tally.statements += 1;
        let found = read_back(&mut conn, document).map_err(|error| error.to_string())?;
        if found != [document.clone()] {
            tally.wrong_answers += 1;
        }
        Ok(())
    }

    fn note_success(&self, began: Instant, tally: &mut Tally) {
        if let Some(done) = self.clock.done.get().filter(|done| began >= **done) {
            tally.first_success.get_or_insert_with(|| done.elapsed());
        }
    }

    fn note_failure(&self, text: String, began: Instant, tally: &mut Tally) {
        *tally.failures_by_text.entry(text).or_default() += 1;
        match (self.clock.began.get(), self.clock.done.get()) {
            (None, _) => tally.failures_before += 1,
            (_, Some(done)) if began >= *done => tally.failures_after_checkout += 1,
            _ => tally.failures_in_flight += 1,
        }
    }
}
