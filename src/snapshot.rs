//! The types of one server, and the statement that reads them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Oid, Text, Timestamptz};

use crate::horizon::{Horizon, NEXT_XID, NO_NEXT_XID, SIGHTING, SightingRow, SightingSqlType, push_types};
use crate::question::joined;
use crate::server::{self, Level, PgStart, Server};
use crate::stats::COUNTERS;
use crate::tracked::{Key, Tracked, tracked};

/// A user-defined type: base, enum, domain, range, multirange or stand-alone composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgType {
    pub(crate) oid: u32,
    /// 0 where the type has no array, as domains before PostgreSQL 11.
    pub(crate) array_oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Does the bare name find this type?
    pub(crate) visible: bool,
}

/// What one server said of itself and its types, in one statement, so that no pooler can let two servers answer.
#[derive(Debug)]
pub(crate) struct Snapshot {
    server: Server,
    types: Vec<PgType>,
    watched_oids: Vec<u32>,
    watched_oids_text: String,
    shown: String,
    has_all_tracked: bool,
    hashed_names: OnceLock<Option<String>>,
}

impl Snapshot {
    pub(crate) fn new(server: Server, types: Vec<PgType>, watched_names: &str, tracked: Option<&Tracked>) -> Self {
        let oids = types.iter().map(|ty| ty.oid);
        let watched_oids: Vec<u32> = if server.is_identified() {
            oids.collect()
        } else {
            // Another server could give a type the same OID and its array another one: with nothing else to tell the
            // two apart, the arrays are watched too.
            oids.chain(types.iter().map(|ty| ty.array_oid).filter(|oid| *oid != 0)).collect()
        };
        let watched_oids_text = format!("{{{}}}", joined(watched_oids.iter()));
        let shown = [server.database(), watched_names].concat();
        let has_all_tracked = tracked.is_some_and(|tracked| tracked.keys.iter().all(|key| finds(&types, key)));
        Snapshot {
            server,
            types,
            watched_oids,
            watched_oids_text,
            shown,
            has_all_tracked,
            hashed_names: OnceLock::new(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn types(&self) -> &[PgType] {
        &self.types
    }

    /// Do both say the same of a server that looks the same?
    pub(crate) fn is_twin_of(&self, other: &Snapshot) -> bool {
        self.server.looks_like(&other.server) && self.types == other.types
    }

    /// The OIDs a probe asks about.
    pub(crate) fn watched_oids(&self) -> &[u32] {
        &self.watched_oids
    }

    /// The same as PostgreSQL's text for an array.
    pub(crate) fn watched_oids_text(&self) -> &str {
        &self.watched_oids_text
    }

    /// What `concat(current_database(), regtype[])` shows for them where this snapshot holds.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Is there a type for everything that is tracked? Then one that is created later is of no interest: where it comes
    /// before one of these in the search path, that one is shown otherwise.
    pub(crate) fn has_all_tracked(&self) -> bool {
        self.has_all_tracked
    }

    /// The hash of what is shown, in hexadecimal digits. `None` if nobody has asked a server for it, or it did not say.
    pub(crate) fn hashed_names(&self) -> Option<&str> {
        self.hashed_names.get()?.as_deref()
    }

    /// Has somebody asked a server for the hash?
    pub(crate) fn was_hashed(&self) -> bool {
        self.hashed_names.get().is_some()
    }

    pub(crate) fn set_hashed_names(&self, hash: Option<String>) {
        // Who else asked has the same.
        let _ = self.hashed_names.set(hash);
    }
}

/// Does Diesel find a type by that key, and does the way it is shown say so? One that is shown without its schema may
/// have moved to another one of the search path, and the next of that name be created where it was.
fn finds(types: &[PgType], (schema, name): &Key) -> bool {
    let is_found_in =
        |ty: &PgType| schema.as_ref().map_or(ty.visible, |schema| *schema == ty.schema && !ty.visible);
    types.iter().any(|ty| ty.name == *name && is_found_in(ty))
}

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
    if !consistent || tracked != crate::tracked::tracked() {
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
        out.push_sql(server::identity_fields(self.level));
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
