//! The options of a verified transaction.

use std::borrow::Cow;
use std::fmt;

use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgConnection, PgQueryBuilder, TransactionBuilder};
use diesel::prelude::*;
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel::result::Error;

use crate::transaction::begin::Begin;

/// Options of a transaction: those of Diesel's [`TransactionBuilder`], and [SQL that runs before the
/// check](HotTransactionBuilder::before_probe). See
/// [`HotUpgradeExt::hot_transaction_with`](crate::HotUpgradeExt::hot_transaction_with).
#[must_use]
pub struct HotTransactionBuilder<'a> {
    options: TransactionBuilder<'a, PgConnection>,
    before_probe: Option<String>,
}

impl<'a> HotTransactionBuilder<'a> {
    pub(crate) fn new(conn: &'a mut PgConnection) -> Self {
        HotTransactionBuilder { options: conn.build_transaction(), before_probe: None }
    }

    fn map(
        self,
        option: impl FnOnce(TransactionBuilder<'a, PgConnection>) -> TransactionBuilder<'a, PgConnection>,
    ) -> Self {
        HotTransactionBuilder { options: option(self.options), ..self }
    }

    /// `READ ONLY`
    pub fn read_only(self) -> Self {
        self.map(TransactionBuilder::read_only)
    }

    /// `READ WRITE`
    pub fn read_write(self) -> Self {
        self.map(TransactionBuilder::read_write)
    }

    /// `DEFERRABLE`
    pub fn deferrable(self) -> Self {
        self.map(TransactionBuilder::deferrable)
    }

    /// `NOT DEFERRABLE`
    pub fn not_deferrable(self) -> Self {
        self.map(TransactionBuilder::not_deferrable)
    }

    /// `ISOLATION LEVEL READ COMMITTED`
    pub fn read_committed(self) -> Self {
        self.map(TransactionBuilder::read_committed)
    }

    /// `ISOLATION LEVEL REPEATABLE READ`. The check is the transaction's first query, so the snapshot is that of the
    /// transaction's beginning, not of the closure's first query.
    pub fn repeatable_read(self) -> Self {
        self.map(TransactionBuilder::repeatable_read)
    }

    /// `ISOLATION LEVEL SERIALIZABLE`. The check is the transaction's first query, so the snapshot is that of the
    /// transaction's beginning, not of the closure's first query.
    pub fn serializable(self) -> Self {
        self.map(TransactionBuilder::serializable)
    }

    /// SQL, of one statement or several, that has to run before the check, which is a query: `SET TRANSACTION`, a
    /// tenant's `SET LOCAL search_path`, or a `LOCK` that has to come before a `REPEATABLE READ` transaction takes its
    /// snapshot.
    ///
    /// It is sent with a plain `BEGIN`, and the check follows in a savepoint: three round trips more than without. If
    /// it sets another search path than the session's, what was filled for the transaction ends with it: the next
    /// checkout costs one more. The SQL runs again if the transaction does.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::HotUpgradeExt;
    ///
    /// # fn transfer(conn: &mut PgConnection) -> QueryResult<()> { Ok(()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut conn = PgConnection::establish("postgres://app@pooler/app")?;
    /// conn.hot_transaction_with(
    ///     |builder| builder.repeatable_read().before_probe("LOCK TABLE accounts IN EXCLUSIVE MODE"),
    ///     transfer,
    /// )?;
    /// conn.hot_transaction_with(
    ///     |builder| builder.before_probe("SET LOCAL search_path = tenant_7, public"),
    ///     transfer,
    /// )?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn before_probe(self, sql: impl Into<String>) -> Self {
        HotTransactionBuilder { before_probe: Some(sql.into()), ..self }
    }

    pub(crate) fn build(self) -> QueryResult<Begin> {
        let mut sql = PgQueryBuilder::default();
        self.options.to_sql(&mut sql, &Pg)?;
        Ok(Begin { sql: Cow::Owned(sql.finish()), before_probe: self.before_probe, ..Begin::PLAIN })
    }

    /// Runs the transaction as stock Diesel does.
    pub(crate) fn run_stock<T, E: From<Error>>(
        mut self,
        closure: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let before_probe = self.before_probe;
        self.options.run(|conn| {
            if let Some(sql) = before_probe {
                conn.batch_execute(&sql)?;
            }
            closure(conn)
        })
    }
}

impl fmt::Debug for HotTransactionBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotTransactionBuilder").field("before_probe", &self.before_probe).finish_non_exhaustive()
    }
}
