//! A single statement that is run again, at most twice, if types or the catalog changed under it.

use diesel::deserialize::FromSqlRow;
use diesel::expression::QueryMetadata;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::query_dsl::CompatibleType;
use diesel::result::Error;
use futures_util::TryStreamExt;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::connection::notes;
use crate::environment;
use crate::report::stats::COUNTERS;
use crate::transaction::heal::{Healed, MAX_RERUNS, Unknown};
use crate::transaction::query::is_atomic;

/// A single statement, for [`hot_query`](HotUpgradeAsyncPgConnection::hot_query): run it with one of the methods that
/// diesel-async has for it.
#[must_use = "a query does nothing before it is run"]
pub struct HotAsyncQuery<'a, Q> {
    conn: &'a mut HotUpgradeAsyncPgConnection,
    query: Q,
}

impl HotUpgradeAsyncPgConnection {
    /// A single statement outside a transaction that heals errors. **It cannot prevent a wrong answer**, as a verified
    /// transaction does. As [`hot_query`](crate::HotUpgradeExt::hot_query) of the blocking connection.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// # diesel::table! { documents (id) { id -> BigInt, title -> Text, } }
    /// # async fn run(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<()> {
    /// let titles: Vec<String> = conn.hot_query(documents::table.select(documents::title)).load().await?;
    /// let deleted = conn.hot_query(diesel::delete(documents::table)).execute().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn hot_query<Q>(&mut self, query: Q) -> HotAsyncQuery<'_, Q> {
        HotAsyncQuery { conn: self, query }
    }
}

impl<Q> HotAsyncQuery<'_, Q> {
    /// Executes the statement, and returns the number of rows it affected.
    ///
    /// # Errors
    ///
    /// Those of the statement.
    pub async fn execute(self) -> QueryResult<usize>
    where
        Q: QueryFragment<Pg> + QueryId + Send,
    {
        let HotAsyncQuery { conn, query } = self;
        let is_atomic = is_atomic(&query);
        let mut attempts = Attempts::new(is_atomic);
        loop {
            let executed = conn.execute_by(&query).await;
            match attempts.settle(conn, executed).await {
                Some(result) => return result,
                None => continue,
            }
        }
    }

    /// Loads all rows.
    ///
    /// # Errors
    ///
    /// Those of the statement, and those of decoding its rows, after which it is not run again.
    pub async fn load<U>(self) -> QueryResult<Vec<U>>
    where
        Q: AsQuery,
        Q::Query: QueryFragment<Pg> + QueryId + Send,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg>,
    {
        let HotAsyncQuery { conn, query } = self;
        let query = query.as_query();
        let mut attempts = Attempts::new(is_atomic(&query));
        let rows = loop {
            // All rows are received before the first is decoded.
            let rows = conn.load_by(&query).await;
            let rows = match rows {
                Ok(rows) => rows.try_collect::<Vec<_>>().await,
                Err(error) => Err(error),
            };
            if let Some(rows) = attempts.settle(conn, rows).await {
                break rows?;
            }
        };
        rows.iter().map(|row| U::build_from_row(row).map_err(Error::DeserializationError)).collect()
    }

    /// Loads the first row. It does not add a `LIMIT`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no row (`optional()` makes that a `None`), and those of
    /// [`load`](HotAsyncQuery::load).
    pub async fn get_result<U>(self) -> QueryResult<U>
    where
        Q: AsQuery,
        Q::Query: QueryFragment<Pg> + QueryId + Send,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg>,
    {
        self.load().await?.into_iter().next().ok_or(Error::NotFound)
    }
}

impl<Q> std::fmt::Debug for HotAsyncQuery<'_, Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotAsyncQuery").finish_non_exhaustive()
    }
}

struct Attempts {
    is_atomic: bool,
    healed: Healed,
    reruns: usize,
}

impl Attempts {
    fn new(is_atomic: bool) -> Self {
        Attempts { is_atomic, healed: Healed::Nothing, reruns: 0 }
    }

    /// `None` if the statement is to run again.
    async fn settle<T>(
        &mut self,
        conn: &mut HotUpgradeAsyncPgConnection,
        result: QueryResult<T>,
    ) -> Option<QueryResult<T>> {
        if self.reruns > 0 && conn.filled_from().is_some_and(|snapshot| !snapshot.is_uncertain()) {
            conn.restore_statement_cache();
        }
        let healed = std::mem::replace(&mut self.healed, Healed::Nothing);
        let Err(error) = &result else {
            conn.memory.with(|oids| healed.succeeded(oids));
            return Some(result);
        };
        conn.memory.with(|oids| {
            notes::forget_verified(oids);
            healed.was_in_vain(oids);
        });
        let had_no_effect =
            matches!(error, Error::DatabaseError(..)) && conn.is_alive_after(error) && self.is_atomic;
        if !had_no_effect || conn.is_in_transaction() || !environment::is_on() {
            return Some(result);
        }
        if self.reruns < MAX_RERUNS {
            self.healed = conn.heal(Unknown::MayBeWrong).await;
        }
        if matches!(self.healed, Healed::Nothing) {
            COUNTERS.failures_left.increment();
            return Some(result);
        }
        self.healed.runs_again();
        self.reruns += 1;
        None
    }
}
