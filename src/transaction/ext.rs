//! What this crate adds to a connection.

use diesel::pg::PgConnection;
use diesel::result::Error;

use crate::connection::transaction_state::is_in_transaction;
use crate::environment;
use crate::transaction::begin::Begin;
use crate::transaction::builder::HotTransactionBuilder;
use crate::transaction::query::HotQuery;
use crate::transaction::run::{run, run_nested};

/// Verified transactions and queries, on a [`PgConnection`], so also on a pool's connections.
///
/// All methods do what stock Diesel does if `DIESEL_POSTGRES_HOT_UPGRADE=off` is in the environment.
pub trait HotUpgradeExt {
    /// Like [`Connection::transaction`](diesel::Connection::transaction), but no statement in it can bind an OID of
    /// another server.
    ///
    /// `BEGIN` and the check are one message, and a pooler in transaction mode keeps the server connection until
    /// `COMMIT`. So the server can't change under the closure. If it changed before, the caches are corrected first.
    ///
    /// A migration can still commit between the check and a statement. If the statement fails for that reason, the
    /// transaction is rolled back, the server is asked whether its catalog changed, and if so, `closure` **runs
    /// again**, at most twice. What the closure does outside the database should bear that. This heals types that were
    /// re-created, and prepared statements that are out of date (`cached plan must not change result type`).
    ///
    /// # What is never run again
    ///
    /// The closure never runs again if the transaction may have been committed, or if something else failed:
    ///
    /// - The closure returned an error while the transaction was in order. (If a statement fails inside a savepoint of
    ///   the closure, it is rolled back with the savepoint, and the transaction stays in order. Then the closure does
    ///   not run again, but the message that rolls back asks whether statements are out of date, and heals the
    ///   connection for the next transaction. A failure inside a nested `hot_transaction` is known, and heals as one of
    ///   the closure itself.)
    /// - A statement failed, the catalog has not changed, and nothing else makes the caches suspect: a violated
    ///   constraint, a failed serialization. (Suspect are: another server that answers when asked, prepared statements
    ///   that are gone, and, at most once in ten seconds, an earlier transaction that was rolled back on this
    ///   connection.)
    /// - `COMMIT` failed, whose outcome may be unknown, or the connection was lost.
    ///
    /// # Inside another transaction
    ///
    /// There it is a savepoint, as with Diesel: neither verified nor run again. The outer one should be a verified
    /// transaction. Diesel has to know of the outer one: if it was begun with a raw `BEGIN` in `batch_execute`, it is
    /// not seen, and ends when this one ends.
    ///
    /// # Cost
    ///
    /// Two round trips if nothing changed, as Diesel's own transaction, also if the message looks for new types. The
    /// server plans the check each time. After a change 6 or 7 more, once for each connection. A failed statement costs
    /// one, to ask whether the catalog changed (none behind PgBouncer: the question travels with `ROLLBACK`); if it did,
    /// three or four more and those of the rerun, and behind PgBouncer about 12 more for each of its server connections.
    /// While two servers take turns behind one address, 5 more: each transaction starts with empty caches.
    ///
    /// After a change, the server's log has an `ERROR` for the message that was refused; its text names this crate. If
    /// a role may not read `pg_type`, each transaction looks up the types that it uses.
    ///
    /// After an error of the closure, an instrumentation sees a statement `/* diesel-postgres-hot-upgrade: never sent
    /// */` that fails. It is never sent: it brings Diesel's view of the transaction up to date.
    ///
    /// # Errors
    ///
    /// The closure's own, unchanged. In addition to those of
    /// [`Connection::transaction`](diesel::Connection::transaction), a
    /// [`QueryBuilderError`](Error::QueryBuilderError) that says what to do:
    ///
    /// - A statement failed, and the closure returned `Ok`. (The server answers `COMMIT` with a rollback then, which
    ///   Diesel reports as success.)
    /// - The closure ended the transaction itself, with raw SQL or by Diesel's means, or left a savepoint open.
    ///
    /// One way to end it can't be noticed: in the same message that begins another transaction, such as `COMMIT AND
    /// CHAIN`. A closure must not do that: what it committed that way would be committed twice if it ran again.
    ///
    /// # Panics
    ///
    /// A panic of the closure rolls the transaction back, and continues. If the rollback fails, the connection is
    /// marked broken, and a pool drops it.
    ///
    /// # Search paths and migrations
    ///
    /// The check compares the search path. If tenants use `SET LOCAL search_path`, set it [before the
    /// check](HotTransactionBuilder::before_probe), or set it in the closure and call
    /// [`synchronize`](crate::synchronize) after it. What was filled for such a transaction ends with it, and the
    /// statement cache is off in it. That costs 3 round trips more, 5 more in the closure, and 1 more at the next
    /// checkout. Types that are named with their schema (`#[diesel(postgres_type(name = "…", schema = "…"))]`), or a
    /// pool for each tenant, are cheaper.
    ///
    /// Call [`synchronize`](crate::synchronize) also after migrations on a connection that you hold. If it is called in
    /// the transaction that changes types, that transaction has to be a verified one.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager};
    ///
    /// # fn withdraw(conn: &mut PgConnection, amount: i64) -> QueryResult<()> { Ok(()) }
    /// # fn deposit(conn: &mut PgConnection, amount: i64) -> QueryResult<()> { Ok(()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = diesel::r2d2::Pool::new(HotUpgradeManager::new("postgres://app@pooler/app"))?;
    /// let mut conn = pool.get()?;
    /// conn.hot_transaction(|conn| {
    ///     withdraw(conn, 100)?;
    ///     deposit(conn, 100)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    fn hot_transaction<T, E, F>(&mut self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>;

