//! The command line.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use serde::Serialize;

use crate::shared::network::Network;

const EXAMPLES: &str = "\
Examples:
  # Every row, on servers that are fetched and started for it: ten minutes
  cargo bench --bench beside_stock

  # The same, and write the tables of docs/performance.md from it
  cargo bench --bench beside_stock -- --readme

  # Does every row still run? Less than a minute; the figures say little
  cargo bench --bench beside_stock -- --quick

  # One row on one network, while changing the probe
  cargo bench --bench beside_stock -- --only checkout --network loopback

  # Some of what is counted rather than timed
  cargo bench --bench beside_stock -- --only transaction-ids temporary-schemas added-types permissions

  # The connection for diesel-async beside the stock one
  cargo bench --bench beside_stock -- --only async-checkout async-transaction async-new-connection async-recovery \
      async-query async-typed-query

  # Without PgBouncer: the application talks to PostgreSQL
  cargo bench --bench beside_stock -- --direct

Two subjects take turns in one process, on the same servers: stock Diesel (ConnectionManager, conn.transaction) and this
crate (HotUpgradeManager with its customizer, conn.hot_transaction). A ratio is the median over blocks of paired
measurements, with its quartiles; below 1, this crate is the faster (for `threads`, whose figures are checkouts a
second, above 1).

The table goes to the standard output, the progress to the standard error, and report.md and report.json to
target/performance. Goals that are not met don't make the process fail.";

/// Measures this crate beside stock Diesel, on real servers
#[derive(Debug, Clone, Parser)]
#[command(bin_name = "cargo bench --bench beside_stock --", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only these rows
    #[arg(long, value_name = "ROW", value_enum, num_args = 1..)]
    pub(crate) only: Vec<Subject>,
    /// Only these networks, where a row has one: loopback, 0.5ms, 2ms
    #[arg(long, value_name = "NETWORK", value_parser = network, num_args = 1..)]
    pub(crate) network: Vec<Network>,
    /// A short run, which shows that it runs: a quarter of a second for each measurement in place of eight seconds
    #[arg(long)]
    pub(crate) quick: bool,
    /// Leave PgBouncer out of the way
    #[arg(long)]
    pub(crate) direct: bool,
    /// Write the tables of docs/performance.md from this run
    #[arg(long, conflicts_with_all = ["only", "network", "quick", "direct"])]
    pub(crate) readme: bool,
    /// Measure the memory of this process on connections to these databases, and nothing else
    #[arg(long, hide = true, num_args = 1..)]
    pub(crate) memory_of: Vec<String>,
    /// Go round these databases twice, count what is read, and measure nothing else
    #[arg(long, hide = true, num_args = 1..)]
    pub(crate) rounds_of: Vec<String>,
    /// The same in so many search paths of each
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) paths: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// A checkout that asks, Diesel's statement cache on
    Checkout,
    /// The same, Diesel's statement cache disabled
    CheckoutUncached,
    /// The first one, without pooler or forwarder
    CheckoutDirect,
    /// The same in the server's processor time
    ServerTime,
    /// The same in the application's processor time
    ApplicationTime,
    /// A checkout within the window of `AtMostEvery`
    Window,
    /// A checkout within the window and a verified transaction of one insert
    Transaction,
    /// `pool.hot_transaction` of one insert beside a checkout and `conn.hot_transaction`, in processor time of both sides
    PoolTransaction,
    /// A new connection and its first statement, which binds 20 types
    NewConnection,
    /// A pool of 64 after a switch, until each connection has answered
    Recovery,
    /// 64 threads that check out of a pool of 64
    Threads,
    /// A checkout that asks about up to 10,000 types
    Types,
    /// What 10,000 types take in memory
    Memory,
    /// Which piece of a checkout's question costs what, in processor time
    Profile,
    /// A checkout while others create temporary tables, or hold transactions open
    Disturbed,
    /// Transaction ids that checkouts draw
    TransactionIds,
    /// 16 sessions with temporary tables, and a type that is re-created
    TemporarySchemas,
    /// 40 tenants' schemas, and 40 tables' types, that come and go
    AddedTypes,
    /// A role that may not execute what the crate's question needs
    Permissions,
    /// A load balancer over a primary and two standbys
    Replicas,
    /// 36 clones of one server, twice around
    Clones,
    /// 300 and 5,000 tenants' search paths, twice around
    Paths,
    /// The connection for diesel-async: a checkout that asks
    AsyncCheckout,
    /// The same in the application's processor time
    AsyncApplicationTime,
    /// The connection for diesel-async: a checkout within the window and a verified transaction of one insert
    AsyncTransaction,
    /// The same: a new connection and its first statement, which binds 20 types
    AsyncNewConnection,
    /// The same: a pool of 64 after a switch, until each connection has answered
    AsyncRecovery,
    /// The same: a plain query that binds built-in types only, in the application's processor time
    AsyncQuery,
    /// The same with two other types
    AsyncTypedQuery,
    /// A checkout that asks, after `track` was called for each type. Last, since that holds for the process
    CheckoutTracked,
    /// The same, Diesel's statement cache disabled
    CheckoutTrackedUncached,
}

impl Subject {
    /// On which networks it is measured.
    fn networks(self) -> &'static [Network] {
        match self {
            Subject::Checkout
            | Subject::CheckoutUncached
            | Subject::Window
            | Subject::Transaction
            | Subject::NewConnection
            | Subject::Recovery
            | Subject::AsyncCheckout
            | Subject::AsyncTransaction
            | Subject::AsyncNewConnection
            | Subject::AsyncRecovery
            | Subject::CheckoutTracked
            | Subject::CheckoutTrackedUncached => &Network::ALL,
            _ => &Network::ALL[..1],
        }
    }
}

impl Options {
    /// Reads the command line, and ends the process where it makes no sense.
    pub(crate) fn read() -> Self {
        let options = Options::parse();
        if options.is_parent() && options.jobs().is_empty() {
            let problem = "none of these rows is measured on these networks, or with --direct";
            Options::command().error(ErrorKind::ValueValidation, problem).exit();
        }
        options
    }

    /// Some figures are those of another process, which does nothing else.
    fn is_parent(&self) -> bool {
        self.memory_of.is_empty() && self.rounds_of.is_empty()
    }

    /// What is to be measured where, in the order of the tables. Without a pooler, nothing recovers. A short run goes
    /// without the slowest network, unless it is named.
    pub(crate) fn jobs(&self) -> Vec<(Subject, Network)> {
        let rows = Subject::value_variants().iter().copied();
        let rows = rows.filter(|row| self.only.is_empty() || self.only.contains(row));
        let rows = rows.filter(|row| !(self.direct && matches!(row, Subject::Recovery | Subject::AsyncRecovery)));
        let jobs = rows.flat_map(|row| row.networks().iter().map(move |network| (row, *network)));
        let is_wanted = |network: &Network| match self.network.as_slice() {
            [] => !(self.quick && *network == Network::TWO),
            named => named.contains(network),
        };
        jobs.filter(|(_, network)| is_wanted(network)).collect()
    }
}

fn network(name: &str) -> Result<Network, String> {
    let names = Network::ALL.map(|network| network.to_string().replace(' ', ""));
    let found = names.iter().position(|known| known == name);
    found.map(|index| Network::ALL[index]).ok_or_else(|| format!("the networks are {}", names.join(", ")))
}
