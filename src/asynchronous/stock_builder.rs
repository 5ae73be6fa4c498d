//! Transactions with options that are not verified, as stock diesel-async has them.

use std::fmt;

use diesel::result::Error;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::run::AsyncClosure;
use crate::transaction::builder::{HotTransactionBuilder, forward_options};

/// Builds a transaction that is **not** verified, for
/// [`build_transaction`](HotUpgradeAsyncPgConnection::build_transaction): what
/// [`diesel_async::pg::TransactionBuilder`] is for the stock connection.
#[must_use = "a transaction builder does nothing before `run` is called"]
pub struct AsyncTransactionBuilder<'a> {
    conn: &'a mut HotUpgradeAsyncPgConnection,
    options: HotTransactionBuilder,
}

impl HotUpgradeAsyncPgConnection {
    /// Like [`AsyncPgConnection::build_transaction`](diesel_async::AsyncPgConnection::build_transaction): a transaction
    /// with options that is **not** verified. The one that is:
    /// [`hot_transaction_with`](HotUpgradeAsyncPgConnection::hot_transaction_with).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// # async fn report(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<String> { Ok(String::new()) }
    /// # async fn run(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<()> {
    /// let report = conn.build_transaction().read_only().run(async |conn| report(conn).await).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn build_transaction(&mut self) -> AsyncTransactionBuilder<'_> {
        AsyncTransactionBuilder { conn: self, options: HotTransactionBuilder::default() }
    }
}

impl<'a> AsyncTransactionBuilder<'a> {
    forward_options! {
        /// `READ ONLY`
        read_only
        /// `READ WRITE`
        read_write
        /// `DEFERRABLE`
        deferrable
        /// `NOT DEFERRABLE`
        not_deferrable
        /// `ISOLATION LEVEL READ COMMITTED`
        read_committed
        /// `ISOLATION LEVEL REPEATABLE READ`
        repeatable_read
        /// `ISOLATION LEVEL SERIALIZABLE`
        serializable
    }

    /// Runs the closure in the transaction. It is committed if the closure returns `Ok`, and else rolled back.
    ///
    /// # Errors
    ///
    /// Those of the closure, of `BEGIN` and of `COMMIT`. [`Error::AlreadyInTransaction`] inside another transaction.
    // An `async fn` does not say that its future is `Send`.
    #[allow(clippy::manual_async_fn)]
    pub fn run<'b, T, E, F>(self, closure: F) -> impl Future<Output = Result<T, E>> + Send + 'a
    where
        F: AsyncClosure<T, E> + 'b,
        E: From<Error> + Send + 'b,
        T: Send + 'b,
        'b: 'a,
    {
        let AsyncTransactionBuilder { conn, options } = self;
        async move {
            if conn.depth()? > 0 {
                return Err(Error::AlreadyInTransaction.into());
            }
            conn.run_nested(&options.begin(), closure).await
        }
    }
}

impl fmt::Debug for AsyncTransactionBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncTransactionBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
