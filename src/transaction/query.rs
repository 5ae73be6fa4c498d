//! A single statement that is run again, at most twice, if types or the catalog changed under it.

use diesel::connection::{DefaultLoadingMode, LoadConnection};
use diesel::deserialize::FromSqlRow;
use diesel::expression::QueryMetadata;
use diesel::pg::{Pg, PgConnection, PgQueryBuilder};
use diesel::prelude::*;
use diesel::query_builder::{AsQuery, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::query_dsl::CompatibleType;
use diesel::result::Error;

use crate::connection::transaction_state::{is_broken, is_in_transaction};
use crate::connection::{caches, notes};
use crate::environment;
use crate::report::stats::COUNTERS;
use crate::synchronize::filled_from;
use crate::transaction::heal::{Healed, MAX_RERUNS, Unknown, heal, heal_unnamed};
use crate::transaction::plans::is_unnamed;

/// A single statement, for [`HotUpgradeExt::hot_query`](crate::HotUpgradeExt::hot_query): run it with one of the
/// methods that Diesel has for it.
#[must_use = "a query does nothing before it is run"]
pub struct HotQuery<'a, Q> {
    conn: &'a mut PgConnection,
    query: Q,
}

impl<'a, Q> HotQuery<'a, Q> {
    pub(crate) fn new(conn: &'a mut PgConnection, query: Q) -> Self {
        HotQuery { conn, query }
    }

    /// Executes the statement, and returns the number of rows it affected. As
    /// [`RunQueryDsl::execute`](diesel::RunQueryDsl::execute).
    ///
    /// # Errors
    ///
    /// Those of the statement.
    pub fn execute(self) -> QueryResult<usize>
    where
        Q: QueryFragment<Pg> + QueryId,
    {
        run(self.conn, &self.query, |conn, query| conn.execute_returning_count(query))
    }

    /// Loads all rows. As [`RunQueryDsl::load`](diesel::RunQueryDsl::load).
    ///
    /// # Errors
    ///
    /// Those of the statement, and those of decoding its rows, after which it is not run again.
    pub fn load<U>(self) -> QueryResult<Vec<U>>
    where
        Q: AsQuery,
        Q::Query: QueryFragment<Pg> + QueryId,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg>,
    {
        run(self.conn, &self.query.as_query(), load)
    }

    /// Loads the first row. As [`RunQueryDsl::get_result`](diesel::RunQueryDsl::get_result): it does not add a `LIMIT`.
    /// In place of Diesel's `first`, call `limit(1)` on the query.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no row (`optional()` makes that a `None`), and those of [`HotQuery::load`].
    pub fn get_result<U>(self) -> QueryResult<U>
    where
        Q: AsQuery,
        Q::Query: QueryFragment<Pg> + QueryId,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg>,
    {
        self.load()?.into_iter().next().ok_or(Error::NotFound)
    }
}

impl<Q> std::fmt::Debug for HotQuery<'_, Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotQuery").finish_non_exhaustive()
    }
}

/// All rows are received before the first is decoded: if this fails with a database error, there was no row.
fn load<U, Q>(conn: &mut PgConnection, query: &Q) -> QueryResult<Vec<U>>
where
    Q: Query + QueryFragment<Pg> + QueryId,
    Q::SqlType: CompatibleType<U, Pg>,
    Pg: QueryMetadata<Q::SqlType>,
    U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg>,
{
    let rows = LoadConnection::<DefaultLoadingMode>::load(conn, query)?;
    rows.map(|row| U::build_from_row(&row?).map_err(Error::DeserializationError)).collect()
}

fn run<T, Q: QueryFragment<Pg>>(
    conn: &mut PgConnection,
    query: &Q,
    statement: impl Fn(&mut PgConnection, &Q) -> QueryResult<T>,
) -> QueryResult<T> {
    let mut result = statement(conn, query);
    let mut healed = Healed::Nothing;
    let mut is_named = !is_unnamed(conn);
    for reruns in 0.. {
        let Err(error) = &result else {
            healed.succeeded(conn);
            break;
        };
        notes::forget_verified(conn);
        healed.was_in_vain(conn);
        let had_no_effect = matches!(error, Error::DatabaseError(..)) && !is_broken(conn) && is_atomic(query);
        if !had_no_effect || is_in_transaction(conn) || !environment::is_on() {
            break;
        }
        healed = match (reruns < MAX_RERUNS, is_named) {
            (true, true) => heal(conn, Unknown::MayBeWrong),
            (true, false) => heal_unnamed(conn, Unknown::MayBeWrong),
            (false, _) => Healed::Nothing,
        };
        if matches!(healed, Healed::Nothing) {
            COUNTERS.failures_left.increment();
            break;
        }
        healed.runs_again();
        is_named = !is_unnamed(conn);
        result = statement(conn, query);
        if filled_from(conn).is_some_and(|snapshot| !snapshot.is_uncertain()) {
            caches::restore_statement_cache(conn);
        }
    }
    result
}

/// Does a failure of this statement undo all that it did? `CALL` and `DO` can commit in between.
pub(crate) fn is_atomic(query: &impl QueryFragment<Pg>) -> bool {
    let mut sql = PgQueryBuilder::default();
    query.to_sql(&mut sql, &Pg).is_ok() && begins_as_atomic(&sql.finish())
}

fn begins_as_atomic(sql: &str) -> bool {
    const ATOMIC: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"];
    let sql = after_comments(sql);
    let word: String = sql.chars().take_while(char::is_ascii_alphabetic).collect();
    ATOMIC.iter().any(|atomic| word.eq_ignore_ascii_case(atomic))
}

/// What begins a statement. A comment within a comment, which PostgreSQL allows, leaves something that is no keyword.
fn after_comments(sql: &str) -> &str {
    let sql = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let rest = if let Some(comment) = sql.strip_prefix("--") {
        comment.split_once('\n').map(|(_, rest)| rest)
    } else if let Some(comment) = sql.strip_prefix("/*") {
        comment.split_once("*/").map(|(_, rest)| rest)
    } else {
        return sql;
    };
    rest.map_or("", after_comments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_that_undo_themselves_are_run_again() {
        for sql in ["SELECT 1", "  insert into t", "/* a */ -- b\n update t", "(VALUES (1))", "WITH x AS"] {
            assert!(begins_as_atomic(sql), "{sql}");
        }
        let others =
            ["CALL p()", "/* SELECT */ DO $$$$", "COMMIT", "", "--", "/* /* */ */ SELECT 1", "SELECTED", "VACUUM"];
        for sql in others {
            assert!(!begins_as_atomic(sql), "{sql}");
        }
    }
}
