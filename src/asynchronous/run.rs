//! Verified transactions.

use diesel::result::Error;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::environment;
use crate::transaction::begin::Begin;
use crate::transaction::builder::HotTransactionBuilder;

/// What the closure of a transaction is: every `async |conn| …` whose captures are `Send`. Of use in the bounds of a
/// function that passes one on.
///
/// ```no_run
/// use diesel::result::Error;
/// use diesel_postgres_hot_upgrade::asynchronous::{AsyncClosure, HotUpgradeAsyncPgConnection};
///
/// async fn twice<T, E, F>(conn: &mut HotUpgradeAsyncPgConnection, closure: F) -> Result<T, E>
/// where
///     F: AsyncClosure<T, E> + Clone,
///     E: From<Error> + Send,
///     T: Send,
/// {
///     conn.hot_transaction(closure.clone()).await?;
///     conn.hot_transaction(closure).await
/// }
/// ```
pub trait AsyncClosure<T, E>:
    for<'r> AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
    + for<'r> AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
    + Send
{
}

impl<F, T, E> AsyncClosure<T, E> for F where
    for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
        + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
        + Send
{
}

/// Names the future of a closure. As diesel-async's own, which can't be named.
pub trait AsyncFunc<T, R>: AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncFunc<T, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, T, Fut, R> AsyncFunc<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

impl HotUpgradeAsyncPgConnection {
    /// Like [`AsyncConnection::transaction`](diesel_async::AsyncConnection::transaction), but no statement in it can
    /// bind an OID of another server. As [`hot_transaction`](crate::HotUpgradeExt::hot_transaction) of the blocking
    /// connection, which says when the closure runs again, and when it never does.
    ///
    /// The closure may run again, so it is cloned: it can own clones and references, and can't capture `&mut`.
    ///
    /// # Cost
    ///
    /// Two round trips if nothing changed, as stock: `BEGIN` and the check are pipelined, and so are a savepoint and
    /// `COMMIT`. (The first check of a snapshot on a connection is one more, to prepare it.) A statement that fails
    /// costs two more, to ask whether types or the catalog changed.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while a transaction is open, or while `COMMIT` is under way, the connection is broken:
    /// it can begin no other transaction, and a pool closes it, upon which the server rolls back. (A `COMMIT` that was
    /// sent may have been executed.)
    ///
    /// # Errors
    ///
    /// Those of [`hot_transaction`](crate::HotUpgradeExt::hot_transaction) of the blocking connection.
    ///
    /// A `COMMIT` or `ROLLBACK` of the closure's own is seen in the text that it sends. If one is sent over
    /// [`stock`](HotUpgradeAsyncPgConnection::stock), it is not seen, and the closure does not run again.
    ///
    /// # Panics
    ///
    /// If the closure panics, the panic continues, and the connection is broken.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_async::RunQueryDsl;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// # diesel::table! { documents (id) { id -> BigInt, title -> Text, } }
    /// # async fn rename(conn: &mut HotUpgradeAsyncPgConnection, title: &str) -> QueryResult<()> {
    /// conn.hot_transaction(async |conn| {
    ///     diesel::update(documents::table.find(1)).set(documents::title.eq(title)).execute(conn).await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    // An `async fn` does not say that its future is `Send`.
    #[allow(clippy::manual_async_fn)]
    pub fn hot_transaction<'a, 'conn, T, E, F>(
        &'conn mut self,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + 'conn
    where
        F: AsyncClosure<T, E> + Clone + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'conn,
    {
        async move {
            if self.depth()? > 0 || !environment::is_on() {
                return self.run_nested(&Begin::PLAIN, closure).await;
            }
            self.run(&Begin::PLAIN, closure).await.into_result()
        }
    }

    /// The same with options, which come first. See
    /// [`hot_transaction_with`](crate::HotUpgradeExt::hot_transaction_with) of the blocking connection.
    ///
    /// # Errors
    ///
    /// Those of [`hot_transaction`](HotUpgradeAsyncPgConnection::hot_transaction), and [`Error::AlreadyInTransaction`]
    /// inside another transaction.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// # async fn report(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<String> { Ok(String::new()) }
    /// # async fn run(conn: &mut HotUpgradeAsyncPgConnection) -> QueryResult<()> {
    /// let report = conn
    ///     .hot_transaction_with(|builder| builder.serializable().read_only(), async |conn| report(conn).await)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn hot_transaction_with<'a, 'conn, T, E, B, F>(
        &'conn mut self,
        options: B,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + 'conn
    where
        B: FnOnce(HotTransactionBuilder) -> HotTransactionBuilder,
        F: AsyncClosure<T, E> + Clone + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'conn,
    {
        let how = options(HotTransactionBuilder::default()).begin();
        async move {
            if self.depth()? > 0 {
                return Err(Error::AlreadyInTransaction.into());
            }
            if !environment::is_on() {
                return self.run_nested(&how, closure).await;
            }
            self.run(&how, closure).await.into_result()
        }
    }
}
