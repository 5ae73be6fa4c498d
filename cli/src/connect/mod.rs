//! Connections, questions, and errors without passwords.

mod url;

use std::env;

use diesel::Connection as _;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as Failure};
use diesel::sql_types::Text;
use serde::de::DeserializeOwned;

pub(crate) use url::Url;

use crate::error::Error;

/// A connection that says which server it leads to.
pub(crate) struct Connection {
    inner: PgConnection,
    url: Url,
    which: String,
}

/// Why a question has no answer.
pub(crate) enum Unanswered {
    /// The role may not ask that, or what it asks for is locked.
    Refused(String),
    /// Anything else: there is no answer at all.
    Failed(Error),
}

/// One row, as JSON.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    row: String,
}

impl Connection {
    /// `which` names the server in errors: "the old server".
    pub(crate) fn open(url: &Url, which: &str) -> Result<Connection, Error> {
        let timeout_is_set = env::var_os("PGCONNECT_TIMEOUT").is_some();
        let opened = PgConnection::establish(&url.for_libpq(timeout_is_set));
        let inner = opened.map_err(|error| {
            let message = without_password_of_environment(&url.redact(&error.to_string()));
            let message = message.trim().replace('\t', "").replace('\n', "\n  ");
            if is_of_libpq(&message) {
                return Error::Usage(format!("{which}: not a URL that libpq can read: is a keyword misspelled?"));
            }
            Error::Unavailable(format!("{which}: {message}"))
        })?;
        Ok(Connection { inner, url: url.clone(), which: which.to_owned() })
    }

    pub(crate) fn which(&self) -> &str {
        &self.which
    }

    /// Rows of the statement's only column, `row`, which is JSON.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, sql: &str) -> Result<Vec<T>, Unanswered> {
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.inner).map_err(|error| self.failed(&error))?;
        let decoded = rows.iter().map(|Row { row }| serde_json::from_str(row)).collect::<Result<_, _>>();
        decoded.map_err(|error| Unanswered::Failed(self.unavailable(&format!("an answer can't be read: {error}"))))
    }

    pub(crate) fn execute(&mut self, sql: &str) -> Result<(), Unanswered> {
        self.inner.batch_execute(sql).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Failure) -> Unanswered {
        let message = self.url.redact(error.to_string().trim());
        if is_refusal(error) {
            return Unanswered::Refused(message);
        }
        Unanswered::Failed(self.unavailable(&message))
    }

    pub(crate) fn unavailable(&self, message: &str) -> Error {
        Error::Unavailable(format!("{}: {message}", self.which))
    }
}

impl Unanswered {
    /// For questions that every role may ask.
    pub(crate) fn into_error(self, which: &str) -> Error {
        match self {
            Unanswered::Refused(message) => Error::Unavailable(format!("{which}: {message}")),
            Unanswered::Failed(error) => error,
        }
    }
}

/// Did the server answer? If the connection was lost, the next statement of the transaction fails too.
fn is_refusal(error: &Failure) -> bool {
    !matches!(error, Failure::DatabaseError(DatabaseErrorKind::ClosedConnection, _))
        && matches!(error, Failure::DatabaseError(..))
}

/// Messages of libpq about the connection string quote parts of it.
fn is_of_libpq(message: &str) -> bool {
    [
        "missing \"",
        "invalid URI",
        "invalid connection option",
        "unterminated quoted",
        "invalid port",
        "invalid integer",
    ]
    .iter()
    .any(|beginning| message.contains(beginning))
}

fn without_password_of_environment(message: &str) -> String {
    match env::var("PGPASSWORD") {
        Ok(password) if !password.is_empty() => message.replace(&password, "…"),
        _ => message.to_owned(),
    }
}
