//! The command line of the testbed.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, ExitStatus},
};

use clap::{Args, Parser, Subcommand};
use testbed::{Cluster, Error, Installation, MAJORS, Release};

const EXAMPLES: &str = "\
Examples:
  # Run the tests against two servers that live as long as the command
  cargo run -p testbed -- run --postgres 10 --postgres 12 -- cargo test

  # The command finds the servers in its environment
  cargo run -p testbed -- run --postgres 12 -- sh -c 'psql \"$TESTBED_POSTGRES12_URL\"'

  # Only fetch, and show where the programs are
  cargo run -p testbed -- fetch --postgres 10 --postgres 12 --pgbouncer

Programs that are installed are used rather than fetched. The variables TESTBED_POSTGRES<major>_BIN (a folder with
initdb and postgres), TESTBED_PGBOUNCER_BIN and TESTBED_PGBOUNCER_1_18_BIN (executables) name others.";

/// Starts and stops real PostgreSQL servers, and fetches them and PgBouncer.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start fresh servers, run a command, and stop them
    ///
    /// The command finds the URL of each server's database `postgres` in TESTBED_POSTGRES<major>_URL. The exit code is
    /// the command's.
    #[command(after_help = EXAMPLES)]
    Run(Run),
    /// Fetch programs that are not installed, and show where they are
    ///
    /// The last lines of the output are `postgres12 <folder with bin/ and lib/>` and `pgbouncer <executable>`.
    #[command(after_help = EXAMPLES)]
    Fetch(Fetch),
}

#[derive(Args)]
struct Run {
    /// A major version of PostgreSQL; may be repeated
    #[arg(long, value_name = "MAJOR", required = true, value_parser = majors())]
    postgres: Vec<u32>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Fetch {
    /// A major version of PostgreSQL; may be repeated
    #[arg(long, value_name = "MAJOR", value_parser = majors())]
    postgres: Vec<u32>,
    /// PgBouncer, in its present release and in Debian 12's (1.18)
    #[arg(long)]
    pgbouncer: bool,
}

fn majors() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(*MAJORS.start())..=i64::from(*MAJORS.end()))
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().task {
        Task::Run(run) => run.perform(),
        Task::Fetch(fetch) => fetch.perform(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("testbed: {error}");
        ExitCode::FAILURE
    })
}

impl Run {
    fn perform(self) -> Result<ExitCode, Error> {
        let majors: BTreeSet<u32> = self.postgres.into_iter().collect();
        let clusters: Vec<Cluster> = majors.into_iter().map(Cluster::start).collect::<Result<_, _>>()?;
        let (program, arguments) = self.command.split_first().expect("clap requires a command");
        let mut command = Command::new(program);
        command.args(arguments);
        for cluster in &clusters {
            command.env(format!("TESTBED_POSTGRES{}_URL", cluster.major()), cluster.url("postgres"));
        }
        let status = command.status().map_err(|error| Error::Command {
            command: format!("{program} {}", arguments.join(" ")),
            problem: error.to_string(),
        })?;
        Ok(code(status))
    }
}

impl Fetch {
    fn perform(self) -> Result<ExitCode, Error> {
        let mut found = Vec::new();
        for major in self.postgres {
            found.push(format!("postgres{major} {}", Installation::find(major)?.folder().display()));
        }
        if self.pgbouncer {
            found.push(format!("pgbouncer {}", Release::Current.program()?.display()));
            found.push(format!("pgbouncer-1.18 {}", Release::Debian12.program()?.display()));
        }
        println!("{}", found.join("\n"));
        Ok(ExitCode::SUCCESS)
    }
}

/// As shells have it: 128 and the signal for a command that was killed.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
