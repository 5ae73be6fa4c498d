//! What is known of servers and their types. No connection, no SQL.

pub(crate) mod alternation;
pub(crate) mod clock;
pub(crate) mod database;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod snapshot;
pub(crate) mod table;
pub(crate) mod track;
pub(crate) mod tracked;
pub(crate) mod types;
pub(crate) mod waiting;
