//! What is printed.

mod human;
mod table;
mod text;

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::compare::{Report, Summary};
use crate::error::Error;

pub(crate) use table::{Tone, Words, table};
pub(crate) use text::{clean, clean_json, counted, one_line, some, wrapped};

/// Columns of a line.
const WIDTH: usize = 80;

/// For people.
pub(crate) fn comparison(report: &Report) -> Result<(), Error> {
    write(&human::text(report))
}

/// For machines.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::output(error.into()))?;
    write(&format!("{}\n", clean_json(&text)))
}

/// For machines, as one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::output(error.into()))?;
    write(&format!("{}\n", clean_json(&text)))
}

/// If nobody reads it any more, that is no error.
pub(crate) fn write(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::output(error)),
        _ => Ok(()),
    }
}

/// The last line: what to do.
pub(crate) fn advice(summary: &Summary, is_partial: bool) -> String {
    let text = match summary {
        Summary { breaks: 1.., .. } => "mend what is marked BREAKS, then compare again.",
        _ if is_partial => "compare again as a role that may look at everything.",
        Summary { handled: 1.., .. } => "use diesel-postgres-hot-upgrade, or restart applications at the switch.",
        _ => "nothing. Applications go on as before.",
    };
    format!("To do: {text}")
}

/// Is standard output coloured?
pub(crate) fn is_coloured() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}
