//! PostgreSQL is replaced behind PgBouncer, under load, below a stock pool and below two protected ones.

mod args;
mod counts;
mod figures;
mod latencies;
mod load;
mod page;
mod palette;
mod picture;
mod progress;
mod rows;
mod run;
mod servers;
mod subject;
mod switches;
mod table;
mod timeline;
mod verdict;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::args::Options;
use crate::figures::Figures;
use crate::progress::Progress;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match perform(&Options::read()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &Options) -> Result<bool, AnyError> {
    // Not after the run that it is to report.
    fs::create_dir_all(&options.report).map_err(cannot("create the folder", &options.report))?;
    let progress = Progress::new(servers::STEPS);
    let writer = progress.writer();
    testbed::listen(move |what| writer.line(what));
    env_logger::Builder::new()
        .parse_filters("off,diesel_postgres_hot_upgrade=warn")
        .target(env_logger::Target::Pipe(Box::new(progress.writer())))
        .init();

    let upgrade = servers::start(options, &progress)?;
    let figures = run::run(options, &upgrade, progress)?;
    let is_kept = verdict::is_kept(&figures);
    // First, and in silence: whoever reads the output may stop reading.
    let written = write_report(&options.report, &figures)?;
    let output = if options.json {
        let mut value = serde_json::to_value(&figures)?;
        value["promises_kept"] = json!(is_kept);
        format!("{value:#}")
    } else {
        format!("{}\n{}", table::tables(&figures), verdict::sentences(&figures))
    };
    match writeln!(io::stdout(), "{output}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let _ = writeln!(io::stderr(), "Wrote {written}");
    Ok(is_kept)
}

/// Writes the picture and the page, and says where they are.
fn write_report(folder: &Path, figures: &Figures) -> Result<String, AnyError> {
    let picture = picture::draw(figures)?;
    let page = page::render(figures, &picture);
    let paths = ["hot-upgrade.svg", "hot-upgrade.html"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip([picture, page]) {
        fs::write(path, text).map_err(cannot("write", path))?;
    }
    let [picture, page] = paths.each_ref().map(|path| path.display());
    Ok(format!("{picture} and {page}"))
}

fn cannot(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AnyError {
    let path: PathBuf = path.to_owned();
    move |error| format!("cannot {action} {}: {error}", path.display()).into()
}
