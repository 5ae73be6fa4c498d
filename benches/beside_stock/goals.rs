//! What is to be reached.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::args::Subject;
use crate::cells::time;
use crate::shared::network::Network;

/// A bound for a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// For a ratio, or for a count.
    Ceiling(f64),
    /// For a ratio.
    Floor(f64),
    /// For what this crate's figure has beyond stock's, in seconds.
    Beyond(f64),
}

/// Of the checkouts that others disturb: the time to that of the same checkout undisturbed, and the round trips.
pub(crate) const DISTURBED_TIME: Goal = Goal::Ceiling(1.2);
pub(crate) const DISTURBED_ROUND_TRIPS: Goal = Goal::Ceiling(1.05);

// Of what is counted.
pub(crate) const TRANSACTION_IDS: Goal = Goal::Ceiling(0.0);
pub(crate) const RECREATED_TYPE_LOADS: Goal = Goal::Ceiling(1.0);
pub(crate) const RECREATED_TYPE_EVENTS: Goal = Goal::Ceiling(1.0);
pub(crate) const REPLICA_RESETS: Goal = Goal::Ceiling(0.0);
pub(crate) const SECOND_ROUND_LOADS: Goal = Goal::Ceiling(0.0);
pub(crate) const ADDED_TYPES_RESETS: Goal = Goal::Ceiling(4.0);
pub(crate) const ADDED_TYPES_EVENTS: Goal = Goal::Ceiling(0.0);
pub(crate) const ADDED_TYPES_WARNINGS: Goal = Goal::Ceiling(0.0);
pub(crate) const FORBIDDEN_CHECKOUT: Goal = Goal::Ceiling(2.0);
pub(crate) const FORBIDDEN_INSERT: Goal = Goal::Ceiling(6.0);
pub(crate) const FORBIDDEN_CONNECTIONS: Goal = Goal::Ceiling(0.0);

impl Goal {
    pub(crate) fn of(subject: Subject, network: Network) -> Option<Goal> {
        let [loopback, half] = [Network::LOOPBACK, Network::HALF].map(|known| known == network);
        Some(match subject {
            Subject::Checkout | Subject::CheckoutTracked | Subject::AsyncCheckout if loopback => {
                Goal::Ceiling(1.12)
            }
            Subject::Checkout | Subject::CheckoutTracked | Subject::AsyncCheckout if half => Goal::Ceiling(1.03),
            Subject::CheckoutUncached | Subject::CheckoutTrackedUncached if loopback => Goal::Ceiling(1.5),
            Subject::CheckoutUncached | Subject::CheckoutTrackedUncached if half => Goal::Ceiling(1.08),
            Subject::CheckoutDirect => Goal::Ceiling(1.8),
            Subject::ServerTime => Goal::Beyond(10e-6),
            Subject::ApplicationTime | Subject::AsyncApplicationTime => Goal::Beyond(2e-6),
            Subject::Window => Goal::Ceiling(0.02),
            Subject::Transaction | Subject::AsyncTransaction if loopback => Goal::Ceiling(1.15),
            Subject::Transaction | Subject::AsyncTransaction if half => Goal::Ceiling(0.85),
            Subject::PoolTransaction => Goal::Ceiling(1.02),
            Subject::NewConnection | Subject::AsyncNewConnection if half => Goal::Ceiling(0.35),
            Subject::AsyncQuery | Subject::AsyncTypedQuery => Goal::Ceiling(1.03),
            Subject::Recovery | Subject::AsyncRecovery => Goal::Ceiling(0.5),
            Subject::Threads => Goal::Floor(0.85),
            _ => return None,
        })
    }

    /// Of a figure as it is shown: a ratio, a count, or the difference to stock.
    pub(crate) fn verdict(self, figure: f64) -> &'static str {
        let figure = if figure < 0.1 { figure } else { (figure * 100.0).round() / 100.0 };
        let is_met = match self {
            Goal::Ceiling(bound) | Goal::Beyond(bound) => figure <= bound,
            Goal::Floor(bound) => figure >= bound,
        };
        if is_met { "met" } else { "not met" }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Ceiling(bound) => write!(f, "≤ {bound}"),
            Goal::Floor(bound) => write!(f, "≥ {bound}"),
            Goal::Beyond(bound) => write!(f, "≤ +{}", time(*bound)),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
