//! The statement that reads a server's types.

use std::collections::BTreeSet;
use std::sync::Arc;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Nullable, Oid, Text, Timestamptz};

use crate::catalog::server::{PgStart, Replicas, Server};
use crate::catalog::snapshot::{Loaded, Scope};
use crate::catalog::tracked::{Tracked, tracked};
use crate::catalog::types::{Names, PgType, View};
use crate::probe::identify::{Level, identity_fields};
use crate::probe::sql::{DIGEST, STARTED, WATCHED, only_tracked, sees_the_present};
use crate::report::stats::COUNTERS;

/// Reads the server's identity and its types.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    level: Level,
    in_transaction: bool,
    tracked: Option<Arc<Tracked>>,
    only_tracked: String,
    other_starts: Vec<PgTimestamp>,
}

impl Load {
    /// From any server but those that were started then: two servers take turns, and the catalogs of those are known.
    pub(crate) fn unless_started(others: &BTreeSet<PgStart>, level: Level, in_transaction: bool) -> Self {
        let tracked = tracked();
        let only_tracked = only_tracked(tracked.as_deref());
        let other_starts = others.iter().map(|started| PgTimestamp(*started)).collect();
        Load { level, in_transaction, tracked, only_tracked, other_starts }
    }

    /// `None` in three cases: another session changed a type just then; another thread changed what is tracked; or one
    /// of the other servers answered.
    pub(crate) fn decode(&self, row: Row, replicas: Replicas) -> QueryResult<Option<Loaded>> {
        let ((is_public, is_hidden_by_temporary), fields, (digest, is_consistent), oids, names, quoted) = row;
        let server = Server::from_fields(fields)?;
        if server.started.is_some_and(|started| self.other_starts.contains(&PgTimestamp(started))) {
            return Ok(None);
        }
        COUNTERS.catalog_loads.increment();
        if !is_consistent || self.tracked != tracked() {
            return Ok(None);
        }
        let scope = match (is_public, is_hidden_by_temporary) {
            (false, _) => Scope::Transaction,
            (true, true) => Scope::Session,
            (true, false) => Scope::Everyone,
        };
        let place = server.place(replicas);
        Ok(Some(Loaded { server, place, scope, digest: digest.into(), view: view(oids, names, quoted) }))
    }
}

fn view(
    (oids, array_oids, visible): Oids,
    (schemas, names, arrays): Texts,
    (quoted_schemas, quoted_names): Quoted,
) -> View {
    let quoted = quoted_schemas.unwrap_or_default().into_iter().zip(quoted_names.unwrap_or_default());
    let names =
        schemas.unwrap_or_default().into_iter().zip(names.unwrap_or_default()).zip(arrays.unwrap_or_default());
    let names = names.zip(quoted).map(|(((schema, name), array), (quoted_schema, quoted_name))| Names {
        schema,
        name,
        array,
        quoted_schema,
        quoted_name,
    });
    let oids = oids.unwrap_or_default().into_iter().zip(array_oids.unwrap_or_default());
    let types = oids.zip(names).map(|((oid, array_oid), names)| PgType::new(oid, array_oid, names));
    let mut seen: Vec<_> = types.zip(visible.unwrap_or_default()).collect();
    seen.sort_unstable_by_key(|(ty, _)| ty.oid);
    let (types, visible): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    View { types: Arc::from(types), visible: visible.into() }
}

/// Each is NULL if there is no type. All are in one order, whichever it is.
pub(crate) type Oids = (Option<Vec<u32>>, Option<Vec<u32>>, Option<Vec<bool>>);
pub(crate) type Texts = (Option<Vec<String>>, Option<Vec<String>>, Option<Vec<String>>);
pub(crate) type Quoted = (Option<Vec<String>>, Option<Vec<String>>);
pub(crate) type Row = ((bool, bool), Vec<String>, (String, bool), Oids, Texts, Quoted);

type NullableArray<T> = Nullable<Array<T>>;

impl Query for Load {
    type SqlType = (
        (Bool, Bool),
        Array<Text>,
        (Text, Bool),
        (NullableArray<Oid>, NullableArray<Oid>, NullableArray<Bool>),
        (NullableArray<Text>, NullableArray<Text>, NullableArray<Text>),
        (NullableArray<Text>, NullableArray<Text>),
    );
}

impl RunQueryDsl<PgConnection> for Load {}

impl QueryId for Load {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

const TYPES: &str = "WITH types AS (\
     SELECT t.oid, t.typarray, t.typnamespace, n.nspname::pg_catalog.text AS schema, t.typname::pg_catalog.text AS name, \
     pg_catalog.concat((SELECT a.typname FROM pg_catalog.pg_type a \
     WHERE a.oid OPERATOR(pg_catalog.=) t.typarray)) AS array_name, \
     pg_catalog.quote_ident(n.nspname::pg_catalog.text) AS quoted_schema, \
     pg_catalog.quote_ident(t.typname::pg_catalog.text) AS quoted_name, \
     COALESCE(pg_catalog.pg_type_is_visible(t.oid), false) AS visible FROM ";

/// Does a temporary type of this session, such as the row type of a temporary table, have the name of one of them?
const HIDDEN_BY_TEMPORARY: &str = ", EXISTS (SELECT FROM pg_catalog.pg_type temporary \
     WHERE temporary.typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
     AND temporary.typname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (SELECT name FROM types)), ";

/// The rows are as of the statement's beginning, but `regtype` shows this moment: if a type was renamed or dropped in
/// between, the two disagree.
const CONSISTENT: &str = ", COALESCE(pg_catalog.array_to_string(pg_catalog.array_agg(t.oid)::pg_catalog.regtype[], ',') \
     OPERATOR(pg_catalog.=) pg_catalog.string_agg(pg_catalog.concat(CASE WHEN t.visible THEN '' \
     ELSE pg_catalog.concat(t.quoted_schema, '.') END, t.quoted_name), ','), true)";

const ARRAYS: &str = ", pg_catalog.array_agg(t.oid), pg_catalog.array_agg(t.typarray), pg_catalog.array_agg(t.visible)\
     , pg_catalog.array_agg(t.schema), pg_catalog.array_agg(t.name), pg_catalog.array_agg(t.array_name)\
     , pg_catalog.array_agg(t.quoted_schema), pg_catalog.array_agg(t.quoted_name) FROM types t";

impl QueryFragment<Pg> for Load {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Once for a process and change: not worth a prepared statement on the server.
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: load */ ");
        for sql in [TYPES, WATCHED, &self.only_tracked] {
            out.push_sql(sql);
        }
        if self.level == Level::Identified {
            for sql in [" AND ", STARTED, " OPERATOR(pg_catalog.<>) ALL ("] {
                out.push_sql(sql);
            }
            out.push_bind_param::<Array<Timestamptz>, _>(&self.other_starts)?;
            out.push_sql(")");
        }
        for sql in [") SELECT ", sees_the_present(self.in_transaction), HIDDEN_BY_TEMPORARY] {
            out.push_sql(sql);
        }
        for sql in [&identity_fields(self.level), ", ", DIGEST, CONSISTENT, ARRAYS] {
            out.push_sql(sql);
        }
        Ok(())
    }
}
