//! The probe that says what there is: is this the server my caches were filled from, does it still call the same types by
//! the same OIDs, and if not, who is it? One statement, so that no pooler can let two servers answer. Where the answer is
//! most likely "the same", the [`question`](crate::question) comes first.

use diesel::connection::CacheSize;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, Integer, Nullable, Oid, Timestamptz};

use crate::catalog::horizon::Horizon;
use crate::catalog::server::Server;
use crate::catalog::watch::Watch;
use crate::probe::identity::{self, Level};
use crate::probe::look::{push_element_of_this_start, push_is_newest_oid};

/// What a probe found out.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The server and its types are those of the snapshot.
    Same,
    /// The same, but a type or a table was created since somebody last asked.
    Grown,
    /// Something differs; this is the server that answered.
    Other(Server),
}

/// Asks the server about `watch`. One round trip.
pub(crate) fn ask(conn: &mut PgConnection, watch: &Watch, level: Level) -> QueryResult<Answer> {
    match run(conn, Some(watch), level, Text::First)? {
        (_, None) => Ok(Answer::Same),
        (_, Some(fields)) if fields.is_empty() => Ok(Answer::Grown),
        (_, Some(fields)) => Server::from_fields(fields).map(Answer::Other),
    }
}

/// Asks the server who it is. One round trip.
pub(crate) fn identify(conn: &mut PgConnection, level: Level) -> QueryResult<Server> {
    let (_, fields) = run(conn, None, level, Text::First)?;
    Server::from_fields(fields.unwrap_or_default())
}

/// Is the server there? One round trip.
pub(crate) fn ping(conn: &mut PgConnection) -> QueryResult<()> {
    run(conn, None, Level::Mute, Text::First).map(drop)
}

/// Asks the connection whether it keeps prepared statements, for which Diesel has no getter: right after a probe or a
/// ping on that level, it is run again with another text under the same static `QueryId`, and what comes back says
/// which text ran. One round trip.
///
/// Asked anew at every reset, and remembered nowhere: the user may have changed it in between.
pub(crate) fn statement_cache_size(conn: &mut PgConnection, level: Level) -> QueryResult<CacheSize> {
    match run(conn, None, level, Text::Second)? {
        (FIRST_TEXT, _) => Ok(CacheSize::Unbounded),
        _ => Ok(CacheSize::Disabled),
    }
}

type Row = (i32, Option<Vec<String>>);

fn run(conn: &mut PgConnection, watch: Option<&Watch>, level: Level, text: Text) -> QueryResult<Row> {
    match level {
        Level::Identified => Probe::<IDENTIFIED>::about(watch, text).get_result(conn),
        Level::Unidentified => Probe::<UNIDENTIFIED>::about(watch, text).get_result(conn),
        Level::Mute => Probe::<MUTE>::about(watch, text).get_result(conn),
    }
}

const IDENTIFIED: u8 = 0;
const UNIDENTIFIED: u8 = 1;
const MUTE: u8 = 2;

const FIRST_TEXT: i32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    First,
    Second,
}

/// All values are binds: with a static `QueryId`, constants of the first snapshot would stay in the cached statement.
/// Everything but the largest OID is kept to expressions without a plan of their own: a connection without a
/// statement cache has this planned at every checkout.
struct Probe<'a, const LEVEL: u8> {
    text: Text,
    starts: Vec<PgTimestamp>,
    version: i32,
    oids: &'a [u32],
    shown: &'a str,
    settled_oids: Vec<u32>,
}

impl<'a, const LEVEL: u8> Probe<'a, LEVEL> {
    fn about(watch: Option<&'a Watch>, text: Text) -> Self {
        let Some(watch) = watch else {
            return Probe { text, starts: Vec::new(), version: 0, oids: &[], shown: "", settled_oids: Vec::new() };
        };
        let (starts, settled_oids) = watch.by_start(Horizon::settled_oid);
        Probe {
            text,
            starts,
            version: watch.snapshot.server().version(),
            oids: watch.snapshot.watched_oids(),
            shown: watch.snapshot.shown(),
            settled_oids,
        }
    }
}

impl<const LEVEL: u8> Query for Probe<'_, LEVEL> {
    type SqlType = (Integer, Nullable<Array<sql_types::Text>>);
}

impl<const LEVEL: u8> RunQueryDsl<PgConnection> for Probe<'_, LEVEL> {}

impl<const LEVEL: u8> QueryId for Probe<'_, LEVEL> {
    type QueryId = Probe<'static, LEVEL>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const LEVEL: u8> QueryFragment<Pg> for Probe<'_, LEVEL> {
    /// NULL where all is the same, an empty array where the types are the same but `pg_type` has grown, and the
    /// server's identity where it is another one or its types are.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("/* diesel-postgres-hot-upgrade: probe */ SELECT ");
        out.push_sql(if self.text == Text::First { "1, " } else { "2, " });
        match LEVEL {
            IDENTIFIED => {
                out.push_sql("CASE WHEN (pg_catalog.pg_postmaster_start_time() OPERATOR(pg_catalog.=) ANY (");
                out.push_bind_param::<Array<Timestamptz>, _>(&self.starts)?;
                out.push_sql(")");
                self.push_comparison_of_types(&mut out, Level::Identified)
            }
            UNIDENTIFIED => {
                out.push_sql("CASE WHEN (pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.=) ");
                out.push_bind_param::<Integer, _>(&self.version)?;
                self.push_comparison_of_types(&mut out, Level::Unidentified)
            }
            _ => {
                out.push_sql("NULL::pg_catalog.text[]");
                Ok(())
            }
        }
    }
}

impl<const LEVEL: u8> Probe<'_, LEVEL> {
    /// A type's name as `regtype` shows it changes with a rename, a re-creation (a bare number), `SET SCHEMA`, and
    /// where another type shadows it in the search path (it is shown with its schema).
    fn push_comparison_of_types<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>, level: Level) -> QueryResult<()> {
        out.push_sql(" AND pg_catalog.concat(pg_catalog.current_database(), ");
        out.push_bind_param::<Array<Oid>, _>(self.oids)?;
        out.push_sql("::pg_catalog.regtype[]) OPERATOR(pg_catalog.=) ");
        out.push_bind_param::<sql_types::Text, _>(self.shown)?;
        // NULL anywhere is "not the same".
        out.push_sql(") IS NOT TRUE THEN ");
        out.push_sql(identity::identity_fields(level));
        out.push_sql(" WHEN (");
        push_is_newest_oid(out, |out| push_element_of_this_start(out, &self.settled_oids, &self.starts, level))?;
        out.push_sql(") IS NOT TRUE THEN '{}'::pg_catalog.text[] END");
        Ok(())
    }
}
