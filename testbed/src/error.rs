use std::{fmt, io, path::PathBuf};

use postgres::Error as SqlError;

/// Why a server could not be fetched, started, used or stopped. The text says what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An environment variable of the testbed has a value that cannot be used.
    Setting {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A program is neither named, nor installed, nor to be fetched.
    Unavailable {
        /// The program.
        what: String,
        /// Why it could not be had.
        problem: String,
        /// The ways out.
        advice: String,
    },
    /// A program that the testbed ran has failed.
    Command {
        /// The command line.
        command: String,
        /// Its exit status and what it wrote to its standard error.
        problem: String,
    },
    /// A file or folder could not be read, written, locked or removed.
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A server did not start, stop or obey.
    Server {
        /// The server.
        what: String,
        /// What went wrong.
        problem: String,
        /// The end of the server's own log.
        log: String,
    },
    /// A server answered a statement with an error, or could not be reached.
    Sql {
        /// What was tried.
        action: String,
        /// The answer.
        source: SqlError,
    },
    /// A request that makes no sense for a server that the testbed did not start.
    External {
        /// The server.
        what: String,
        /// The request and the way out.
        problem: String,
    },
}

impl Error {
    /// For `map_err`: wraps the system's answer to `action` on `path`.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }

    /// For `map_err`: wraps a server's answer to `action`.
    pub(crate) fn sql(action: impl Into<String>) -> impl FnOnce(SqlError) -> Error {
        let action = action.into();
        move |source| Error::Sql { action, source }
    }

    /// For settings of the environment.
    pub(crate) fn setting(name: &str, value: impl fmt::Display, problem: impl Into<String>) -> Error {
        Error::Setting { name: name.to_owned(), value: value.to_string(), problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Setting { name, value, problem } => {
                write!(f, "the environment variable {name} is `{value}`, but {problem}")
            }
            Error::Unavailable { what, problem, advice } => {
                write!(f, "{what} is not available: {problem}\nWhat to do: {advice}")
            }
            Error::Command { command, problem } => write!(f, "`{command}` failed: {problem}"),
            Error::File { action, path, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Error::Server { what, problem, log } if log.is_empty() => {
                write!(f, "{what} {problem} (its log is empty)")
            }
            Error::Server { what, problem, log } => {
                write!(f, "{what} {problem}\nThe end of its log:\n{log}")
            }
            Error::Sql { action, source } => match source.as_db_error() {
                Some(answer) => {
                    write!(f, "cannot {action}: {} (SQLSTATE {})", answer.message(), answer.code().code())
                }
                None => write!(f, "cannot {action}: {}", chain(source)),
            },
            Error::External { what, problem } => {
                write!(f, "{what} was not started by the testbed: {problem}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::File { source, .. } => Some(source),
            Error::Sql { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// `postgres::Error` shows only its kind; the reason is further down.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        inner = cause.source();
    }
    text
}
