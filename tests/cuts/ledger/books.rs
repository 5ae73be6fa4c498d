//! What each writer was told, and the comparison with what is there.

use std::collections::HashMap;

use super::drivers::Driver;

/// What a writer was told of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Committed,
    Unknown,
    Failed(String),
    /// By a control, which does not say whether it was committed.
    Error,
}

/// Who runs the transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// `pool.hot_transaction`
    Pool,
    /// `conn.hot_transaction` on a connection of the pool
    Connection,
    /// `conn.transaction` on one of a stock pool
    Stock,
}

pub(super) const SUBJECTS: [Subject; 3] = [Subject::Pool, Subject::Connection, Subject::Stock];

/// By the number of the document.
pub(super) type Ledger = HashMap<u64, Told>;

fn count(ledger: &Ledger, is_counted: impl Fn(&Told) -> bool) -> usize {
    ledger.values().filter(|told| is_counted(told)).count()
}

/// The ledgers of the three subjects, which wrote at the same time.
pub(super) struct Ledgers {
    pub(super) driver: Driver,
    pub(super) ledgers: [Ledger; 3],
    /// How often the pool's closures have run, and how often one read something else than it had written.
    pub(super) runs: usize,
    pub(super) wrong_answers: usize,
}

impl Ledgers {
    /// Compares what the writers were told with how often each document is there.
    pub(super) fn check(&self, scenario: &str, written: &HashMap<u64, i64>) {
        let scenario = format!("{scenario}, {:?}", self.driver);
        let [pool, connection, stock] = &self.ledgers;
        for (number, told) in self.ledgers.iter().flatten() {
            let times = written.get(number).copied().unwrap_or_default();
            let is_right = match told {
                Told::Committed => times == 1,
                Told::Unknown | Told::Error => times <= 1,
                Told::Failed(_) => times == 0,
            };
            assert!(is_right, "{scenario}: document {number} was told {told:?}, and is there {times} times");
        }
        let failed = |told: &Told| matches!(told, Told::Failed(_));
        let first = pool.values().find(|told| failed(told));
        assert_eq!(first, None, "{scenario}: of {} failures", count(pool, failed));
        assert_eq!(self.wrong_answers, 0, "{scenario}");
        let [committed, unknown] =
            [Told::Committed, Told::Unknown].map(|wanted| count(pool, |told| *told == wanted));
        let controls = [connection, stock].map(|ledger| count(ledger, |told| *told == Told::Error));
        println!(
            "{scenario}: {committed} committed in {} runs, 0 failed, {unknown} unknown; conn.hot_transaction failed \
             {} times, stock {} times",
            self.runs, controls[0], controls[1]
        );
        assert!(controls.iter().all(|failures| *failures > 0), "{scenario}: a control did not fail: {controls:?}");
    }
}