    /// The same with options, which come first: those of Diesel's
    /// [`build_transaction`](PgConnection::build_transaction), and [SQL that runs before the
    /// check](HotTransactionBuilder::before_probe).
    ///
    /// The check is the transaction's first query. Under `REPEATABLE READ` and `SERIALIZABLE` it takes the snapshot:
    /// the closure sees the database as of the transaction's beginning, not of its own first query. `SET TRANSACTION`
    /// is refused in the closure, since a query came before.
    ///
    /// # Errors
    ///
    /// Those of [`HotUpgradeExt::hot_transaction`], and [`Error::AlreadyInTransaction`] inside another transaction, as
    /// with Diesel.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::HotUpgradeExt;
    ///
    /// # fn report(conn: &mut PgConnection) -> QueryResult<String> { Ok(String::new()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut conn = PgConnection::establish("postgres://app@pooler/app")?;
    /// let report = conn.hot_transaction_with(|builder| builder.serializable().read_only(), report)?;
    /// # Ok(())
    /// # }
    /// ```
    fn hot_transaction_with<T, E, B, F>(&mut self, options: B, closure: F) -> Result<T, E>
    where
        B: FnOnce(HotTransactionBuilder) -> HotTransactionBuilder,
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>;

    /// A single statement outside a transaction that heals errors. If it fails with a database error, the server is
    /// asked. If the server, its types or its catalog changed, the caches are corrected and the statement runs
    /// again, at most twice.
    ///
    /// **It cannot prevent a wrong answer**, as a verified transaction does. Nothing is asked before the statement
    /// runs, and if an OID names another type on the new server, the statement may succeed and mean something else.
    /// (Asking first would not help: without a transaction, a pooler may send the question and the statement to two
    /// servers.)
    ///
    /// It is not run again if it may have taken effect: after a lost connection, after an error of decoding its rows
    /// (those of a `RETURNING`, for example), and if it does not begin with `SELECT`, `INSERT`, `UPDATE`, `DELETE`,
    /// `MERGE`, `VALUES`, `TABLE` or `WITH`, since a `CALL` or a `DO` may commit in between. All rows are received
    /// before the first is decoded. Inside a transaction it runs once only, since an error aborts the transaction. What
    /// no rollback undoes can happen twice, as with any retry: a sequence's next number, an advisory lock of the
    /// session, `dblink`.
    ///
    /// # Cost
    ///
    /// None, unless it fails. Then one round trip to ask. If the catalog changed three or four more, or those of
    /// [`synchronize`](crate::synchronize) after a change, and those of the statement.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::HotUpgradeExt;
    ///
    /// diesel::table! {
    ///     documents (id) {
    ///         id -> BigInt,
    ///         title -> Text,
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut conn = PgConnection::establish("postgres://app@pooler/app")?;
    /// let titles: Vec<String> = conn.hot_query(documents::table.select(documents::title)).load()?;
    /// let deleted = conn.hot_query(diesel::delete(documents::table)).execute()?;
    /// # Ok(())
    /// # }
    /// ```
    fn hot_query<Q>(&mut self, query: Q) -> HotQuery<'_, Q>;
}

impl HotUpgradeExt for PgConnection {
    fn hot_transaction<T, E, F>(&mut self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>,
    {
        if is_in_transaction(self) || !environment::is_on() {
            return run_nested(self, &Begin::PLAIN, closure);
        }
        run(self, &Begin::PLAIN, closure).into_result()
    }

    fn hot_transaction_with<T, E, B, F>(&mut self, options: B, closure: F) -> Result<T, E>
    where
        B: FnOnce(HotTransactionBuilder) -> HotTransactionBuilder,
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>,
    {
        let how = options(HotTransactionBuilder::default()).begin();
        if is_in_transaction(self) {
            return Err(Error::AlreadyInTransaction.into());
        }
        if !environment::is_on() {
            return run_nested(self, &how, closure);
        }
        run(self, &how, closure).into_result()
    }

    fn hot_query<Q>(&mut self, query: Q) -> HotQuery<'_, Q> {
        HotQuery::new(self, query)
    }
}
