//! The options of a verified transaction.

use std::borrow::Cow;

use crate::transaction::begin::Begin;

/// Options of a transaction, and [SQL that runs before the check](HotAsyncTransactionBuilder::before_probe). See
/// [`hot_transaction_with`](crate::asynchronous::HotUpgradeAsyncPgConnection::hot_transaction_with).
#[derive(Debug, Default, Clone)]
#[must_use]
pub struct HotAsyncTransactionBuilder {
    isolation: &'static str,
    access: &'static str,
    deferrable: &'static str,
    before_probe: Option<String>,
}

impl HotAsyncTransactionBuilder {
    /// `READ ONLY`
    pub fn read_only(self) -> Self {
        HotAsyncTransactionBuilder { access: " READ ONLY", ..self }
    }

    /// `READ WRITE`
    pub fn read_write(self) -> Self {
        HotAsyncTransactionBuilder { access: " READ WRITE", ..self }
    }

    /// `DEFERRABLE`
    pub fn deferrable(self) -> Self {
        HotAsyncTransactionBuilder { deferrable: " DEFERRABLE", ..self }
    }

    /// `NOT DEFERRABLE`
    pub fn not_deferrable(self) -> Self {
        HotAsyncTransactionBuilder { deferrable: " NOT DEFERRABLE", ..self }
    }

    /// `ISOLATION LEVEL READ COMMITTED`
    pub fn read_committed(self) -> Self {
        HotAsyncTransactionBuilder { isolation: " ISOLATION LEVEL READ COMMITTED", ..self }
    }

    /// `ISOLATION LEVEL REPEATABLE READ`. The check is the transaction's first query, so the snapshot is that of the
    /// transaction's beginning, not of the closure's first query.
    pub fn repeatable_read(self) -> Self {
        HotAsyncTransactionBuilder { isolation: " ISOLATION LEVEL REPEATABLE READ", ..self }
    }

    /// `ISOLATION LEVEL SERIALIZABLE`. The check is the transaction's first query, so the snapshot is that of the
    /// transaction's beginning, not of the closure's first query.
    pub fn serializable(self) -> Self {
        HotAsyncTransactionBuilder { isolation: " ISOLATION LEVEL SERIALIZABLE", ..self }
    }

    /// SQL that has to run before the check, which is a query: a tenant's `SET LOCAL search_path`, for example. As
    /// [`before_probe`](crate::HotTransactionBuilder::before_probe) of the blocking connection.
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// # async fn transfer(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<()> { Ok(()) }
    /// # async fn run(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<()> {
    /// let of_tenant = "SET LOCAL search_path = tenant_7, public";
    /// conn.hot_transaction_with(|builder| builder.before_probe(of_tenant), async |conn| transfer(conn).await).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn before_probe(self, sql: impl Into<String>) -> Self {
        HotAsyncTransactionBuilder { before_probe: Some(sql.into()), ..self }
    }

    pub(super) fn build(self) -> Begin {
        let HotAsyncTransactionBuilder { isolation, access, deferrable, before_probe } = self;
        let sql = format!("BEGIN TRANSACTION{isolation}{access}{deferrable}");
        Begin { sql: Cow::Owned(sql), before_probe, ..Begin::PLAIN }
    }
}

#[cfg(test)]
mod tests {
    use super::HotAsyncTransactionBuilder;

    #[test]
    fn options_are_in_the_order_of_the_grammar() {
        let how = HotAsyncTransactionBuilder::default().deferrable().read_only().serializable().build();
        assert_eq!(how.sql, "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE");
    }
}
