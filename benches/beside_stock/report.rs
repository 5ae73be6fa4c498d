//! The results, as they go to JSON.

use serde::Serialize;

use crate::args::{Options, Subject};
use crate::asynchronous::Asked;
use crate::counts::Count;
use crate::disturbed::Disturbed;
use crate::goals::Goal;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::paired::Comparison;
use crate::precision::Precision;
use crate::profile::Piece;
use crate::recovery::Counts;
use crate::shared::network::Network;
use crate::types::Probe;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) is_quick: bool,
    pub(crate) is_direct: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) disturbed: Vec<Disturbed>,
    pub(crate) counts: Vec<Count>,
    pub(crate) recovery: Option<Counts>,
    /// With diesel-async: by this crate's pool, and by the stock one.
    pub(crate) async_recovery: Option<[Asked; 2]>,
    pub(crate) types: Vec<Probe>,
    pub(crate) memory: Option<Memory>,
    pub(crate) profile: Vec<Piece>,
    pub(crate) forwarder: Vec<Precision>,
}

/// One subject on one network.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) what: &'static str,
    pub(crate) network: String,
    pub(crate) unit: &'static str,
    #[serde(flatten)]
    pub(crate) comparison: Comparison,
    pub(crate) goal: Option<Goal>,
    pub(crate) verdict: Option<&'static str>,
}

impl Report {
    pub(crate) fn new(options: &Options, machine: Machine) -> Self {
        Report {
            machine,
            is_quick: options.quick,
            is_direct: options.direct,
            rows: Vec::new(),
            disturbed: Vec::new(),
            counts: Vec::new(),
            recovery: None,
            async_recovery: None,
            types: Vec::new(),
            memory: None,
            profile: Vec::new(),
            forwarder: Vec::new(),
        }
    }
}

impl Row {
    pub(crate) fn new(subject: Subject, network: Network, comparison: Comparison) -> Self {
        let goal = Goal::of(subject, network);
        let verdict = goal.map(|goal| {
            let is_of_difference = matches!(goal, Goal::Beyond(_));
            let of = if is_of_difference { &comparison.difference } else { &comparison.ratio };
            goal.verdict(of.median)
        });
        let unit = if subject == Subject::Threads { "checkouts a second" } else { "seconds" };
        Row { subject, what: subject.what(), network: network.to_string(), unit, comparison, goal, verdict }
    }
}

impl Subject {
    /// Do the application and the servers share a core?
    pub(crate) fn is_on_one_core(self) -> bool {
        matches!(
            self,
            Subject::CheckoutDirect
                | Subject::ServerTime
                | Subject::ApplicationTime
                | Subject::PoolTransaction
                | Subject::AsyncApplicationTime
                | Subject::AsyncQuery
                | Subject::AsyncTypedQuery
        )
    }

    /// Is it a row of diesel-async?
    pub(crate) fn is_asynchronous(self) -> bool {
        matches!(
            self,
            Subject::AsyncCheckout
                | Subject::AsyncApplicationTime
                | Subject::AsyncTransaction
                | Subject::AsyncNewConnection
                | Subject::AsyncRecovery
                | Subject::AsyncQuery
                | Subject::AsyncTypedQuery
        )
    }

    /// What the table calls it.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Subject::Checkout => "checkout, 20 types",
            Subject::CheckoutUncached => "checkout, 20 types, statement cache disabled",
            Subject::CheckoutDirect => "checkout, 20 types, without a pooler",
            Subject::ServerTime => "checkout, 20 types, without a pooler: the server's processor time",
            Subject::PoolTransaction => {
                "checkout and transaction of one insert, `conn.hot_transaction` → `pool.hot_transaction`: processor time"
            }
            Subject::ApplicationTime => "checkout, 20 types, without a pooler: the application's processor time",
            Subject::Window => "checkout within `AtMostEvery`",
            Subject::Transaction => "checkout within `AtMostEvery` and a verified transaction of one insert",
            Subject::NewConnection => "new connection, first statement with 20 types",
            Subject::Recovery => "a pool of 64 after a switch, until all have answered",
            Subject::Threads => "64 threads, pool of 64: checkouts a second",
            Subject::Types => "checkout, 0 to 10,000 types",
            Subject::Memory => "memory of 10,000 types",
            Subject::Profile => "a checkout, piece by piece",
            Subject::Disturbed => "a checkout while others do something",
            Subject::TransactionIds => "transaction ids that checkouts draw",
            Subject::TemporarySchemas => "sessions with temporary tables, and a re-created type",
            Subject::AddedTypes => "types that come and go beside the pool's own",
            Subject::Permissions => "a role that may ask nothing",
            Subject::Replicas => "a load balancer over a primary and two standbys",
            Subject::Clones => "clones of one server",
            Subject::Paths => "tenants' search paths",
            Subject::AsyncCheckout => "diesel-async: checkout, 20 types",
            Subject::AsyncApplicationTime => {
                "diesel-async: checkout, 20 types, without a pooler: the application's processor time"
            }
            Subject::AsyncTransaction => {
                "diesel-async: checkout within `AtMostEvery` and a verified transaction of one insert"
            }
            Subject::AsyncNewConnection => "diesel-async: new connection, first statement with 20 types",
            Subject::AsyncRecovery => "diesel-async: a pool of 64 after a switch, until all have answered",
            Subject::AsyncQuery => {
                "diesel-async: a plain query of built-in types, without a pooler: the application's processor time"
            }
            Subject::AsyncTypedQuery => {
                "diesel-async: a plain query with two other types, without a pooler: the application's processor time"
            }
            Subject::CheckoutTracked => "checkout, 20 types named to `track`",
            Subject::CheckoutTrackedUncached => "checkout, 20 types named to `track`, statement cache disabled",
        }
    }
}
