//! What a bound type means, and what its name means: the server itself says both, in one statement.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{HasSqlType, Nullable, SingleValue, SqlType, Text, is_nullable::NotNull};
use diesel_postgres_hot_upgrade::HotUpgradeExt;

/// An SQL type that Diesel looks up by this name.
pub(crate) trait Named: SqlType<IsNull = NotNull> + SingleValue + QueryId + 'static {
    const NAME: &'static str;
}

macro_rules! named_types {
    ($($sql_type:ident = $name:literal;)*) => {
        $(
            #[derive(Debug, Clone, Copy, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
            #[diesel(postgres_type(name = $name))]
            pub(crate) struct $sql_type;

            impl $crate::support::meaning::Named for $sql_type {
                const NAME: &'static str = $name;
            }
        )*
    };
}
pub(crate) use named_types;

named_types! {
    Label = "label";
}

/// By its name and schema.
#[derive(Debug, Clone, Copy, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "label", schema = "public"))]
pub(crate) struct PublicLabel;

impl Named for PublicLabel {
    const NAME: &'static str = "public.label";
}

/// `Ok` if a bound type was what its name means.
pub(crate) type Verdict = Result<(), String>;

/// How a wrong answer begins, as opposed to an error.
const WRONG: &str = "wrong answer: ";

pub(crate) fn is_wrong(verdict: &Verdict) -> bool {
    verdict.as_ref().is_err_and(|problem| problem.starts_with(WRONG))
}

/// What the server took a bound value for, and what it finds under the name.
#[derive(Debug, Clone, PartialEq, Queryable)]
pub(crate) struct Meaning {
    bound: String,
    named: String,
}

pub(crate) fn judge(answer: QueryResult<Meaning>) -> Verdict {
    match answer {
        Ok(meaning) if meaning.bound == meaning.named => Ok(()),
        Ok(meaning) => Err(format!("{WRONG}{} was bound in place of {}", meaning.bound, meaning.named)),
        Err(error) => Err(format!("error: {error}")),
    }
}

/// Asks by a prepared statement and by one that is prepared each time: one cache can be right while the other is not.
pub(crate) fn meaning<ST: Named>(conn: &mut PgConnection) -> QueryResult<Meaning>
where
    Pg: HasSqlType<ST>,
{
    let fresh = Question::<ST>::new(false).get_result::<Meaning>(conn)?;
    if fresh.bound != fresh.named {
        return Ok(fresh);
    }
    Question::<ST>::new(true).get_result(conn)
}

/// By plain statements.
pub(crate) fn plain<ST: Named>(conn: &mut PgConnection) -> Verdict
where
    Pg: HasSqlType<ST>,
{
    judge(meaning::<ST>(conn))
}

/// In a transaction of Diesel's.
pub(crate) fn in_transaction<ST: Named>(conn: &mut PgConnection) -> Verdict
where
    Pg: HasSqlType<ST>,
{
    judge(conn.transaction(meaning::<ST>))
}

/// In a verified transaction.
pub(crate) fn verified<ST: Named>(conn: &mut PgConnection) -> Verdict
where
    Pg: HasSqlType<ST>,
{
    judge(conn.hot_transaction(meaning::<ST>))
}

/// Binds a NULL, which any type has.
#[derive(Debug)]
pub(crate) struct Question<ST> {
    is_cached: bool,
    sql_type: PhantomData<fn() -> ST>,
}

impl<ST> Question<ST> {
    pub(crate) fn new(is_cached: bool) -> Self {
        Question { is_cached, sql_type: PhantomData }
    }
}

impl<ST: Named> QueryId for Question<ST> {
    type QueryId = Question<ST>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<ST> Query for Question<ST> {
    type SqlType = (Text, Text);
}

impl<ST> RunQueryDsl<PgConnection> for Question<ST> {}

impl<ST: Named> QueryFragment<Pg> for Question<ST>
where
    Pg: HasSqlType<ST>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.is_cached {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql("SELECT concat(pg_typeof(");
        out.push_bind_param::<Nullable<ST>, Option<Nothing>>(&None)?;
        out.push_sql(&format!(")), concat(to_regtype('{}'))", ST::NAME));
        Ok(())
    }
}

#[derive(Debug)]
struct Nothing;

impl<ST> ToSql<ST, Pg> for Nothing {
    fn to_sql<'b>(&'b self, _out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        Ok(IsNull::Yes)
    }
}
