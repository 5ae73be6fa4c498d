//! The writers, and the switches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use fixture::Document;

use super::books::{Ledger, Ledgers, SUBJECTS, Subject, Told};
use super::drivers::{Driver, Transacts};
use crate::support::server::wait_until;

/// Is this the long run?
fn is_long() -> bool {
    std::env::var_os("CUTS_LONG").is_some()
}

const MOST_WRITERS: usize = 16;

fn writers() -> usize {
    if is_long() { MOST_WRITERS } else { 4 }
}

fn switches() -> u32 {
    if is_long() { 20 } else { 4 }
}

/// More than this are not tried until the controls have failed.
const MOST_SWITCHES: u32 = 60;

/// How far the writers of a scenario are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    committed: [AtomicUsize; 3],
    /// By each of the pool's writers.
    committed_by: [AtomicUsize; MOST_WRITERS],
    /// Of the controls.
    errors: [AtomicUsize; 3],
    /// How often a closure of the pool has run.
    runs: AtomicUsize,
    wrong_answers: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    /// A closure of the pool runs.
    pub(super) fn add_run(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// A closure has read this after it had written that.
    pub(super) fn note_answer(&self, subject: Subject, found: &[Document], document: &Document) {
        if subject == Subject::Pool && found != [document.clone()] {
            self.wrong_answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the pool has committed that many more transactions.
    pub(super) fn wait_for(&self, transactions: usize) {
        let committed = || self.committed[Subject::Pool as usize].load(Ordering::Relaxed);
        let goal = committed() + transactions;
        wait_until("the writers write", || committed() >= goal);
    }

    /// Waits until each of the pool's writers has committed once more. After an outage, one may still pause: if the next
    /// outage began meanwhile, it would see no server in between.
    fn wait_for_each_writer(&self) {
        let committed = || self.committed_by[..writers()].iter().map(|count| count.load(Ordering::Relaxed));
        let before: Vec<_> = committed().collect();
        wait_until("each writer writes", || committed().zip(&before).all(|(now, before)| now > *before));
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
    fn wait_for_all(&self) {
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

fn write(subject: Subject, pools: &dyn Transacts, writer: usize, progress: &Arc<Progress>) -> Ledger {
    let mut ledger = Ledger::default();
    for number in (subject as u64 + 1) * 1_000_000_000 + writer as u64 * 1_000_000.. {
        if progress.is_over.load(Ordering::Relaxed) {
            break;
        }
        let told = pools.transact(subject, Document::numbered(number), progress);
        progress.errors[subject as usize].fetch_add(usize::from(told == Told::Error), Ordering::Relaxed);
        if told == Told::Committed {
            progress.committed[subject as usize].fetch_add(1, Ordering::Relaxed);
            if subject == Subject::Pool {
                progress.committed_by[writer].fetch_add(1, Ordering::Relaxed);
            }
        }
        ledger.insert(number, told);
    }
    ledger
}

/// All three subjects write, while `switch` is called again and again.
pub(super) fn keep(driver: Driver, url: &str, mut switch: impl FnMut(u32, &Progress)) -> Ledgers {
    let progress = Arc::new(Progress::default());
    let pools = driver.start(url, writers() as u32);
    let mut ledgers: [Ledger; 3] = Default::default();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for subject in SUBJECTS {
            for writer in 0..writers() {
                let (progress, pools) = (&progress, &*pools);
                running.push((subject, scope.spawn(move || write(subject, pools, writer, progress))));
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
            progress.wait_for(20 * writers());
            progress.wait_for_each_writer();
        }
        drop(ends);
        for (subject, writer) in running {
            ledgers[subject as usize].extend(writer.join().expect("no panic"));
        }
    });
    let [runs, wrong_answers] =
        [&progress.runs, &progress.wrong_answers].map(|count| count.load(Ordering::Relaxed));
    Ledgers { driver, ledgers, runs, wrong_answers }
}
