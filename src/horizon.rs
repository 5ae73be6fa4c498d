//! "No type was created since": a type that is in nobody's watch, used and then re-created, would go unnoticed.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Oid, Text};

use crate::server::{self, Level, Server};

/// Above the OID `floor`, the server has `newer_types` types of the watched kinds.
///
/// As a rule `floor` is the largest OID there was, and `newer_types` is 0. Where the OID counter has wrapped around,
/// new types get small OIDs: there `floor` is the last built-in OID, and `newer_types` counts all types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) floor: u32,
    pub(crate) newer_types: i64,
    /// While `pg_type` has no larger OID than this, there is nothing to count; 0 where that says nothing. Tables have
    /// a type too, so it moves on with each of them.
    pub(crate) newest_oid: u32,
}

/// What the server has above a horizon.
#[derive(Debug)]
pub(crate) struct Newer {
    pub(crate) types: i64,
    pub(crate) newest_oid: u32,
    pub(crate) server: Server,
}

/// Counts the types above `horizon`. One round trip.
pub(crate) fn look(conn: &mut PgConnection, horizon: Horizon, level: Level) -> QueryResult<Newer> {
    let (types, newest_oid, fields) =
        Count { floor: horizon.floor, level }.get_result::<(i64, u32, Vec<String>)>(conn)?;
    // With a floor of its own, the largest OID says nothing of what was created below it.
    let newest_oid = if horizon.newest_oid == 0 { 0 } else { newest_oid };
    Ok(Newer { types, newest_oid, server: Server::from_fields(fields)? })
}

/// The kinds of types that are watched: base types, domains, enums, ranges, multiranges and stand-alone composites;
/// not arrays, and not the row types of tables. Views and partitioned tables have no file either, and count along:
/// creating one costs a catalog load, which finds nothing new.
pub(crate) const COUNT_ABOVE: &str = "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_type \
     WHERE (typtype IN ('b', 'd', 'e', 'm', 'r') AND typinput <> 'pg_catalog.array_in'::pg_catalog.regproc \
     OR typtype = 'c' AND pg_catalog.pg_relation_filenode(typrelid) IS NULL) AND oid > ";

struct Count {
    floor: u32,
    level: Level,
}

impl Query for Count {
    type SqlType = (BigInt, Oid, Array<Text>);
}

impl RunQueryDsl<PgConnection> for Count {}

impl QueryId for Count {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Count {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: newer types */ SELECT ");
        out.push_sql(COUNT_ABOVE);
        out.push_bind_param::<Oid, _>(&self.floor)?;
        out.push_sql("), (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type), ");
        out.push_sql(server::identity_fields(self.level));
        Ok(())
    }
}
