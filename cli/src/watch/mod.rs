//! stub
use crate::args::Watch;
use crate::error::Error;
use std::process::ExitCode;
pub(crate) fn run(_task: &Watch) -> Result<ExitCode, Error> {
    Ok(ExitCode::SUCCESS)
}
