//! The question of every checkout: is this still the server my caches were filled from, and does it still call the
//! same types by the same OIDs? One statement, one round trip, in place of the stock `SELECT 1`.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Integer, Nullable, Oid, Text, Timestamptz};

use crate::horizon;
use crate::oid_table::{OID_TABLE, Watch};
use crate::server::{self, Server};
use crate::stats::COUNTERS;

/// What a probe found out.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The server and its types are those of the snapshot.
    Same,
    /// Something differs; this is the server that answered.
    Other(Server),
}

/// Asks the server about `watch`. Without one the answer is never [`Answer::Same`].
///
/// One round trip; a second one where a type or a table was created since somebody last asked.
pub(crate) fn ask(conn: &mut PgConnection, watch: Option<&Watch>, identified: bool) -> QueryResult<Answer> {
    COUNTERS.probes.increment();
    let answer: Option<Vec<String>> = if identified {
        Probe::<true>::about(watch).get_result(conn)?
    } else {
        Probe::<false>::about(watch).get_result(conn)?
    };
    match (answer, watch) {
        (None, _) => Ok(Answer::Same),
        (Some(fields), Some(watch)) if fields.is_empty() => {
            let newer = horizon::look(conn, watch.horizon, identified)?;
            if newer.types == watch.horizon.newer_types && watch.holds_on(&newer.server) {
                OID_TABLE.advance(watch.id, newer.newest_oid);
                return Ok(Answer::Same);
            }
            Ok(Answer::Other(newer.server))
        }
        (Some(fields), _) => Server::from_fields(fields).map(Answer::Other),
    }
}

/// `IDENTIFIED`: the role may execute the identity functions. Whether it may is checked when a statement that names
/// them starts, so no `CASE` around the call helps, and it takes two statements.
///
/// All values are binds: with a static `QueryId`, constants of the first snapshot would stay in the cached statement.
/// Everything but the names is kept to expressions without a plan of their own: a connection without a statement
/// cache has this planned at every checkout.
struct Probe<'a, const IDENTIFIED: bool> {
    starts: Vec<PgTimestamp>,
    version: i32,
    oids: &'a [u32],
    names: &'a str,
    newest_oid: u32,
}

impl<'a, const IDENTIFIED: bool> Probe<'a, IDENTIFIED> {
    fn about(watch: Option<&'a Watch>) -> Self {
        match watch {
            Some(watch) => Probe {
                starts: watch.starts.iter().copied().map(PgTimestamp).collect(),
                version: watch.snapshot.server().version(),
                oids: watch.snapshot.watched_oids(),
                names: watch.snapshot.watched_names(),
                newest_oid: watch.horizon.newest_oid,
            },
            None => Probe { starts: Vec::new(), version: 0, oids: &[], names: "", newest_oid: 0 },
        }
    }
}

impl<const IDENTIFIED: bool> Query for Probe<'_, IDENTIFIED> {
    type SqlType = Nullable<Array<Text>>;
}

impl<const IDENTIFIED: bool> RunQueryDsl<PgConnection> for Probe<'_, IDENTIFIED> {}

impl<const IDENTIFIED: bool> QueryId for Probe<'_, IDENTIFIED> {
    type QueryId = Probe<'static, IDENTIFIED>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const IDENTIFIED: bool> QueryFragment<Pg> for Probe<'_, IDENTIFIED> {
    /// NULL where all is the same, an empty array where the types are the same but `pg_type` has grown, and the
    /// server's identity where it is another one or its types are.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("/* diesel-postgres-hot-upgrade: probe */ SELECT CASE WHEN NOT (");
        if IDENTIFIED {
            out.push_sql("pg_catalog.pg_postmaster_start_time() = ANY (");
            out.push_bind_param::<Array<Timestamptz>, _>(&self.starts)?;
            out.push_sql(")");
        } else {
            out.push_sql("pg_catalog.current_setting('server_version_num')::pg_catalog.int4 = ");
            out.push_bind_param::<Integer, _>(&self.version)?;
        }
        // A type's name as `regtype` shows it changes with a rename, a re-creation (a bare number), `SET SCHEMA`, and
        // where another type shadows it in the search path (it is shown with its schema).
        out.push_sql(" AND ");
        out.push_bind_param::<Array<Oid>, _>(self.oids)?;
        out.push_sql("::pg_catalog.regtype[]::pg_catalog.text = ");
        out.push_bind_param::<Text, _>(self.names)?;
        out.push_sql(") THEN ");
        out.push_sql(server::identity_fields(IDENTIFIED));
        out.push_sql(" WHEN (SELECT oid FROM pg_catalog.pg_type ORDER BY oid DESC LIMIT 1) <> ");
        out.push_bind_param::<Oid, _>(&self.newest_oid)?;
        out.push_sql(" THEN '{}'::pg_catalog.text[] END");
        Ok(())
    }
}
