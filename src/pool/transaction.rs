//! Transactions of a pool: they run again, on another connection, if theirs is lost.

pub(crate) mod builder;
pub(crate) mod error;
pub(crate) mod pauses;
pub(crate) mod progress;
mod tries;

use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel::result::Error;

use crate::environment;
use crate::pool::transaction::builder::HotPoolTransactionBuilder;
use crate::pool::transaction::error::{CutCause, HotTransactionError};
use crate::pool::transaction::tries::Tries;
use crate::transaction::run::run_nested;

/// Verified transactions that survive a lost connection, on a pool of [`PgConnection`]s with any manager.
///
/// All methods do what stock Diesel does (`pool.get()`, then `conn.transaction`) if `DIESEL_POSTGRES_HOT_UPGRADE=off` is
/// in the environment.
pub trait HotUpgradePool {
    /// A [verified transaction](crate::HotUpgradeExt::hot_transaction) on a connection of the pool. If the connection is
    /// lost, it runs again on another one.
    ///
    /// Use it if a switch cuts connections: a failover, PgBouncer's `KILL`, a load balancer, a managed service, session
    /// mode, no pooler at all. While no server answers, it waits.
    ///
    /// # What runs again
    ///
    /// What is known not to have committed, until it succeeds, the application fails, or the
    /// [deadline](HotPoolTransactionBuilder::within) has passed:
    ///
    /// - The pool had no connection, or `BEGIN` failed because the connection was dead, or because its server does not fit
    ///   [`target_session_attrs`](crate::HotUpgradeManager::target_session_attrs).
    /// - The connection was lost in the closure, or after it, before `COMMIT` was sent. The connection says so, not the
    ///   closure's error: a closure that returns `Ok` on a lost connection runs again too.
    /// - A statement of the closure failed, and the connection was lost before the server could be asked why.
    /// - The closure failed, and the server, which took writes before, takes none any more: it is in recovery, or
    ///   read-only by default, or has loaded its settings anew meanwhile. Not if the transaction is
    ///   [read-only](HotPoolTransactionBuilder::read_only). (With another manager than
    ///   [`HotUpgradeManager`](crate::HotUpgradeManager), the same connection has to have taken writes before. A
    ///   statement that failed inside a savepoint counts too.)
    /// - The closure failed, and the server does not fit `target_session_attrs` when it is asked whether caches are to
    ///   blame. Not if the closure has ended the transaction by itself.
    ///
    /// The first rerun comes at once. Before each later one is a pause of up to 10 ms, 20 ms, … 1 s. Connections that the
    /// pool had when the transaction began are tried without a pause. (With another manager, as many connections as the
    /// pool has slots.) Errors that come from outdated caches are healed as in
    /// [`hot_transaction`](crate::HotUpgradeExt::hot_transaction).
    ///
    /// **A closure must not run again if it does something outside the database** that can't be done twice: sends a
    /// mail, calls a service, writes to another connection. Do that after the transaction. A rerun sees the database as
    /// it is then: nothing of the lost attempt, and whatever others committed meanwhile. What the closure captured by
    /// reference is as the lost attempt left it.
    ///
    /// # What never runs again
    ///
    /// - The connection was lost while `COMMIT` was under way: [`HotTransactionError::OutcomeUnknown`], which says what
    ///   an application can do then.
    /// - The closure, `BEGIN` or `COMMIT` failed on a connection that is alive: [`HotTransactionError::Application`].
    ///
    /// What can't be seen: a closure that ends its transaction by raw SQL (`COMMIT`, `PREPARE TRANSACTION`) and loses its
    /// connection then, and a closure that commits through a second connection. Both would be committed twice.
    ///
    /// # The lost attempt
    ///
    /// A server does not notice that a client is gone while a statement runs: the old session keeps its locks. So before
    /// the closure runs again, the session of the lost attempt is ended: its statement is cancelled, and after 0.2 s the
    /// session is terminated. It is found by an advisory lock of a random key that `BEGIN`'s message takes. A role that
    /// may not take advisory locks on a server gets a warning, once, and does without there.
    ///
    /// # Cost
    ///
    /// Nothing is cut: the two round trips of a verified transaction. A pool of a
    /// [`HotUpgradeManager::new`](crate::HotUpgradeManager::new) does not check the connection at checkout, since `BEGIN`
    /// does; another manager's check comes in addition. Once for each pool, or for each connection if another manager
    /// opened it, one round trip to ask whether the server takes writes. A lost connection costs one round trip more in
    /// the rerun.
    ///
    /// Before `COMMIT`, notifications that arrived on the connection and that nobody has read are dropped.
    ///
    /// # Errors
    ///
    /// [`HotTransactionError`] tells apart the application's error, a deadline that has passed, and an unknown outcome.
    ///
    /// # Panics
    ///
    /// A panic of the closure rolls the transaction back, and continues. The pool drops the connection.
    ///
    /// # Inside another transaction
    ///
    /// It checks out a connection of its own, and is a transaction of its own. Inside its closure, use
    /// [`conn.hot_transaction`](crate::HotUpgradeExt::hot_transaction), which is a savepoint there.
    ///
    /// On connections with a test transaction (Diesel's `TestCustomizer`) it is a savepoint too: neither verified nor run
    /// again.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::{HotTransactionError, HotUpgradeManager, HotUpgradePool};
    ///
    /// # fn withdraw(conn: &mut PgConnection, amount: i64) -> QueryResult<()> { Ok(()) }
    /// # fn deposit(conn: &mut PgConnection, amount: i64) -> QueryResult<()> { Ok(()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = diesel::r2d2::Pool::new(HotUpgradeManager::new("postgres://app@pooler/app"))?;
    /// let moved: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
    ///     withdraw(conn, 100)?;
    ///     deposit(conn, 100)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    fn hot_transaction<T, E, F>(&self, closure: F) -> Result<T, HotTransactionError<E>>
    where
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>,
    {
        self.hot_transaction_with(|builder| builder, closure)
    }

