//! `BEGIN` and the probe in one round trip. A pooler pins the server connection to the transaction, so what the probe
//! says of the server holds until `COMMIT`.

use std::borrow::Cow;

use diesel::connection::AnsiTransactionManager;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Text;

use crate::rollback::roll_back;
use crate::server::{PgStart, Server};
use crate::snapshot::Snapshot;
use crate::state::is_broken;
use crate::stats::COUNTERS;
use crate::synchronize::{known_watch, synchronize};
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
    synchronize(conn)?;
    learn_names(conn);
    if begin_and_ask(conn, sql)? {
        return Ok(());
    }
    begin_and_synchronize(conn, sql)
}

/// Begins a transaction if the caches agree with the server that answers. `false` if they do not, or it can't be asked.
fn begin_and_ask(conn: &mut PgConnection, sql: &str) -> QueryResult<bool> {
    let Some(question) = known_watch(conn).as_deref().and_then(question) else {
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

/// The probe as text: several commands in one message can have no binds. It returns a row if `watch` holds, and fails
/// otherwise, which is all that Diesel shows of such a message's result. Nothing in it is anybody's text: OIDs, numbers
/// and a hash.
///
/// It does not look for types that are in nobody's watch. Where the server tells when it started, those can't be of
/// another server; and where one of them moves, statements fail, and the transaction is healed. `None` elsewhere.
fn question(watch: &Watch) -> Option<String> {
    let snapshot = &watch.snapshot;
    let hash = snapshot.hashed_names().filter(|_| snapshot.server().is_identified())?;
    let starts = joined(watch.holds.iter().filter_map(|(started, _)| *started).map(timestamptz));
    let oids = joined(snapshot.watched_oids().iter());
    let (before, after) = hash_function(snapshot.server());
    // A cast that fails would be simpler, but anybody may have defined another one.
    Some(format!(
        "/* diesel-postgres-hot-upgrade: probe */ SELECT CASE \
         WHEN pg_catalog.pg_postmaster_start_time() OPERATOR(pg_catalog.=) ANY (ARRAY[{starts}]) AND {before}\
         pg_catalog.concat(pg_catalog.current_database(), '{{{oids}}}'::pg_catalog.oid[]::pg_catalog.regtype[])\
         {after} OPERATOR(pg_catalog.=) '{hash}' THEN '' ELSE pg_catalog.current_setting(\
         'diesel-postgres-hot-upgrade begins this transaction anew, for other types or another server') END"
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
    let is_to_learn = |snapshot: &Snapshot| snapshot.server().is_identified() && snapshot.hashed_names().is_none();
    let Some(watch) = known_watch(conn).filter(|watch| is_to_learn(&watch.snapshot)) else {
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
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use super::*;
    use crate::horizon::Horizon;
    use crate::horizon::tests::sighting;
    use crate::server::tests::server;
    use crate::watch::SnapshotId;

    fn watch(server: Server) -> Watch {
        let hold = (server.started, Horizon::first(&sighting(20_000, 700, 700)));
        let snapshot = Snapshot::new(server, Vec::new(), "{}".into());
        snapshot.set_hashed_names("c0ffee".into());
        Watch {
            id: SnapshotId(NonZeroU64::MIN),
            snapshot: Arc::new(snapshot),
            holds: vec![hold],
            is_private: false,
        }
    }

    #[test]
    fn a_server_that_tells_no_start_is_not_asked_in_passing() {
        assert!(question(&watch(server(7, 1, 120_022))).is_some());
        let mut unidentified = server(7, 1, 120_022);
        unidentified.started = None;
        assert_eq!(question(&watch(unidentified)), None, "its types that nobody watches may be another server's");
    }

    #[test]
    fn a_start_is_written_to_the_microsecond() {
        assert_eq!(timestamptz(0), "pg_catalog.to_timestamp(946684800.000000)");
        assert_eq!(timestamptz(848_693_014_727_978), "pg_catalog.to_timestamp(1795377814.727978)");
        assert_eq!(timestamptz(-1), "pg_catalog.to_timestamp(946684799.999999)");
    }
}
