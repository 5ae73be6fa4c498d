//! What applications do again and again: a query whose statement, result or bind may have gone stale.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Binary, Nullable, Untyped};
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::support::meaning::Label;

/// How a statement is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By Diesel alone.
    Plain,
    /// By `hot_query`.
    HotQuery,
}

#[derive(Debug, QueryableByName)]
struct Row {
    #[diesel(sql_type = Binary)]
    value: Vec<u8>,
}

/// A statement that Diesel keeps prepared, which it does not with those of `sql_query`. If `Bound` is a type, a value
/// of it is bound in the middle.
#[derive(Debug, Clone, Copy)]
struct Kept<Bound> {
    sql: [&'static str; 2],
    bound: PhantomData<Bound>,
}

impl<Bound> Query for Kept<Bound> {
    type SqlType = Untyped;
}

impl<Bound> RunQueryDsl<PgConnection> for Kept<Bound> {}

/// It is kept by its text.
impl<Bound> QueryId for Kept<Bound> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Kept<()> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.sql.iter().for_each(|sql| out.push_sql(sql));
        Ok(())
    }
}

impl QueryFragment<Pg> for Kept<Label> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.sql[0]);
        out.push_bind_param::<Nullable<Label>, Option<Nothing>>(&None)?;
        out.push_sql(self.sql[1]);
        Ok(())
    }
}

fn rows<Bound>(conn: &mut PgConnection, how: How, sql: [&'static str; 2]) -> QueryResult<Vec<Row>>
where
    Kept<Bound>: QueryFragment<Pg>,
{
    let kept = Kept::<Bound> { sql, bound: PhantomData };
    match how {
        How::Plain => kept.load(conn),
        How::HotQuery => conn.hot_query(kept).load(),
    }
}

/// Runs a query whose column `value` ends with these bytes in its only row, whatever its type.
pub(crate) fn reads(conn: &mut PgConnection, how: How, sql: &'static str, end: &[u8]) -> QueryResult<()> {
    let rows = rows::<()>(conn, how, [sql, ""])?;
    if matches!(&rows[..], [row] if row.value.ends_with(end)) {
        return Ok(());
    }
    Err(wrong(format!("{rows:?} in place of {end:?}")))
}

/// Binds a value of the type `label`, by its name. The server says what it took it for.
pub(crate) fn binds_label(conn: &mut PgConnection, how: How) -> QueryResult<()> {
    let sql = ["SELECT (pg_typeof(", ")::oid = to_regtype('label')::oid)::text AS value"];
    let rows = rows::<Label>(conn, how, sql)?;
    if matches!(&rows[..], [row] if row.value == b"true") { Ok(()) } else { Err(wrong(format!("{rows:?}"))) }
}

#[derive(Debug)]
struct Nothing;

impl ToSql<Label, Pg> for Nothing {
    fn to_sql<'b>(&'b self, _out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        Ok(IsNull::Yes)
    }
}

fn wrong(what: String) -> Error {
    Error::QueryBuilderError(format!("wrong answer: {what}").into())
}

/// One of the fixture's documents is written and read back.
pub(crate) fn documents(conn: &mut PgConnection, how: How) -> QueryResult<()> {
    use fixture::{Document, documents, insert, read_back};
    let document = Document::numbered(7);
    let of_title = || documents::table.filter(documents::title.eq("TITLE 7"));
    let found = match how {
        How::Plain => {
            diesel::delete(of_title()).execute(conn)?;
            insert(conn, &document)?;
            read_back(conn, &document)?
        }
        How::HotQuery => {
            conn.hot_query(diesel::delete(of_title())).execute()?;
            conn.hot_query(diesel::insert_into(documents::table).values(document.clone())).execute()?;
            let of_status = of_title().filter(documents::status.eq(document.status));
            conn.hot_query(of_status.select(Document::as_select())).load()?
        }
    };
    // Several clients may be at it.
    if found.first() == Some(&document) { Ok(()) } else { Err(wrong(format!("{found:?}"))) }
}
