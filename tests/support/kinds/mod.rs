//! Every kind of type that each server numbers for itself: bound, read and copied, alone and in arrays.

pub(crate) mod list;
pub(crate) mod moods;
pub(crate) mod sql_types;
pub(crate) mod uses;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::support::drivers::{Kind, Session};

/// What went wrong, or nothing.
pub(crate) type Verdict = Result<(), String>;

pub(crate) fn citizens(conn: &mut PgConnection) -> Verdict {
    list::citizen::many(&mut Session::Blocking(conn, Kind::Stock))
}

fn expect<T: std::fmt::Debug + PartialEq>(what: &str, found: QueryResult<T>, wanted: &T) -> Verdict {
    match found {
        Ok(found) if found == *wanted => Ok(()),
        Ok(found) => Err(format!("{what}: wrong answer: {found:?}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

/// Diesel 2.3 leaves the end of a COPY TO unread, and refuses the next statement; a simple query reads it.
fn end_copy(conn: &mut PgConnection) {
    conn.batch_execute("SELECT").expect("a simple query");
}