    /// The same with options, which come first: those of [`hot_transaction_with`] on a connection, and [how long it may
    /// be tried](HotPoolTransactionBuilder::within).
    ///
    /// [`hot_transaction_with`]: crate::HotUpgradeExt::hot_transaction_with
    ///
    /// # Errors
    ///
    /// Those of [`HotUpgradePool::hot_transaction`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::{HotUpgradeManager, HotUpgradePool};
    ///
    /// # fn transfer(conn: &mut PgConnection) -> QueryResult<()> { Ok(()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = diesel::r2d2::Pool::new(HotUpgradeManager::new("postgres://app@pooler/app"))?;
    /// pool.hot_transaction_with(|builder| builder.serializable().within(Duration::from_secs(60)), transfer)?;
    /// # Ok(())
    /// # }
    /// ```
    fn hot_transaction_with<T, E, B, F>(&self, options: B, closure: F) -> Result<T, HotTransactionError<E>>
    where
        B: FnOnce(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder,
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>;
}

impl<M> HotUpgradePool for Pool<M>
where
    M: ManageConnection<Connection = PgConnection>,
{
    fn hot_transaction_with<T, E, B, F>(&self, options: B, closure: F) -> Result<T, HotTransactionError<E>>
    where
        B: FnOnce(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder,
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>,
    {
        let options = options(HotPoolTransactionBuilder::default());
        if environment::is_on() {
            return Tries::new(self, &options).run(closure);
        }
        let time = options.time().unwrap_or_else(|| self.connection_timeout());
        let checked_out = self.get_timeout(time);
        let mut conn = checked_out.map_err(|error| HotTransactionError::NotCommitted {
            cause: CutCause::NoConnection(Box::new(error)),
            tries: 0,
        })?;
        run_nested(&mut conn, &options.begin(), closure).map_err(HotTransactionError::Application)
    }
}
