//! This crate beside stock Diesel, on real servers: for what criterion does not fit, since two subjects have to be
//! measured at the same time on a machine that is another one a second later.

mod args;
mod asynchronous;
mod cells;
mod checkout;
mod counts;
mod disturbance;
mod disturbed;
mod goals;
mod machine;
mod markdown;
mod memory;
mod new_connection;
mod paired;
mod precision;
mod processor;
mod processor_time;
mod profile;
mod progress;
mod recovery;
mod report;
mod run;
mod sentences;
#[path = "../shared/mod.rs"]
mod shared;
mod table;
mod threads;
mod types;
mod warnings;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::args::Options;
use crate::markdown::Readme;
use crate::progress::Progress;
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

fn perform(options: &Options) -> Result<(), AnyError> {
    if !options.memory_of.is_empty() {
        println!("{}", serde_json::to_string(&memory::grow(&options.memory_of)?)?);
        return Ok(());
    }
    if !options.rounds_of.is_empty() {
        println!("{}", serde_json::to_string(&counts::rounds::go(&options.rounds_of, options.paths)?)?);
        return Ok(());
    }
    // Not after the run that they are to report.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace");
    let readme = options.readme.then(|| Readme::open(&root.join("docs/performance.md"))).transpose()?;
    let folder = root.join("target/performance");
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;

    let progress = Progress::new(run::steps(&options.jobs()));
    let speaker = progress.clone();
    testbed::listen(move |what| speaker.line(what));
    let report = run::run(options, &progress);
    progress.finish();
    let report = report?;

    let section = markdown::render(&report);
    fs::write(folder.join("report.md"), format!("# Beside stock Diesel\n\n{section}"))?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    if let Some(readme) = readme {
        readme.write(&section)?;
    }
    match writeln!(io::stdout(), "{}", table::render(&report)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let _ = writeln!(io::stderr(), "Wrote report.md and report.json to target/performance");
    Ok(())
}

/// Some errors say only of which kind they are.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        text += &format!(": {cause}");
        inner = cause.source();
    }
    text
}
