//! `diesel-hot-upgrade` says before a server is replaced which types move, which collide and what breaks, and watches
//! the switch.

mod args;
mod catalog;
mod compare;
mod connect;
mod error;
mod progress;
mod report;
mod types;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{CommandLine, Task};
use crate::error::Error;

/// What the arguments say makes no sense, as `sysexits.h` has it.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let outcome = match CommandLine::try_parse() {
        Ok(line) => run(line.task),
        Err(error) => {
            let is_help = !error.use_stderr();
            if is_help {
                // If nobody reads it, nobody misses it.
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            anstream::eprint!("{}", args::without_urls(&error.render().ansi().to_string(), std::env::args_os()));
            return ExitCode::from(USAGE);
        }
    };
    outcome.unwrap_or_else(|error| {
        anstream::eprintln!("{}: {}", args::NAME, report::clean(&error.to_string()));
        ExitCode::from(error.code())
    })
}

fn run(task: Task) -> Result<ExitCode, Error> {
    match task {
        Task::Compare(task) => compare::run(&task),
        Task::Watch(task) => watch::run(&task),
        Task::Types(task) => types::run(&task),
        Task::Completions { shell } => {
            let mut command = CommandLine::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, args::NAME, &mut script);
            print(&script)
        }
        Task::Man { command } => {
            let whole = CommandLine::command();
            let part = command.and_then(|name| whole.find_subcommand(&name).cloned());
            let named = part.map(|part| {
                let name: &'static str = format!("{}-{}", args::NAME, part.get_name()).leak();
                part.name(name).bin_name(name.replacen("upgrade-", "upgrade ", 1))
            });
            let mut page = Vec::new();
            clap_mangen::Man::new(named.unwrap_or(whole)).render(&mut page).map_err(Error::output)?;
            print(&page)
        }
    }
}

fn print(text: &[u8]) -> Result<ExitCode, Error> {
    io::stdout().write_all(text).map_err(Error::output)?;
    Ok(ExitCode::SUCCESS)
}
