//! What is to be reached.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::args::Subject;
use crate::shared::network::Network;

/// A bound for a ratio to stock.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    /// The second bound is accepted where a profile explains the difference.
    AtMostOr(f64, f64),
    AtLeast(f64),
}

impl Goal {
    pub(crate) fn of(subject: Subject, network: Network) -> Option<Goal> {
        let [loopback, half] = [Network::LOOPBACK, Network::HALF].map(|known| known == network);
        Some(match subject {
            Subject::Checkout if loopback => Goal::AtMostOr(1.15, 1.25),
            Subject::Checkout if half => Goal::AtMost(1.03),
            Subject::CheckoutUncached if loopback => Goal::AtMost(1.35),
            Subject::CheckoutUncached if half => Goal::AtMost(1.08),
            Subject::Window => Goal::AtMost(0.02),
            Subject::Transaction if loopback => Goal::AtMost(1.15),
            Subject::Transaction if half => Goal::AtMost(0.85),
            Subject::NewConnection if half => Goal::AtMost(0.35),
            Subject::Recovery => Goal::AtMost(0.5),
            Subject::Threads => Goal::AtLeast(0.95),
            _ => return None,
        })
    }

    pub(crate) fn verdict(self, ratio: f64) -> &'static str {
        match self {
            Goal::AtMost(bound) | Goal::AtMostOr(bound, _) if ratio <= bound => "met",
            Goal::AtLeast(bound) if ratio >= bound => "met",
            Goal::AtMostOr(_, accepted) if ratio <= accepted => "nearly",
            _ => "not met",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::AtMost(bound) => write!(f, "≤ {bound}"),
            Goal::AtMostOr(bound, accepted) => write!(f, "≤ {bound} (≤ {accepted})"),
            Goal::AtLeast(bound) => write!(f, "≥ {bound}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
