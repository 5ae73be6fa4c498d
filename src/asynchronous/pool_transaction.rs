//! Transactions of a pool: they run again, on another connection, if theirs is lost.

use diesel::result::Error;

#[cfg(doc)]
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::run::AsyncClosure;
use crate::asynchronous::source::Source;
use crate::asynchronous::tries::Tries;
use crate::pool::transaction::builder::HotPoolTransactionBuilder;
use crate::pool::transaction::error::HotTransactionError;

/// Verified transactions that survive a lost connection, on the pools of diesel-async: bb8 with the feature `bb8`,
/// deadpool with the feature `deadpool`.
///
/// All methods do what stock diesel-async does (`pool.get()`, then `conn.transaction`) if
/// `DIESEL_POSTGRES_HOT_UPGRADE=off` is in the environment.
pub trait HotUpgradeAsyncPool {
    /// A [verified transaction](HotUpgradeAsyncPgConnection::hot_transaction) on a connection of the pool. If the
    /// connection is lost, it runs again on another one.
    ///
    /// As [`hot_transaction`](crate::HotUpgradePool::hot_transaction) of the blocking pool, which says what runs again,
    /// what never does, what a closure must not do, and how the lost attempt is ended. What is different:
    ///
    /// - The closure is cloned for each run, so it can't capture `&mut`.
    /// - A `COMMIT` of the closure's own is seen in the text that it sends. After one, a lost connection is the
    ///   application's error, and nothing runs again. The same holds if the closure used
    ///   [`stock`](HotUpgradeAsyncPgConnection::stock).
    /// - Notifications that nobody has read are kept.
    ///
    /// # Cost
    ///
    /// Nothing is cut: the two round trips of a verified transaction. A pool with diesel-async's default
    /// [`RecyclingMethod::Verified`](diesel_async::pooled_connection::RecyclingMethod::Verified) does not check the
    /// connection at checkout, since `BEGIN` does. Once for each address (or for each connection, if it was
    /// [wrapped](HotUpgradeAsyncPgConnection::wrap)), two round trips to ask whether the server takes writes. If a
    /// closure returns `Ok` after a statement failed, one round trip more, and two more after a `BEGIN` or `COMMIT`
    /// that failed.
    ///
    /// A Tokio runtime with a timer is needed (`enable_time` or `enable_all`).
    ///
    /// # Deadline
    ///
    /// [`within`](HotPoolTransactionBuilder::within), or bb8's `connection_timeout`, or deadpool's timeout for `wait`.
    /// 30 seconds if that is not set. What the pool itself says is waited for, or tried again, within it.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the pool closes the connection of a transaction that was open, and the server rolls
    /// back. No permit of the pool is kept. (A `COMMIT` that was sent may have been executed.)
    ///
    /// If the closure drops the future of a nested `hot_transaction` half-way, by a timeout for example, nothing is
    /// committed, and the closure does not run again.
    ///
    /// # Errors
    ///
    /// [`HotTransactionError`] tells apart the application's error, a deadline that has passed, and an unknown outcome.
    ///
    /// # Panics
    ///
    /// If the closure panics, the panic continues, and the pool closes the connection.
    ///
    /// # Inside another transaction
    ///
    /// It checks out a connection of its own, and is a transaction of its own. Inside its closure, use
    /// [`conn.hot_transaction`](HotUpgradeAsyncPgConnection::hot_transaction), which is a savepoint there. On
    /// connections with a test transaction it is a savepoint too: neither verified nor run again.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_async::RunQueryDsl;
    /// use diesel_async::pooled_connection::bb8::Pool;
    /// use diesel_postgres_hot_upgrade::HotTransactionError;
    /// use diesel_postgres_hot_upgrade::asynchronous::{HotUpgradeAsyncPgConnection, HotUpgradeAsyncPool};
    ///
    /// # diesel::table! { documents (id) { id -> BigInt, title -> Text, } }
    /// async fn rename(pool: &Pool<HotUpgradeAsyncPgConnection>, title: &str) -> Result<usize, HotTransactionError> {
    ///     pool.hot_transaction(async |conn| {
    ///         diesel::update(documents::table.find(1)).set(documents::title.eq(title)).execute(conn).await
    ///     })
    ///     .await
    /// }
    /// ```
    fn hot_transaction<'a, 'pool, T, E, F>(
        &'pool self,
        closure: F,
    ) -> impl Future<Output = Result<T, HotTransactionError<E>>> + Send + 'pool
    where
        F: AsyncClosure<T, E> + Clone + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'pool,
    {
        self.hot_transaction_with(|builder| builder, closure)
    }

    /// The same with options, which come first: isolation, access,
    /// [SQL before the check](HotPoolTransactionBuilder::before_probe), and
    /// [how long it may be tried](HotPoolTransactionBuilder::within).
    ///
    /// # Errors
    ///
    /// Those of [`HotUpgradeAsyncPool::hot_transaction`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use diesel::prelude::*;
    /// use diesel_async::pooled_connection::deadpool::Pool;
    /// use diesel_postgres_hot_upgrade::HotTransactionError;
    /// use diesel_postgres_hot_upgrade::asynchronous::{HotUpgradeAsyncPgConnection, HotUpgradeAsyncPool};
    ///
    /// # async fn transfer(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<()> { Ok(()) }
    /// async fn run(pool: &Pool<HotUpgradeAsyncPgConnection>) -> Result<(), HotTransactionError> {
    ///     let options = |builder: diesel_postgres_hot_upgrade::HotPoolTransactionBuilder| {
    ///         builder.serializable().within(Duration::from_secs(60))
    ///     };
    ///     pool.hot_transaction_with(options, async |conn| transfer(conn).await).await
    /// }
    /// ```
    fn hot_transaction_with<'a, 'pool, T, E, B, F>(
        &'pool self,
        options: B,
        closure: F,
    ) -> impl Future<Output = Result<T, HotTransactionError<E>>> + Send + 'pool
    where
        B: FnOnce(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder,
        F: AsyncClosure<T, E> + Clone + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'pool;
}

impl<P: Source> HotUpgradeAsyncPool for P {
    fn hot_transaction_with<'a, 'pool, T, E, B, F>(
        &'pool self,
        options: B,
        closure: F,
    ) -> impl Future<Output = Result<T, HotTransactionError<E>>> + Send + 'pool
    where
        B: FnOnce(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder,
        F: AsyncClosure<T, E> + Clone + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'pool,
    {
        Tries::new(self, options(HotPoolTransactionBuilder::default())).run(closure)
    }
}
