//! Why there is no answer.

use std::{fmt, io};

/// What is said in place of an answer. It has no password in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// What was asked for makes no sense.
    Usage(String),
    /// A server can't be reached or asked, or the connection to it was lost.
    Unavailable(String),
    /// The answer can't be written.
    Output(String),
}

impl Error {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Error::Usage(_) => crate::USAGE,
            Error::Unavailable(_) => 69,
            Error::Output(_) => 74,
        }
    }

    pub(crate) fn output(error: io::Error) -> Self {
        Error::Output(format!("the answer can't be written: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Error::Usage(text) | Error::Unavailable(text) | Error::Output(text)) = self;
        f.write_str(text)
    }
}
