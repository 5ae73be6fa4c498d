//! `BEGIN` and the probe in one round trip. A pooler pins the server connection to the transaction, so what the probe
//! says of the server holds until `COMMIT`.

use std::borrow::Cow;

use diesel::connection::AnsiTransactionManager;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Text;

use crate::server::{PgStart, Server};
use crate::snapshot::Snapshot;
use crate::state::is_broken;
use crate::stats::COUNTERS;
use crate::synchronize::{known_watch, synchronize};
use crate::transaction::roll_back;
use crate::watch::Watch;

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
///
/// Where something did, it asks once outside a transaction, where it may wait for another connection's catalog load,
/// and once more inside a plain one, where the answer stays true. To roll back and ask again until both agree would
/// never end where two servers alternate.
pub(crate) fn begin(conn: &mut PgConnection, how: &Begin) -> QueryResult<()> {
    let known = known_watch(conn);
    if let Some(before_probe) = &how.before_probe {
        if known.is_none() {
            synchronize(conn)?;
        }
        return begin_and_synchronize(conn, &format!("{}; {before_probe}", how.sql));
    }
    if let Some(question) = known.as_deref().and_then(question) {
        COUNTERS.probes.increment();
        match AnsiTransactionManager::begin_transaction_sql(conn, &format!("{}; {question}", how.sql)) {
            Ok(()) => return Ok(()),
            Err(error) if is_broken(conn) => return Err(error),
            // The server aborted the transaction, of which Diesel doesn't know.
            Err(_) => roll_back(conn)?,
        }
    }
    synchronize(conn)?;
    learn_names(conn);
    begin_and_synchronize(conn, &how.sql)
}

fn begin_and_synchronize(conn: &mut PgConnection, sql: &str) -> QueryResult<()> {
    let begun =
        AnsiTransactionManager::begin_transaction_sql(conn, sql).and_then(|()| synchronize(conn).map(drop));
    if begun.is_err() && !is_broken(conn) {
        roll_back(conn)?;
    }
    begun
}

/// The probe as text: several commands in one message can have no binds. It returns a number if `watch` holds, and fails
/// otherwise, which is all that Diesel shows of such a message's result. Nothing in it is anybody's text: OIDs, numbers
/// and a hash.
///
/// It does not look for types that are in nobody's watch. Those can't be of another server, and where one of them moves,
/// statements fail, and the transaction is healed.
fn question(watch: &Watch) -> Option<String> {
    let snapshot = &watch.snapshot;
    let hash = snapshot.hashed_names()?;
    let server = if snapshot.server().is_identified() {
        let starts = watch.holds.iter().filter_map(|(started, _)| *started).map(timestamptz);
        format!("pg_catalog.pg_postmaster_start_time() = ANY (ARRAY[{}])", joined(starts))
    } else {
        format!("pg_catalog.current_setting('server_version_num') = '{}'", snapshot.server().version())
    };
    let (before, after) = hash_function(snapshot.server());
    let oids = joined(snapshot.watched_oids().iter());
    // Of a stable function's text, or it would be cast, and fail, when the statement is planned.
    Some(format!(
        "/* diesel-postgres-hot-upgrade: probe */ SELECT CASE WHEN {server} AND {before}\
         pg_catalog.concat(pg_catalog.current_database(), '{{{oids}}}'::pg_catalog.oid[]::pg_catalog.regtype[])\
         {after} = '{hash}' THEN 1 ELSE pg_catalog.concat(\
         'diesel-postgres-hot-upgrade begins this transaction anew, for other types or another server: PostgreSQL ', \
         pg_catalog.current_setting('server_version'))::pg_catalog.int4 END"
    ))
}

/// SQL that every `DateStyle` reads alike, and that is computed when the statement is planned. A double holds a time of
/// these centuries to a quarter of a microsecond.
fn timestamptz(start: PgStart) -> String {
    const SECONDS_FROM_1970_TO_2000: i64 = 946_684_800;
    let (seconds, microseconds) = (start.div_euclid(1_000_000), start.rem_euclid(1_000_000));
    format!("pg_catalog.to_timestamp({}.{microseconds:06})", seconds + SECONDS_FROM_1970_TO_2000)
}

fn joined(numbers: impl Iterator<Item = impl ToString>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

/// Lets the server hash the names that it has to show: once for each snapshot, outside a transaction, which a failure
/// would abort. Without it, transactions begin the long way.
fn learn_names(conn: &mut PgConnection) {
    let Some(watch) = known_watch(conn).filter(|watch| watch.snapshot.hashed_names().is_none()) else {
        return;
    };
    match (HashedNames { snapshot: &watch.snapshot }).get_result::<String>(conn) {
        Ok(hash) if hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => watch.snapshot.set_hashed_names(hash),
        Ok(hash) => log::debug!("the server hashes to {hash:?}"),
        Err(error) => log::debug!("the server does not hash: {error}"),
    }
}

/// SQL before and after what is to be hashed, to hexadecimal digits. PostgreSQL 10 has nothing better; a later one may
/// forbid MD5.
fn hash_function(server: &Server) -> (&'static str, &'static str) {
    if server.version() >= 110_000 {
        ("pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(", ", 'UTF8')), 'hex')")
    } else {
        ("pg_catalog.md5(pg_catalog.convert_to(", ", 'UTF8'))")
    }
}

struct HashedNames<'a> {
    snapshot: &'a Snapshot,
}

impl Query for HashedNames<'_> {
    type SqlType = Text;
}

impl RunQueryDsl<PgConnection> for HashedNames<'_> {}

impl QueryId for HashedNames<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for HashedNames<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        let (before, after) = hash_function(self.snapshot.server());
        out.push_sql("/* diesel-postgres-hot-upgrade: hash */ SELECT ");
        out.push_sql(before);
        out.push_sql("pg_catalog.concat(");
        out.push_bind_param::<Text, _>(self.snapshot.server().database())?;
        out.push_sql("::pg_catalog.text, ");
        out.push_bind_param::<Text, _>(self.snapshot.watched_names())?;
        out.push_sql("::pg_catalog.text)");
        out.push_sql(after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_written_to_the_microsecond() {
        assert_eq!(timestamptz(0), "pg_catalog.to_timestamp(946684800.000000)");
        assert_eq!(timestamptz(848_693_014_727_978), "pg_catalog.to_timestamp(1795377814.727978)");
        assert_eq!(timestamptz(-1), "pg_catalog.to_timestamp(946684799.999999)");
    }
}
