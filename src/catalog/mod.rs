//! What is known of servers and their types. No connection, no SQL.

pub(crate) mod horizon;
pub(crate) mod oid_table;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod track;
pub(crate) mod tracked;
pub(crate) mod watch;

/// With commas in between.
pub(crate) fn joined(numbers: impl Iterator<Item = impl ToString>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}
