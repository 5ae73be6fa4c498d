//! The results, as they go to JSON.

use serde::Serialize;

use crate::args::{Options, Subject};
use crate::goals::Goal;
use crate::machine::Machine;
use crate::paired::Comparison;
use crate::shared::network::Network;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) is_quick: bool,
    pub(crate) is_direct: bool,
    pub(crate) rows: Vec<Row>,
}

/// One subject on one network.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) what: &'static str,
    pub(crate) network: String,
    #[serde(flatten)]
    pub(crate) comparison: Comparison,
    pub(crate) goal: Option<Goal>,
    pub(crate) verdict: Option<&'static str>,
}

impl Report {
    pub(crate) fn new(options: &Options, machine: Machine) -> Self {
        Report { machine, is_quick: options.quick, is_direct: options.direct, rows: Vec::new() }
    }
}

impl Row {
    pub(crate) fn new(subject: Subject, network: Network, comparison: Comparison) -> Self {
        let goal = Goal::of(subject, network);
        let verdict = goal.map(|goal| goal.verdict(comparison.ratio.median));
        Row { subject, what: subject.what(), network: network.to_string(), comparison, goal, verdict }
    }
}

impl Subject {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Subject::Checkout => "checkout, 20 types",
            Subject::CheckoutUncached => "the same, statement cache disabled",
            Subject::Window => "checkout within `AtMostEvery`",
            Subject::Transaction => "checkout within `AtMostEvery`, verified transaction of one insert",
        }
    }
}
