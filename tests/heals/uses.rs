//! What applications do again and again: a query whose statement, result or bind may have gone stale.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Binary, HasSqlType, Nullable};
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::support::meaning::{Label, Named};

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

/// Runs a query whose column `value` ends with these bytes in its only row, whatever its type.
pub(crate) fn reads(conn: &mut PgConnection, how: How, sql: &'static str, end: &[u8]) -> QueryResult<()> {
    let rows: Vec<Row> = match how {
        How::Plain => diesel::sql_query(sql).load(conn)?,
        How::HotQuery => conn.hot_query(diesel::sql_query(sql)).load()?,
    };
    if matches!(&rows[..], [row] if row.value.ends_with(end)) {
        return Ok(());
    }
    Err(wrong(format!("{rows:?} in place of {end:?}")))
}

/// Binds a value of the type `label`, by its name.
pub(crate) fn binds_label(conn: &mut PgConnection, how: How) -> QueryResult<()> {
    binds::<Label>(conn, how)
}

/// Binds a value of a type, by its name. The server says what it took it for.
pub(crate) fn binds<ST: Named + Send>(conn: &mut PgConnection, how: How) -> QueryResult<()>
where
    Pg: HasSqlType<ST>,
{
    let sql = format!("SELECT concat(pg_typeof($1), ' ', to_regtype('{}')) AS value", ST::NAME);
    let query = diesel::sql_query(sql).bind::<Nullable<ST>, _>(None::<Nothing>);
    let rows: Vec<Row> = match how {
        How::Plain => query.load(conn)?,
        How::HotQuery => conn.hot_query(query).load()?,
    };
    let answer: Vec<_> = rows.into_iter().map(|row| String::from_utf8_lossy(&row.value).into_owned()).collect();
    let is_right = |answer: &String| answer.split_once(' ').is_some_and(|(bound, named)| bound == named);
    if answer.len() == 1 && answer.iter().all(is_right) { Ok(()) } else { Err(wrong(format!("{answer:?}"))) }
}

#[derive(Debug)]
struct Nothing;

impl<ST> ToSql<ST, Pg> for Nothing {
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
