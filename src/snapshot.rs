//! The types of one server, and the statement that reads them.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Oid, Text};

use crate::server::{
    DATABASE, IdentityRow, IdentitySqlType, NO_IDENTITY, SCHEMAS, START_TIME, SYSTEM_IDENTIFIER, Server, VERSION,
};
use crate::stats::COUNTERS;

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
    watched_names: Vec<String>,
}

/// What "no type was created since" means for a snapshot: `newer_types` types of the watched kinds have an OID above
/// `newest_oid`.
///
/// As a rule `newest_oid` is the largest OID of `pg_type` and `newer_types` is 0, so that a probe reads one index
/// entry. Where the OID counter has wrapped around, or can't be asked for, new types may get small OIDs: there it is
/// the last built-in OID and the count of all types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) newest_oid: u32,
    pub(crate) newer_types: i64,
}

impl Snapshot {
    pub(crate) fn new(server: Server, types: Vec<PgType>, names: Vec<String>) -> Self {
        let mut watched_oids: Vec<u32> = types.iter().map(|ty| ty.oid).collect();
        let mut watched_names = names;
        if !server.is_identified() {
            // Another server could give a type the same OID and its array another one: with nothing else to tell
            // the two apart, the arrays are watched too.
            for (index, ty) in types.iter().enumerate().filter(|(_, ty)| ty.array_oid != 0) {
                watched_oids.push(ty.array_oid);
                watched_names.push(format!("{}[]", watched_names[index]));
            }
        }
        Snapshot { server, types, watched_oids, watched_names }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn types(&self) -> &[PgType] {
        &self.types
    }

    /// The OIDs a probe asks about, and what `format_type` called them.
    pub(crate) fn watched_oids(&self) -> &[u32] {
        &self.watched_oids
    }

    pub(crate) fn watched_names(&self) -> &[String] {
        &self.watched_names
    }
}

/// Reads the server's identity and its types. One round trip. `None` where another session changed a type just then.
pub(crate) fn load(conn: &mut PgConnection, identified: bool) -> QueryResult<Option<(Snapshot, Horizon)>> {
    COUNTERS.catalog_loads.increment();
    let (identity, types, horizon, consistent) = Load { identified }.get_result::<Row>(conn)?;
    if !consistent {
        return Ok(None);
    }
    let (oids, array_oids, schemas, names, visible, formatted) = types;
    let types = oids
        .into_iter()
        .zip(array_oids)
        .zip(schemas)
        .zip(names)
        .zip(visible)
        .map(|((((oid, array_oid), schema), name), visible)| PgType { oid, array_oid, schema, name, visible })
        .collect();
    let (newest_oid, newer_types) = horizon;
    let snapshot = Snapshot::new(Server::from_row(identity), types, formatted);
    Ok(Some((snapshot, Horizon { newest_oid, newer_types })))
}

/// The beginning of a subquery that counts the types of the watched kinds above an OID, which the caller adds with
/// `) `. Views and partitioned tables have no file of their own either and count along: creating one costs a catalog
/// load, which finds nothing new. A join to `pg_class` would be exact and cost more in every checkout.
pub(crate) const TYPES_NEWER_THAN: &str = "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_type \
     WHERE (typtype IN ('b', 'd', 'e', 'm', 'r') AND typinput <> 'pg_catalog.array_in'::pg_catalog.regproc \
     OR typtype = 'c' AND pg_catalog.pg_relation_filenode(typrelid) IS NULL) AND oid > ";

/// Types up to OID 16383 come with the server. Row types of tables and arrays stay out (an array's OID rides along as `typarray`), and other sessions'
/// temporary types, which nobody else can use.
const TYPES: &str = "WITH types AS (\
     SELECT t.oid, t.typarray, n.nspname, t.typname, \
     coalesce(pg_catalog.pg_type_is_visible(t.oid), false) AS visible, \
     pg_catalog.format_type(t.oid, NULL) AS formatted \
     FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
     LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
     WHERE t.oid > 16383 AND n.nspname !~ '^pg_temp_' \
     AND (t.typtype IN ('b', 'd', 'e', 'm', 'r') AND t.typinput <> 'pg_catalog.array_in'::pg_catalog.regproc \
     OR t.typtype = 'c' AND c.relkind = 'c')) ";

const TYPE_ARRAYS: &str = ", ARRAY(SELECT oid FROM types ORDER BY oid)\
     , ARRAY(SELECT typarray FROM types ORDER BY oid)\
     , ARRAY(SELECT nspname::pg_catalog.text FROM types ORDER BY oid)\
     , ARRAY(SELECT typname::pg_catalog.text FROM types ORDER BY oid)\
     , ARRAY(SELECT visible FROM types ORDER BY oid)\
     , ARRAY(SELECT formatted FROM types ORDER BY oid)";

/// The rows are as of the statement's beginning, but `format_type` looks at this moment: where a type was renamed or
/// dropped in between, the two disagree.
const CONSISTENT: &str = ", (SELECT coalesce(pg_catalog.bool_and(formatted = \
     CASE WHEN visible THEN '' ELSE pg_catalog.quote_ident(nspname) || '.' END || pg_catalog.quote_ident(typname)\
     ), true) FROM types)";

/// The OID counter has wrapped around if it stands far below the largest OID in use. (The control file has it as of
/// the last checkpoint; a quarter of a billion types are not created between two.)
const NEWEST_OID: &str = "(SELECT CASE WHEN pg_catalog.max(oid)::pg_catalog.int8 \
     - (SELECT next_oid::pg_catalog.int8 FROM pg_catalog.pg_control_checkpoint()) < 268435456 \
     THEN pg_catalog.max(oid) ELSE 16383::pg_catalog.oid END FROM pg_catalog.pg_type)";

struct Load {
    identified: bool,
}

type TypeArrays = (Vec<u32>, Vec<u32>, Vec<String>, Vec<String>, Vec<bool>, Vec<String>);
type Row = (IdentityRow, TypeArrays, (u32, i64), bool);

impl Query for Load {
    type SqlType = (
        IdentitySqlType,
        (Array<Oid>, Array<Oid>, Array<Text>, Array<Text>, Array<Bool>, Array<Text>),
        (Oid, BigInt),
        Bool,
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
        out.push_sql(TYPES);
        out.push_sql("SELECT ");
        if self.identified {
            out.push_sql(SYSTEM_IDENTIFIER);
            out.push_sql(", ");
            out.push_sql(START_TIME);
        } else {
            out.push_sql(NO_IDENTITY);
        }
        for column in [VERSION, DATABASE, SCHEMAS] {
            out.push_sql(", ");
            out.push_sql(column);
        }
        out.push_sql(TYPE_ARRAYS);
        out.push_sql(", newest.oid, ");
        out.push_sql(TYPES_NEWER_THAN);
        out.push_sql("newest.oid)");
        out.push_sql(CONSISTENT);
        out.push_sql(" FROM (SELECT ");
        out.push_sql(if self.identified { NEWEST_OID } else { "16383::pg_catalog.oid" });
        out.push_sql(" AS oid OFFSET 0) newest");
        Ok(())
    }
}
