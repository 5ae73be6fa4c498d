//! Verified transactions.

use diesel::result::Error;
use diesel_async::{AnsiTransactionManager, SimpleAsyncConnection, TransactionManager};

use crate::asynchronous::builder::HotAsyncTransactionBuilder;
use crate::asynchronous::commit::NotCommitted;
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::connection::notes;
use crate::environment;
use crate::report::log;
use crate::report::stats::COUNTERS;
use crate::transaction::begin::Begin;
use crate::transaction::heal::{Healed, MAX_RERUNS, Unknown};

/// What a closure has to be so that its future is `Send`: every `async |conn| …` whose captures are. As diesel-async's
/// own, which can't be named.
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

enum Attempt<T, E> {
    Over(Result<T, E>),
    /// A statement failed, and the transaction was rolled back without having been committed.
    Aborted(E),
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
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Clone
            + Send
            + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'conn,
    {
        async move {
            if self.depth()? > 0 || !environment::is_on() {
                return self.run_nested(&Begin::PLAIN, closure).await;
            }
            self.run(&Begin::PLAIN, closure).await
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
        B: FnOnce(HotAsyncTransactionBuilder) -> HotAsyncTransactionBuilder,
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Clone
            + Send
            + 'a,
        E: From<Error> + Send + 'a,
        T: Send + 'a,
        'a: 'conn,
    {
        let how = options(HotAsyncTransactionBuilder::default()).build();
        async move {
            if self.depth()? > 0 {
                return Err(Error::AlreadyInTransaction.into());
            }
            if !environment::is_on() {
                return self.run_nested(&how, closure).await;
            }
            self.run(&how, closure).await
        }
    }

    async fn run<T, E, F>(&mut self, how: &Begin, closure: F) -> Result<T, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Clone
            + Send,
        E: From<Error> + Send,
        T: Send,
    {
        let result = self.run_until_over(how, closure).await;
        if result.is_err() {
            self.memory.with(notes::forget_verified);
        }
        result
    }

    async fn run_until_over<T, E, F>(&mut self, how: &Begin, closure: F) -> Result<T, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Clone
            + Send,
        E: From<Error> + Send,
        T: Send,
    {
        let mut healed = Healed::Nothing;
        for reruns in 0.. {
            let begun = self.begin(how).await?;
            let mut guard = Guard::new(self);
            let attempted = guard.attempt(closure.clone()).await;
            guard.disarm();
            self.leave(&begun);
            let error = match attempted {
                Attempt::Over(Ok(value)) => {
                    self.memory.with(|oids| healed.succeeded(oids));
                    return Ok(value);
                }
                Attempt::Over(Err(error)) => {
                    self.memory.with(notes::set_rolled_back);
                    return Err(error);
                }
                Attempt::Aborted(error) => error,
            };
            self.memory.with(|oids| healed.was_in_vain(oids));
            healed = self.heal(Unknown::IsEmpty).await;
            if reruns == MAX_RERUNS || matches!(healed, Healed::Nothing) {
                self.give_up(healed);
                return Err(error);
            }
            healed.runs_again();
            log::note(format_args!(
                "a transaction failed and was rolled back; types or the catalog changed, so it runs again"
            ));
        }
        unreachable!("it returns after the last rerun")
    }

    /// The error is the application's. The next use of the connection finds correct caches all the same.
    fn give_up(&mut self, healed: Healed) {
        COUNTERS.failures_left.increment();
        self.memory.with(|oids| {
            healed.was_in_vain(oids);
            notes::set_rolled_back(oids);
        });
        if self.filled_from().is_some_and(|snapshot| !snapshot.is_uncertain()) {
            self.restore_statement_cache();
        }
    }

    async fn attempt<T, E, F>(&mut self, closure: F) -> Attempt<T, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Send,
        E: From<Error> + Send,
        T: Send,
    {
        match closure(&mut *self).await {
            Ok(value) => match self.commit().await {
                Ok(()) => Attempt::Over(Ok(value)),
                Err(NotCommitted::Aborted(error)) if self.memory.may_have_ended() => {
                    Attempt::Over(Err(error.into()))
                }
                Err(NotCommitted::Aborted(error)) => Attempt::Aborted(error.into()),
                Err(NotCommitted::Otherwise(error)) => Attempt::Over(Err(error.into())),
            },
            Err(error) => {
                let is_aborted = self.roll_back_after_error().await;
                if is_aborted { Attempt::Aborted(error) } else { Attempt::Over(Err(error)) }
            }
        }
    }

    /// Runs `closure` as stock diesel-async does, in a savepoint if a transaction is open. If that is rolled back, so
    /// is a search path that it set: what the caches were filled with for that is forgotten.
    async fn run_nested<T, E, F>(&mut self, how: &Begin, closure: F) -> Result<T, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Send,
        E: From<Error> + Send,
        T: Send,
    {
        let (filled_from, outer) =
            self.memory.with(|oids| (notes::snapshot(oids), notes::lasting(oids).own_depth));
        let inner = self.depth().map_or(0, |depth| depth + 1);
        self.set_own_depth(inner);
        let mut guard = Guard::new(self);
        let result = guard.run_stock(how, closure).await;
        guard.disarm();
        self.set_own_depth(outer);
        if result.is_err() {
            self.memory.with(notes::forget_verified);
            if self.memory.with(notes::snapshot) != filled_from {
                self.forget_oids();
            }
        }
        result
    }

    async fn run_stock<T, E, F>(&mut self, how: &Begin, closure: F) -> Result<T, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut HotUpgradeAsyncPgConnection) -> Result<T, E>
            + AsyncFunc<&'r mut HotUpgradeAsyncPgConnection, Result<T, E>, Fut: Send>
            + Send,
        E: From<Error> + Send,
        T: Send,
    {
        if self.is_in_transaction() {
            AnsiTransactionManager::begin_transaction(self).await?;
        } else {
            AnsiTransactionManager::begin_transaction_sql(self, &how.sql).await?;
        }
        let prepared = match &how.before_probe {
            Some(sql) => self.batch_execute(sql).await,
            None => Ok(()),
        };
        let result = match prepared {
            Ok(()) => closure(&mut *self).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(value) => AnsiTransactionManager::commit_transaction(self).await.map(|()| value).map_err(E::from),
            Err(error) => match AnsiTransactionManager::rollback_transaction(self).await {
                Ok(()) | Err(Error::BrokenTransactionManager) => Err(error),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn set_own_depth(&mut self, depth: u32) {
        self.memory.with(|oids| notes::change_lasting(oids, |lasting| lasting.own_depth = depth));
    }
}
