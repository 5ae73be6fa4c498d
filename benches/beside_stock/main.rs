//! This crate beside stock Diesel, on real servers: for what criterion does not fit, since two subjects have to be
//! measured at the same time on a machine that is never the same.

mod args;
mod cells;
mod checkout;
mod goals;
mod machine;
mod memory;
mod new_connection;
mod paired;
mod precision;
mod progress;
mod recovery;
mod report;
mod run;
#[path = "../shared/mod.rs"]
mod shared;
mod table;
mod threads;
mod types;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::args::Options;
use crate::progress::Progress;
use crate::report::Report;
use crate::shared::AnyError;

fn main() -> ExitCode {
    match perform(&Options::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Some errors say only what kind they are.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn perform(options: &Options) -> Result<(), AnyError> {
    if !options.memory_of.is_empty() {
        println!("{}", serde_json::to_string(&memory::grow(&options.memory_of)?)?);
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/performance");
    // Not after the run that it is to report.
    fs::create_dir_all(&folder)?;
    let progress = Progress::new(options.jobs().len() as u64 + 3);
    let speaker = progress.clone();
    testbed::listen(move |what| speaker.line(what));
    let report = run::run(options, &progress)?;
    progress.finish();
    write_report(&folder, &report)?;
    match writeln!(io::stdout(), "{}\n{}", report.machine.describe(), table::render(&report)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn write_report(folder: &Path, report: &Report) -> Result<(), AnyError> {
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(report)?)?;
    Ok(())
}
