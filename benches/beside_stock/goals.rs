//! What is to be reached.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::args::Subject;
use crate::shared::network::Network;

/// A bound for a ratio to stock.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    Ceiling(f64),
    /// The second bound is accepted where a profile explains the difference.
    CeilingOr(f64, f64),
    Floor(f64),
}

impl Goal {
    pub(crate) fn of(subject: Subject, network: Network) -> Option<Goal> {
        let [loopback, half] = [Network::LOOPBACK, Network::HALF].map(|known| known == network);
        Some(match subject {
            Subject::Checkout | Subject::CheckoutTracked if loopback => Goal::CeilingOr(1.15, 1.25),
            Subject::Checkout | Subject::CheckoutTracked if half => Goal::Ceiling(1.03),
            Subject::CheckoutUncached | Subject::CheckoutTrackedUncached if loopback => Goal::Ceiling(1.35),
            Subject::CheckoutUncached | Subject::CheckoutTrackedUncached if half => Goal::Ceiling(1.08),
            Subject::Window => Goal::Ceiling(0.02),
            Subject::Transaction if loopback => Goal::Ceiling(1.15),
            Subject::Transaction if half => Goal::Ceiling(0.85),
            Subject::NewConnection if half => Goal::Ceiling(0.35),
            Subject::Recovery => Goal::Ceiling(0.5),
            Subject::Threads => Goal::Floor(0.95),
            _ => return None,
        })
    }

    /// Of a ratio as it is shown.
    pub(crate) fn verdict(self, ratio: f64) -> &'static str {
        let ratio = if ratio < 0.1 { ratio } else { (ratio * 100.0).round() / 100.0 };
        match self {
            Goal::Ceiling(bound) | Goal::CeilingOr(bound, _) if ratio <= bound => "met",
            Goal::Floor(bound) if ratio >= bound => "met",
            Goal::CeilingOr(_, accepted) if ratio <= accepted => "nearly",
            _ => "not met",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Ceiling(bound) => write!(f, "≤ {bound}"),
            Goal::CeilingOr(bound, accepted) => write!(f, "≤ {bound} (≤ {accepted})"),
            Goal::Floor(bound) => write!(f, "≥ {bound}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
