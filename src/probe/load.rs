//! The statement that reads a server's types.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Oid, Text, Timestamptz};

use crate::catalog::horizon::Horizon;
use crate::catalog::server::{PgStart, Server};
use crate::catalog::snapshot::{PgType, Snapshot};
use crate::catalog::tracked::{Tracked, tracked};
use crate::probe::identity::{self, Level};
use crate::probe::look::{NEXT_XID, NO_NEXT_XID, SIGHTING, SightingRow, SightingSqlType, push_types};
use crate::report::stats::COUNTERS;

/// What was read from a server.
pub(crate) struct Loaded {
    pub(crate) snapshot: Snapshot,
    pub(crate) horizon: Horizon,
    /// Read inside a transaction that has written something: its own DDL, maybe, which nobody else can see.
    pub(crate) is_own: bool,
}

/// Reads the server's identity and its types. One round trip. `None` where another session changed a type just then,
/// another thread what is tracked, or where one of the `others` answers: two servers take turns, and the catalog of that
/// one is known, so it is not read.
pub(crate) fn load(
    conn: &mut PgConnection,
    level: Level,
    in_transaction: bool,
    others: &BTreeSet<PgStart>,
) -> QueryResult<Option<Loaded>> {
    let tracked = tracked();
    let other_starts = others.iter().map(|started| PgTimestamp(*started)).collect();
    let load = Load { level, in_transaction, tracked: tracked.clone(), other_starts };
    let (has_written, server, types, names, sighting) = load.get_result::<Row>(conn)?;
    let server = Server::from_fields(server)?;
    if server.started.is_some_and(|started| others.contains(&started)) {
        return Ok(None);
    }
    COUNTERS.catalog_loads.increment();
    let (watched_names, consistent) = names;
    if !consistent || tracked != crate::catalog::tracked::tracked() {
        return Ok(None);
    }
    let (oids, array_oids, schemas, names, visible) = types;
    let types = oids
        .into_iter()
        .zip(array_oids)
        .zip(schemas.into_iter().zip(names))
        .zip(visible)
        .map(|(((oid, array_oid), (schema, name)), visible)| PgType { oid, array_oid, schema, name, visible })
        .collect::<Vec<_>>();
    if tracked.is_none() && types.len() > MANY_TYPES {
        warn_of_many(types.len());
    }
    let snapshot = Snapshot::new(server, types, &watched_names, tracked.as_deref());
    let horizon = Horizon::first(&sighting.into());
    Ok(Some(Loaded { snapshot, horizon, is_own: has_written }))
}

/// More watched types make a probe noticeably slower than a ping.
const MANY_TYPES: usize = 1_000;

fn warn_of_many(types: usize) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // The log is user code: it is called with nothing locked.
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!(
            "a database has {types} user-defined types, and each checkout compares them all, which takes its server \
             some {} µs: call `track` for those that the application binds",
            types / 2
        );
    }
}

const TYPE_ARRAYS: &str = ", ARRAY(SELECT oid FROM types ORDER BY oid)\
     , ARRAY(SELECT typarray FROM types ORDER BY oid)\
     , ARRAY(SELECT nspname::pg_catalog.text FROM types ORDER BY oid)\
     , ARRAY(SELECT typname::pg_catalog.text FROM types ORDER BY oid)\
     , ARRAY(SELECT visible FROM types ORDER BY oid)";

/// The rows are as of the statement's beginning, but `regtype` shows this moment: where a type was renamed or dropped
/// in between, the two disagree.
const CONSISTENT: &str = "ARRAY(SELECT oid FROM types ORDER BY oid)::pg_catalog.regtype[]::pg_catalog.text \
     OPERATOR(pg_catalog.=) ARRAY(SELECT pg_catalog.concat(CASE WHEN visible THEN '' \
     ELSE pg_catalog.concat(pg_catalog.quote_ident(nspname::pg_catalog.text), '.') END, \
     pg_catalog.quote_ident(typname::pg_catalog.text)) FROM types ORDER BY oid)::pg_catalog.text";

const NAMES: &str = "ARRAY(SELECT oid FROM types ORDER BY oid)::pg_catalog.regtype[]::pg_catalog.text";

const NAMES_WITH_ARRAYS: &str = "(ARRAY(SELECT oid FROM types ORDER BY oid) \
     OPERATOR(pg_catalog.||) ARRAY(SELECT typarray FROM types \
     WHERE typarray OPERATOR(pg_catalog.<>) 0::pg_catalog.oid ORDER BY oid))::pg_catalog.regtype[]::pg_catalog.text";

struct Load {
    level: Level,
    in_transaction: bool,
    tracked: Option<Arc<Tracked>>,
    other_starts: Vec<PgTimestamp>,
}

type TypeArrays = (Vec<u32>, Vec<u32>, Vec<String>, Vec<String>, Vec<bool>);
type Row = (bool, Vec<String>, TypeArrays, (String, bool), SightingRow);

impl Query for Load {
    type SqlType = (
        Bool,
        Array<Text>,
        (Array<Oid>, Array<Oid>, Array<Text>, Array<Text>, Array<Bool>),
        (Text, Bool),
        SightingSqlType,
    );
}

impl RunQueryDsl<PgConnection> for Load {}

impl QueryId for Load {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Load {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Once per process and change: not worth a prepared statement on the server.
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: load */ ");
        push_types(&mut out, self.tracked.as_deref(), |out| {
            if self.level == Level::Identified {
                out.push_sql(" AND pg_catalog.pg_postmaster_start_time() OPERATOR(pg_catalog.<>) ALL (");
                out.push_bind_param::<Array<Timestamptz>, _>(&self.other_starts)?;
                out.push_sql(")");
            }
            Ok(())
        })?;
        // First, before the last column draws a transaction's id.
        out.push_sql("SELECT pg_catalog.txid_current_if_assigned() IS NOT NULL, ");
        out.push_sql(identity::identity_fields(self.level));
        out.push_sql(TYPE_ARRAYS);
        out.push_sql(", ");
        out.push_sql(if self.level == Level::Identified { NAMES } else { NAMES_WITH_ARRAYS });
        out.push_sql(", ");
        out.push_sql(CONSISTENT);
        out.push_sql(", ");
        out.push_sql(SIGHTING);
        out.push_sql(if self.in_transaction { NO_NEXT_XID } else { NEXT_XID });
        Ok(())
    }
}
