//! The names that are bound, and the query that says which type a bind arrived with.

use diesel::pg::{Pg, PgConnection, PgTypeMetadata};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Array, HasSqlType, Nullable, Oid, SingleValue, SqlType, is_nullable};
use diesel_postgres_hot_upgrade::track;

use crate::support::drivers::Session;

/// What Diesel looks a type up by: its name, and its schema if that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) schema: Option<&'static str>,
    pub(crate) name: &'static str,
}

const fn bare(name: &'static str) -> Key {
    Key { schema: None, name }
}

const fn within(schema: &'static str, name: &'static str) -> Key {
    Key { schema: Some(schema), name }
}

/// Stand-alone types. The first [`TRACKED`] of them stay watched after [`track_some`].
pub(crate) const TYPES: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];
/// The types of the rows of tables.
pub(crate) const ROWS: [&str; 3] = ["r0", "r1", "r2"];
/// Temporary types.
pub(crate) const TEMPORARY: [&str; 3] = ["m0", "m1", "m2"];
pub(crate) const TRACKED: usize = 4;

pub(crate) const KEYS: [Key; 22] = [
    bare("n0"),
    bare("n1"),
    bare("n2"),
    bare("n3"),
    bare("n4"),
    bare("n5"),
    bare("r0"),
    bare("r1"),
    bare("r2"),
    bare("m0"),
    bare("m1"),
    bare("m2"),
    within("public", "n0"),
    within("public", "n1"),
    within("public", "n4"),
    within("public", "r0"),
    within("public", "r1"),
    within("early", "n0"),
    within("early", "n1"),
    within("t1", "n0"),
    within("t1", "n2"),
    within("t2", "n1"),
];

/// The SQL type that is looked up by one of the [`KEYS`].
#[derive(Debug, Clone, Copy)]
struct Named<const KEY: usize>;

impl<const KEY: usize> SqlType for Named<KEY> {
    type IsNull = is_nullable::NotNull;
}

impl<const KEY: usize> SingleValue for Named<KEY> {}

impl<const KEY: usize> HasSqlType<Named<KEY>> for Pg {
    fn metadata(lookup: &mut Self::MetadataLookup) -> PgTypeMetadata {
        lookup.lookup_type(KEYS[KEY].name, KEYS[KEY].schema)
    }
}

/// Only NULLs are sent: any type takes them.
#[derive(Debug)]
struct Value;

impl<const KEY: usize> ToSql<Named<KEY>, Pg> for Value {
    fn to_sql<'b>(&'b self, _: &mut Output<'b, '_, Pg>) -> serialize::Result {
        Ok(IsNull::Yes)
    }
}

/// Which type did the bind arrive with, and which does the name mean, there and then?
#[derive(Debug, Clone, Copy)]
struct Meaning<const KEY: usize, const ARRAY: bool>;

impl<const KEY: usize, const ARRAY: bool> QueryId for Meaning<KEY, ARRAY> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const KEY: usize, const ARRAY: bool> Query for Meaning<KEY, ARRAY> {
    type SqlType = (Oid, Nullable<Oid>, Nullable<Oid>);
}

impl<const KEY: usize, const ARRAY: bool> RunQueryDsl<PgConnection> for Meaning<KEY, ARRAY> {}

impl<const KEY: usize, const ARRAY: bool> QueryFragment<Pg> for Meaning<KEY, ARRAY> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT pg_catalog.pg_typeof(");
        if ARRAY {
            out.push_bind_param::<Nullable<Array<Named<KEY>>>, _>(&None::<Vec<Value>>)?;
        } else {
            out.push_bind_param::<Nullable<Named<KEY>>, _>(&None::<Value>)?;
        }
        out.push_sql(")::pg_catalog.oid");
        for is_array in [false, true] {
            out.push_sql(&format!(", pg_catalog.to_regtype('{}')::pg_catalog.oid", shown(KEY, is_array)));
        }
        Ok(())
    }
}

/// A key as SQL has it.
pub(crate) fn shown(key: usize, array: bool) -> String {
    let Key { schema, name } = KEYS[key];
    let schema = schema.map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{schema}{name}{}", if array { "[]" } else { "" })
}

/// The type that a bind arrived with, and the one that its name meant then, with its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub(crate) struct Answer {
    pub(crate) bound: u32,
    pub(crate) meant: Option<u32>,
    pub(crate) array: Option<u32>,
}

fn answer<const KEY: usize, const ARRAY: bool>(conn: &mut Session<'_>, healed: bool) -> QueryResult<Answer> {
    let query = Meaning::<KEY, ARRAY>;
    if healed { conn.hot_get(query) } else { conn.get(query) }
}

macro_rules! for_each_key {
    ($($key:literal)*) => {
        /// Binds the type that a key finds, or its array; with `hot_query` if `healed`.
        pub(crate) fn ask(conn: &mut Session<'_>, key: usize, array: bool, healed: bool) -> QueryResult<Answer> {
            match (key, array) {
                $(($key, false) => answer::<$key, false>(conn, healed),
                ($key, true) => answer::<$key, true>(conn, healed),)*
                _ => unreachable!("there is no key {key}"),
            }
        }
    };
}

for_each_key!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21);

/// From here on, all other types are watched no longer, for the rest of the process.
pub(crate) fn track_some() {
    track::<Named<0>>();
    track::<Named<1>>();
    track::<Named<2>>();
    track::<Named<3>>();
}
