//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use serde::Serialize;
use testbed::MAJORS;

/// Three pools of so many are less than what a server of the testbed accepts.
pub(crate) const MAX_THREADS: u32 = 48;

/// Without a pooler, no server answers for this long.
pub(crate) const OUTAGE: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  # Half a minute, on servers that are fetched and started for it; the first time it takes longer
  cargo run --release --example hot_upgrade

  # Another pair of servers, or back
  cargo run --release --example hot_upgrade -- --from 14 --to 18
  cargo run --release --example hot_upgrade -- --from 12 --to 10

  # There, back, there and back, with fewer threads
  cargo run --release --example hot_upgrade -- --switches 4 --threads 2

  # For machines: the figures on the standard output, the progress on the standard error
  cargo run --release --example hot_upgrade -- --json | jq '.subjects[] | {name, failures, wrong_answers}'

  # Every connection is cut, and for two seconds no server answers
  cargo run --release --example hot_upgrade -- --pooler none

  # On servers of your own (superuser URLs); a database is created on each
  TESTBED_POSTGRES10_URL=postgres://postgres@localhost:5432/postgres \\
  TESTBED_POSTGRES12_URL=postgres://postgres@localhost:5433/postgres \\
  cargo run --release --example hot_upgrade

Three pools have the same load at the same time, half of it writing and half reading:
  stock     Diesel's ConnectionManager, and conn.transaction
  checkout  HotUpgradeManager, which asks at every checkout, and conn.transaction
  verified  HotUpgradeManager, which asks every ten seconds, and conn.hot_transaction; or pool.hot_transaction if a
            switch cuts connections

A pooler in session mode cuts every connection, and so does a switch without a pooler, where for two seconds no server
answers. The exit code is 0 only if `checkout` did nothing wrong on a connection that was checked out after a switch and
not cut, and `verified` nothing at all.";

/// Replaces PostgreSQL behind PgBouncer, under load, below a stock pool and below two protected ones
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "hot_upgrade", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The major version of PostgreSQL before the switch
    #[arg(long, value_name = "MAJOR", default_value_t = 10, value_parser = majors())]
    pub(crate) from: u32,
    /// The major version after it
    #[arg(long, value_name = "MAJOR", default_value_t = 12, value_parser = majors())]
    pub(crate) to: u32,
    /// Threads, and connections, for each of the three pools
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_THREADS)))]
    pub(crate) threads: u32,
    /// How long the load runs in all; the switches divide it into equal parts
    #[arg(long, value_name = "SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..=600))]
    pub(crate) seconds: u32,
    /// How many switches: there, back, there …
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    #[serde(skip)] // They are listed one by one.
    pub(crate) switches: u32,
    /// How PgBouncer pools, or none
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Pooler::Transaction)]
    pub(crate) pooler: Pooler,
    /// Where to write the picture and the page
    #[arg(long, value_name = "DIR", default_value = "target/hot-upgrade-report")]
    #[serde(skip)]
    pub(crate) report: PathBuf,
    /// Print the figures as JSON in place of the tables
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

/// When PgBouncer gives a server connection to another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pooler {
    /// After each transaction. A switch waits for transactions; connections stay open
    Transaction,
    /// When the client leaves. A switch cuts every connection, so that new ones start empty
    Session,
    /// There is none. A switch cuts every connection, and no server answers for two seconds
    None,
}

impl Pooler {
    /// As PgBouncer calls it. Without one, nothing goes through the one that is there.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pooler::Transaction | Pooler::None => "transaction",
            Pooler::Session => "session",
        }
    }

    /// Does a switch cut connections?
    pub(crate) fn is_cut(self) -> bool {
        self != Pooler::Transaction
    }
}

impl Options {
    /// Reads the command line, and ends the process where it makes no sense.
    pub(crate) fn read() -> Self {
        let options = Options::parse();
        let part = if options.pooler == Pooler::None { OUTAGE.as_secs() as u32 + 2 } else { 1 };
        if options.seconds < part * (options.switches + 1) {
            let problem = format!(
                "{part} s before each switch and after the last one are needed: \
                 --switches {} takes --seconds {} or more",
                options.switches,
                part * (options.switches + 1)
            );
            Options::command().error(ErrorKind::ValueValidation, problem).exit();
        }
        options
    }
}

fn majors() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(*MAJORS.start())..=i64::from(*MAJORS.end()))
}
