//! Programs that run to their end.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

use crate::Error;

const SHOWN_LINES: usize = 30;

/// Runs the command and returns what it printed, without the trailing newline.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let failed = |command: &Command, problem| Error::Command { command: format!("{command:?}"), problem };
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let program = command.get_program().to_string_lossy().into_owned();
            return Err(failed(command, format!("there is no program `{program}` on this machine")));
        }
        Err(error) => return Err(failed(command, error.to_string())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout).trim_end(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Err(failed(command, format!("{}\n{}", output.status, tail(said.trim()))))
}

/// The last lines of a text that may be long.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Says what takes long. Not by `eprintln!`, which the test harness swallows until the test has failed.
pub(crate) fn tell(what: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{what}");
}
