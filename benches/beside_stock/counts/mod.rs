//! What is counted rather than timed: loads, resets, events, round trips, transaction ids.

mod added_types;
mod clones;
mod paths;
mod permissions;
mod replicas;
pub(crate) mod rounds;
mod temporary_schemas;
mod transaction_ids;

use serde::Serialize;

use crate::args::Subject;
use crate::goals::Goal;
use crate::run::Bench;
use crate::shared::AnyError;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Count {
    pub(crate) subject: Subject,
    pub(crate) what: String,
    /// Stock Diesel's, if it has one.
    pub(crate) stock: Option<f64>,
    pub(crate) ours: f64,
    pub(crate) goal: Option<Goal>,
    pub(crate) verdict: Option<&'static str>,
}

pub(crate) fn count(bench: &Bench<'_>, subject: Subject) -> Result<Vec<Count>, AnyError> {
    match subject {
        Subject::TransactionIds => transaction_ids::count(),
        Subject::TemporarySchemas => temporary_schemas::count(bench),
        Subject::AddedTypes => added_types::count(bench),
        Subject::Permissions => permissions::count(),
        Subject::Replicas => replicas::count(bench),
        Subject::Clones => clones::count(bench),
        Subject::Paths => paths::count(bench),
        _ => Err(format!("{subject:?} is not counted").into()),
    }
}

impl Count {
    fn new(subject: Subject, what: impl Into<String>, ours: f64) -> Self {
        Count { subject, what: what.into(), stock: None, ours, goal: None, verdict: None }
    }

    /// Beside the same figure of stock Diesel.
    fn beside(self, stock: f64) -> Self {
        Count { stock: Some(stock), ..self }
    }

    fn with_goal(self, goal: Goal) -> Self {
        let verdict = goal.verdict(self.ours);
        Count { goal: Some(goal), verdict: Some(verdict), ..self }
    }
}
