//! The question of every checkout: is this still the server my caches were filled from, and does it still call the
//! same types by the same OIDs? One statement, one round trip, in place of the stock `SELECT 1`.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Oid, Text, Timestamptz};

use crate::oid_table::Watch;
use crate::server::{
    DATABASE, IdentityRow, IdentitySqlType, NO_IDENTITY, SCHEMAS, START_TIME, SYSTEM_IDENTIFIER, Server, VERSION,
};
use crate::snapshot::TYPES_NEWER_THAN;
use crate::stats::COUNTERS;

/// What a probe found out.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The server, its types and the schemas that names are looked up in are those of the snapshot.
    Same,
    /// Something differs; this is the server that answered.
    Other(Server),
}

/// Asks the server about `watch`. Without one the answer is never [`Answer::Same`].
pub(crate) fn ask(conn: &mut PgConnection, watch: Option<&Watch>, identified: bool) -> QueryResult<Answer> {
    COUNTERS.probes.increment();
    if identified { Probe::<true>::about(watch).ask(conn) } else { Probe::<false>::about(watch).ask(conn) }
}

/// `IDENTIFIED`: the role may execute the identity functions. Whether it may is checked when a statement that names
/// them starts, so no `CASE` around the call helps, and it takes two statements.
///
/// All values are binds: with a static `QueryId`, constants of the first snapshot would stay in the cached statement.
struct Probe<'a, const IDENTIFIED: bool> {
    starts: Vec<PgTimestamp>,
    version: i32,
    database: &'a str,
    schemas: &'a [String],
    oids: &'a [u32],
    names: &'a [String],
    newest_oid: u32,
    newer_types: i64,
}

impl<'a, const IDENTIFIED: bool> Probe<'a, IDENTIFIED> {
    fn about(watch: Option<&'a Watch>) -> Self {
        match watch {
            Some(watch) => Probe {
                starts: watch.starts.iter().copied().map(PgTimestamp).collect(),
                version: watch.snapshot.server().version(),
                database: watch.snapshot.server().database(),
                schemas: watch.snapshot.server().schemas(),
                oids: watch.snapshot.watched_oids(),
                names: watch.snapshot.watched_names(),
                newest_oid: watch.horizon.newest_oid,
                newer_types: watch.horizon.newer_types,
            },
            None => Probe {
                starts: Vec::new(),
                version: 0,
                database: "",
                schemas: &[],
                oids: &[],
                names: &[],
                newest_oid: 0,
                newer_types: 0,
            },
        }
    }

    fn ask(self, conn: &mut PgConnection) -> QueryResult<Answer> {
        let (same, identity) = self.get_result::<(bool, IdentityRow)>(conn)?;
        Ok(if same { Answer::Same } else { Answer::Other(Server::from_row(identity)) })
    }
}

impl<const IDENTIFIED: bool> Query for Probe<'_, IDENTIFIED> {
    type SqlType = (Bool, IdentitySqlType);
}

impl<const IDENTIFIED: bool> RunQueryDsl<PgConnection> for Probe<'_, IDENTIFIED> {}

impl<const IDENTIFIED: bool> QueryId for Probe<'_, IDENTIFIED> {
    type QueryId = Probe<'static, IDENTIFIED>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const IDENTIFIED: bool> QueryFragment<Pg> for Probe<'_, IDENTIFIED> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("/* diesel-postgres-hot-upgrade: probe */ SELECT probe.same, ");
        if IDENTIFIED {
            out.push_sql("CASE WHEN NOT probe.same THEN ");
            out.push_sql(SYSTEM_IDENTIFIER);
            out.push_sql(" END, ");
            out.push_sql(START_TIME);
        } else {
            out.push_sql(NO_IDENTITY);
        }
        for column in [VERSION, DATABASE, SCHEMAS] {
            out.push_sql(", ");
            out.push_sql(column);
        }
        out.push_sql(" FROM (SELECT ");
        self.push_same_server(&mut out)?;
        self.push_same_types(&mut out)?;
        // OFFSET 0: evaluated once, not once for each column that reads it.
        out.push_sql(" AS same OFFSET 0) probe");
        Ok(())
    }
}

impl<const IDENTIFIED: bool> Probe<'_, IDENTIFIED> {
    fn push_same_server<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if IDENTIFIED {
            out.push_sql(START_TIME);
            out.push_sql(" = ANY (");
            out.push_bind_param::<Array<Timestamptz>, _>(&self.starts)?;
            out.push_sql(")");
        } else {
            out.push_sql(VERSION);
            out.push_sql(" = ");
            out.push_bind_param::<Integer, _>(&self.version)?;
        }
        out.push_sql(" AND ");
        out.push_sql(DATABASE);
        out.push_sql(" = ");
        out.push_bind_param::<Text, _>(self.database)?;
        out.push_sql(" AND ");
        out.push_sql(SCHEMAS);
        out.push_sql(" = ");
        out.push_bind_param::<Array<Text>, _>(self.schemas)
    }

    /// `format_type` sees renames, re-creations (`???`), `SET SCHEMA`, and a type that is newly shadowed in the
    /// search path (its name comes back with its schema). The rest sees types created since.
    fn push_same_types<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(" AND ARRAY(SELECT pg_catalog.format_type(oid, NULL) FROM pg_catalog.unnest(");
        out.push_bind_param::<Array<Oid>, _>(self.oids)?;
        out.push_sql(") oid) = ");
        out.push_bind_param::<Array<Text>, _>(self.names)?;
        out.push_sql(" AND ((SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type) = ");
        out.push_bind_param::<Oid, _>(&self.newest_oid)?;
        out.push_sql(" OR ");
        // (SELECT $n): a bare parameter would make each plan look better than the generic one, and be planned anew
        // at every checkout.
        out.push_sql(TYPES_NEWER_THAN);
        out.push_sql("(SELECT ");
        out.push_bind_param::<Oid, _>(&self.newest_oid)?;
        out.push_sql(")) = ");
        out.push_bind_param::<BigInt, _>(&self.newer_types)?;
        out.push_sql(")");
        Ok(())
    }
}
