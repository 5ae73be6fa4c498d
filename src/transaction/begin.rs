//! `BEGIN` and the probe in one round trip. A pooler pins the server connection to the transaction, so what the probe
//! says of the server holds until `COMMIT`.

use std::borrow::Cow;

use diesel::connection::AnsiTransactionManager;
use diesel::prelude::*;

use crate::connection::transaction_state::is_broken;
use crate::probe::question;
use crate::report::stats::COUNTERS;
use crate::synchronize::{known_watch, synchronize, synchronize_changed};
use crate::transaction::rollback::roll_back;

/// How a transaction begins.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) sql: Cow<'static, str>,
    /// What has to run before the first query.
    pub(crate) before_probe: Option<String>,
}

impl Begin {
    pub(crate) const PLAIN: Begin = Begin { sql: Cow::Borrowed("BEGIN"), before_probe: None };
}

/// Begins a transaction on a server that the connection's caches agree with. One round trip where nothing changed.
pub(crate) fn begin(conn: &mut PgConnection, how: &Begin) -> QueryResult<()> {
    let Some(before_probe) = &how.before_probe else {
        return begin_verified(conn, &how.sql);
    };
    if known_watch(conn).is_none() {
        synchronize(conn)?;
    }
    begin_and_synchronize(conn, &format!("{}; {before_probe}", how.sql))
}

/// Where the caches do not agree, they are made right outside a transaction, where one connection may wait for another
/// one's catalog load. If the next transaction meets yet another server, they are made right inside it, where the answer
/// stays true: to roll back and ask again until both agree would never end where two servers alternate.
fn begin_verified(conn: &mut PgConnection, sql: &str) -> QueryResult<()> {
    if begin_and_ask(conn, sql)? {
        return Ok(());
    }
    synchronize_changed(conn)?;
    if let Some(watch) = known_watch(conn) {
        question::learn_names(conn, &watch.snapshot);
    }
    if begin_and_ask(conn, sql)? {
        return Ok(());
    }
    begin_and_synchronize(conn, sql)
}

/// Begins a transaction if the caches agree with the server that answers. `false` if they do not, or it can't be asked.
fn begin_and_ask(conn: &mut PgConnection, sql: &str) -> QueryResult<bool> {
    let Some(question) = known_watch(conn).as_deref().and_then(question::text) else {
        return Ok(false);
    };
    COUNTERS.probes.increment();
    match AnsiTransactionManager::begin_transaction_sql(conn, &format!("{sql}; {question}")) {
        Ok(()) => Ok(true),
        Err(error) if is_broken(conn) => Err(error),
        // The server aborted the transaction, of which Diesel doesn't know.
        Err(_) => roll_back(conn).map(|()| false),
    }
}

fn begin_and_synchronize(conn: &mut PgConnection, sql: &str) -> QueryResult<()> {
    let begun =
        AnsiTransactionManager::begin_transaction_sql(conn, sql).and_then(|()| synchronize(conn).map(drop));
    if begun.is_err() && !is_broken(conn) {
        roll_back(conn)?;
    }
    begun
}
