//! "No type was created since": a type that is in nobody's watch, used and then re-created, would go unnoticed.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Oid, Text};

use crate::server::{self, Level, Server};

/// Up to which OID no type can appear any more that is not watched already.
///
/// The largest OID of `pg_type` alone doesn't tell: a transaction that is still open may hold a smaller one that it
/// drew before. So the horizon is settled only when all transactions have ended that were open when that largest OID
/// was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    /// While this is the largest OID there is, there is nothing new. 0, which no type has, where that can't be said.
    pub(crate) settled_oid: u32,
    newest_oid: u32,
    /// The next transaction's id when `newest_oid` was first seen.
    next_xid: i64,
}

/// What a server shows of its types and transactions at one moment. All types are counted, not those above some OID:
/// the count is exact also where the OID counter has wrapped around.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    /// How many types there are that are watched.
    pub(crate) types: i64,
    newest_oid: u32,
    oldest_open_xid: i64,
    next_xid: i64,
    /// The OID counter may stand below the largest OID: new types may get a smaller one.
    counter_is_behind: bool,
}

impl Horizon {
    pub(crate) fn first(sighting: &Sighting) -> Self {
        Horizon { settled_oid: 0, newest_oid: 0, next_xid: i64::MAX }.after(sighting)
    }

    /// This horizon, after another look that found nothing new.
    pub(crate) fn after(self, sighting: &Sighting) -> Self {
        let has_grown = self.newest_oid != sighting.newest_oid;
        let next_xid = if has_grown { sighting.next_xid } else { self.next_xid };
        let is_settled = sighting.oldest_open_xid >= next_xid && !sighting.counter_is_behind;
        let settled_oid = if is_settled { sighting.newest_oid } else { 0 };
        Horizon { settled_oid, newest_oid: sighting.newest_oid, next_xid }
    }
}

/// Looks at a server's types and transactions. One round trip, in milliseconds where there are thousands of tables.
pub(crate) fn look(conn: &mut PgConnection, level: Level) -> QueryResult<(Sighting, Server)> {
    let (sighting, server) = Look(level).get_result::<(SightingRow, Vec<String>)>(conn)?;
    Ok((sighting.into(), Server::from_fields(server)?))
}

/// The types that are watched, as the CTE `types`: base types, domains, enums, ranges, multiranges and stand-alone
/// composites.
///
/// Not those up to OID 16383, which come with the server; not arrays, whose OID rides along as `typarray`, nor domains
/// over arrays, whose own name PostgreSQL shows only from 14 on; not the row types of tables; and not temporary types,
/// which no other session can use.
pub(crate) const TYPES: &str = "WITH types AS (\
     SELECT t.oid, t.typarray, n.nspname, t.typname, \
     coalesce(pg_catalog.pg_type_is_visible(t.oid), false) AS visible \
     FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
     WHERE t.oid > 16383 AND n.nspname !~ '^pg_temp_' \
     AND (t.typtype IN ('b', 'd', 'e', 'm', 'r') AND NOT (t.typelem <> 0 AND t.typlen = -1) \
     OR t.typtype = 'c' AND EXISTS (\
     SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))) ";

/// The columns of a [`SightingRow`], but for the last.
pub(crate) const SIGHTING: &str = "(SELECT pg_catalog.count(*) FROM types)\
     , (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type)\
     , pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())\
     , pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()), ";

/// The control file has the counter as of the last checkpoint, and some way ahead of it.
pub(crate) fn counter_is_behind(level: Level) -> &'static str {
    if level == Level::Identified {
        "(SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type)::pg_catalog.int8 \
         >= (pg_catalog.pg_control_checkpoint()).next_oid::pg_catalog.int8"
    } else {
        "true"
    }
}

pub(crate) type SightingSqlType = (BigInt, Oid, BigInt, BigInt, Bool);
pub(crate) type SightingRow = (i64, u32, i64, i64, bool);

impl From<SightingRow> for Sighting {
    fn from(row: SightingRow) -> Self {
        let (types, newest_oid, oldest_open_xid, next_xid, counter_is_behind) = row;
        Sighting { types, newest_oid, oldest_open_xid, next_xid, counter_is_behind }
    }
}

struct Look(Level);

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
        out.push_sql(TYPES);
        out.push_sql("SELECT ");
        out.push_sql(SIGHTING);
        out.push_sql(counter_is_behind(self.0));
        out.push_sql(", ");
        out.push_sql(server::identity_fields(self.0));
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sighting(newest_oid: u32, oldest_open_xid: i64, next_xid: i64) -> Sighting {
        Sighting { types: 1, newest_oid, oldest_open_xid, next_xid, counter_is_behind: false }
    }

    #[test]
    fn with_no_transaction_open_a_horizon_is_settled_at_once() {
        assert_eq!(Horizon::first(&sighting(20_000, 700, 700)).settled_oid, 20_000);
    }

    #[test]
    fn an_open_transaction_may_hold_a_smaller_oid() {
        let horizon = Horizon::first(&sighting(20_000, 650, 700));
        assert_eq!(horizon.settled_oid, 0);
        let horizon = horizon.after(&sighting(20_000, 699, 800));
        assert_eq!(horizon.settled_oid, 0, "one of the first look is still open");
        let horizon = horizon.after(&sighting(20_000, 700, 900));
        assert_eq!(horizon.settled_oid, 20_000, "those that are open now began later, and draw larger OIDs");
    }

    #[test]
    fn growth_begins_the_wait_anew() {
        let horizon = Horizon::first(&sighting(20_000, 650, 700)).after(&sighting(20_010, 750, 800));
        assert_eq!(horizon.settled_oid, 0);
        assert_eq!(horizon.after(&sighting(20_010, 800, 900)).settled_oid, 20_010);
    }

    #[test]
    fn a_counter_that_wrapped_around_is_never_settled() {
        let behind = Sighting { counter_is_behind: true, ..sighting(20_000, 700, 700) };
        assert_eq!(Horizon::first(&behind).settled_oid, 0);
        assert_eq!(Horizon::first(&behind).after(&sighting(20_000, 700, 700)).settled_oid, 20_000);
    }
}
