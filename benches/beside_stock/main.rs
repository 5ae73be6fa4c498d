//! This crate beside stock Diesel, on real servers: for what criterion does not fit, since two subjects have to be
//! measured at the same time on a machine that is never the same.

mod args;
mod cells;
mod checkout;
mod goals;
mod machine;
mod paired;
mod progress;
mod report;
mod run;
#[path = "../shared/mod.rs"]
mod shared;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Options;
use crate::progress::Progress;
use crate::report::Report;
use crate::shared::AnyError;

fn main() -> ExitCode {
    match perform(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &Options) -> Result<(), AnyError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/performance");
    // Not after the run that it is to report.
    fs::create_dir_all(&folder)?;
    let progress = Progress::new(13);
    let speaker = progress.clone();
    testbed::listen(move |what| speaker.line(what));
    let mut report = run::run(options, &progress)?;
    report.machine.is_done();
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
