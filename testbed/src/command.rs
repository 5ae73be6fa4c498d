//! Programs that run to their end.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    sync::OnceLock,
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

type Listener = Box<dyn Fn(&str) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Hands what the testbed has to say ("fetching …") to `listener`, a line at a time, for those who draw on the standard
/// error themselves. The first listener of the process stays.
pub fn listen(listener: impl Fn(&str) + Send + Sync + 'static) {
    let _ = LISTENER.set(Box::new(listener));
}

/// Says what takes long. Not by `eprintln!`, which the test harness swallows until the test has failed.
pub(crate) fn tell(what: &str) {
    match LISTENER.get() {
        Some(listener) => listener(what),
        // Nobody may be reading.
        None => drop(writeln!(io::stderr(), "{what}")),
    }
}
