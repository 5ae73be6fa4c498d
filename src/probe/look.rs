//! The statement that looks for new types, and the SQL that it shares with the others.

use std::sync::Arc;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Oid, Text, Timestamptz};

use crate::catalog::horizon::Sighting;
use crate::catalog::server::Server;
use crate::catalog::tracked::{Tracked, tracked};
use crate::catalog::watch::Watch;
use crate::probe::identity::{self, Level};

/// Looks at a server's types and transactions. One round trip, in milliseconds where there are thousands of tables.
pub(crate) fn look(
    conn: &mut PgConnection,
    watch: &Watch,
    level: Level,
    in_transaction: bool,
) -> QueryResult<(Sighting, Server)> {
    let (starts, newest_oids) = watch.by_start(|horizon| horizon.newest_oid);
    let look = Look { starts, newest_oids, level, in_transaction, tracked: tracked() };
    let (sighting, server) = look.get_result::<(SightingRow, Vec<String>)>(conn)?;
    Ok((sighting.into(), Server::from_fields(server)?))
}

/// SQL that is true where the largest OID is the one that `push_oid` pushes. A smaller one is something to look at as
/// well: it is another database's, whose types nobody watches, if two of the same template have changed their names.
///
/// With `ORDER BY`, it has the same plan for every OID, so the server keeps it; the condition spares it the smaller ones of
/// that page.
pub(crate) fn push_is_newest_oid<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    push_oid: impl Fn(&mut AstPass<'_, 'b, Pg>) -> QueryResult<()>,
) -> QueryResult<()> {
    out.push_sql("(SELECT oid FROM pg_catalog.pg_type WHERE oid OPERATOR(pg_catalog.>=) ");
    push_oid(out)?;
    out.push_sql(" ORDER BY oid DESC LIMIT 1) OPERATOR(pg_catalog.=) ");
    push_oid(out)
}

/// The element of an array with one for each start, that belongs to the server that answers.
pub(crate) fn push_element_of_this_start<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    oids: &'b Vec<u32>,
    starts: &'b Vec<PgTimestamp>,
    level: Level,
) -> QueryResult<()> {
    out.push_sql("(");
    out.push_bind_param::<Array<Oid>, _>(oids)?;
    if level == Level::Identified {
        out.push_sql(")[pg_catalog.array_position(");
        out.push_bind_param::<Array<Timestamptz>, _>(starts)?;
        out.push_sql(", pg_catalog.pg_postmaster_start_time())]");
    } else {
        out.push_sql(")[1]");
    }
    Ok(())
}

/// The beginning of the CTE `types`, those that are watched: base types, domains, enums, ranges, multiranges and
/// stand-alone composites.
///
/// Not those up to OID 16383, which come with the server; not arrays, whose OID rides along as `typarray`, nor domains
/// over arrays, whose own name PostgreSQL shows only from 14 on; not the row types of tables; and not temporary types,
/// which no other session can use.
const TYPES: &str = "WITH types AS (\
     SELECT t.oid, t.typarray, n.nspname, t.typname, \
     coalesce(pg_catalog.pg_type_is_visible(t.oid), false) AS visible \
     FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
     WHERE t.oid OPERATOR(pg_catalog.>) 16383::pg_catalog.oid \
     AND n.nspname OPERATOR(pg_catalog.!~) '^pg_temp_'::pg_catalog.text \
     AND (t.typtype OPERATOR(pg_catalog.=) ANY ('{b,d,e,m,r}'::pg_catalog.\"char\"[]) \
     AND NOT (t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
     AND t.typlen OPERATOR(pg_catalog.=) (-1)::pg_catalog.int2) \
     OR t.typtype OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\" AND EXISTS (\
     SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) t.typrelid \
     AND c.relkind OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\"))";

/// The CTE `types`, of which `narrow` may say more.
pub(crate) fn push_types<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    tracked: Option<&'b Tracked>,
    narrow: impl FnOnce(&mut AstPass<'_, 'b, Pg>) -> QueryResult<()>,
) -> QueryResult<()> {
    out.push_sql(TYPES);
    if let Some(Tracked { names, .. }) = tracked {
        // As names: the server cuts off what is too long for one, wherever a name is looked up.
        out.push_sql(" AND t.typname = ANY (");
        out.push_bind_param::<Array<Text>, _>(names)?;
        out.push_sql("::pg_catalog.name[])");
    }
    narrow(out)?;
    out.push_sql(") ");
    Ok(())
}

/// The columns of a [`SightingRow`], but for the last.
pub(crate) const SIGHTING: &str = "(SELECT pg_catalog.count(*) FROM types)\
     , (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type)\
     , pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()), ";

/// The last column. A snapshot's `xmax` would not do: transactions above it may be open already. A standby has no
/// other. It draws a transaction's id, so it is not asked inside a transaction of the user's.
pub(crate) const NEXT_XID: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() \
     THEN pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) ELSE pg_catalog.txid_current() END";

/// The last column where it is not asked: [`NO_XID`].
pub(crate) const NO_NEXT_XID: &str = "9223372036854775807::pg_catalog.int8";

pub(crate) type SightingSqlType = (BigInt, Oid, BigInt, BigInt);
pub(crate) type SightingRow = (i64, u32, i64, i64);

impl From<SightingRow> for Sighting {
    fn from(row: SightingRow) -> Self {
        let (types, newest_oid, oldest_open_xid, next_xid) = row;
        Sighting { types, newest_oid, oldest_open_xid, next_xid }
    }
}

struct Look {
    starts: Vec<PgTimestamp>,
    newest_oids: Vec<u32>,
    level: Level,
    in_transaction: bool,
    tracked: Option<Arc<Tracked>>,
}

impl Query for Look {
    type SqlType = (SightingSqlType, Array<Text>);
}

impl RunQueryDsl<PgConnection> for Look {}

impl QueryId for Look {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Look {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: look */ ");
        push_types(&mut out, self.tracked.as_deref(), |_| Ok(()))?;
        out.push_sql("SELECT ");
        out.push_sql(SIGHTING);
        if self.in_transaction {
            out.push_sql(NO_NEXT_XID);
        } else {
            // Once for each growth: the looks that only wait for open transactions draw nothing.
            out.push_sql("CASE WHEN (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type) OPERATOR(pg_catalog.=) ");
            push_element_of_this_start(&mut out, &self.newest_oids, &self.starts, self.level)?;
            out.push_sql(" THEN ");
            out.push_sql(NO_NEXT_XID);
            out.push_sql(" ELSE ");
            out.push_sql(NEXT_XID);
            out.push_sql(" END");
        }
        out.push_sql(", ");
        out.push_sql(identity::identity_fields(self.level));
        Ok(())
    }
}
