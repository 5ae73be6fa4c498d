//! What this crate adds to a connection.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error;

use crate::connection::transaction_state::is_in_transaction;
use crate::environment;
use crate::transaction::begin::Begin;
use crate::transaction::builder::HotTransactionBuilder;
use crate::transaction::query::HotQuery;
use crate::transaction::run::{run, run_nested};

/// Verified transactions and queries, on a [`PgConnection`] and so on one of a pool.
///
/// All methods do what stock Diesel does where `DIESEL_POSTGRES_HOT_UPGRADE=off` is in the environment.
pub trait HotUpgradeExt {
    /// Like [`Connection::transaction`], but no statement in it can bind an OID of another server.
    ///
    /// `BEGIN` and the probe are one message, and a pooler in transaction mode pins the server connection from there to
    /// `COMMIT`: so the server can't change under the closure, wherever it changed before. Where it did, the caches are
    /// made right first.
    ///
    /// Types can still be created anew on the same server, by a migration that commits between the probe and a
    /// statement. That statement then fails; the transaction is rolled back, the server asked, and if types did change,
    /// `closure` **runs again**, at most twice: what it does outside the database should bear that.
    ///
    /// # What is never run again
    ///
    /// What may have been committed, and what failed for another reason:
    ///
    /// - an error of the application, that is, any error the closure returns while the transaction is in order. (A
    ///   failed statement inside a savepoint of the closure's own is rolled back with it, and leaves the transaction in
    ///   order.)
    /// - a failed statement where no types have changed: a violated constraint, a failed serialization. (If
    ///   another server answers when asked, that counts as a change.)
    /// - an error of `COMMIT`, whose outcome may be unknown, and a lost connection
    ///
    /// # Inside another transaction
    ///
    /// There it is a savepoint, as with Diesel, and nothing else: neither verified nor run again. The outer one should be
    /// a verified transaction. Diesel has to know of it: one that was begun with a raw `BEGIN` in `batch_execute` is not
    /// seen, and this one's end would be its end.
    ///
    /// # Cost
    ///
    /// As many round trips as Diesel's own transaction, two, where nothing changed; the server does more in the first: it
    /// plans the probe anew each time. After a change five or six more, once for each connection; one or two more for the
    /// first transaction of the process on each server. A failed statement costs one to ask the server.
    ///
    /// Where something changed, the server's log has an `ERROR` for the message that was refused; the statement in it names
    /// this crate. Where the server does not tell when it started, each transaction costs four more.
    ///
    /// After a closure's error, an instrumentation sees a statement `/* diesel-postgres-hot-upgrade: never sent */` that
    /// fails: it brings Diesel's view of the transaction up to date, and is what it says.
    ///
    /// # Errors
    ///
    /// The closure's own, untouched. Beyond those of [`Connection::transaction`], as a
    /// [`QueryBuilderError`](Error::QueryBuilderError) that says what to do:
    ///
    /// - A statement failed and the closure returned `Ok` nevertheless. (The server answers `COMMIT` with a rollback
    ///   then, which Diesel takes for success.)
    /// - The closure ended the transaction by itself, with raw SQL or by Diesel's means, or left a savepoint open.
    ///
    /// One way to end it can't be noticed: in the same message that begins another one, `COMMIT AND CHAIN` for one. A
    /// closure must not do that: what it committed so would be committed twice if it ran again.
    ///
    /// # Panics
    ///
    /// A panic of the closure rolls the transaction back and goes on. Where that fails, the connection is marked broken,
    /// and a pool drops it.
    ///
    /// # Search paths and migrations
    ///
    /// The probe compares the schemas that were in the search path when the transaction began. After a
    /// `SET LOCAL search_path` in the closure, as tenants use it, call [`synchronize`](crate::synchronize), or set it
    /// [before the probe](HotTransactionBuilder::before_probe); and after migrations on a connection that you hold. Each
    /// such transaction empties the connection's caches twice, which costs about twenty round trips in all, and wears
    /// the connection out: types that are named with their schema
    /// (`#[diesel(postgres_type(name = "…", schema = "…"))]`), or a pool for each tenant, are far cheaper.
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

    /// The same with options, which come first: those of Diesel's [`build_transaction`](PgConnection::build_transaction), and
    /// [SQL that has to come first](HotTransactionBuilder::before_probe).
    ///
    /// The probe is the transaction's first query. Under `REPEATABLE READ` and `SERIALIZABLE` it takes the snapshot, so
    /// the closure sees the database as of the beginning, not of its own first query; and `SET TRANSACTION` is refused
    /// in the closure, since a query came before.
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
        B: FnOnce(HotTransactionBuilder<'_>) -> HotTransactionBuilder<'_>,
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>;

    /// A single statement outside a transaction that heals errors: where it fails with a database error, the server is
    /// asked, and if the server or its types changed, the caches are made right and the statement runs once more.
    ///
    /// **It cannot prevent a wrong answer**, as a verified transaction does: nothing is asked before the statement runs,
    /// and where an OID names another type on the new server, the statement may succeed and mean something else. (To ask
    /// first would not help: without a transaction, a pooler may send the question and the statement to two servers.)
    ///
    /// It is not run again where it may have taken effect: after a lost connection, an error of decoding its rows (those
    /// of a `RETURNING`, say), and where it is none of `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `VALUES`, `TABLE`
    /// and `WITH`; a `CALL` or a `DO` may commit in between. All rows are received before the first is decoded. Inside a
    /// transaction it runs once, since an error aborts the transaction. What no rollback undoes can happen twice, as it can
    /// with any retry: a sequence's next number, an advisory lock of the session, `dblink`.
    ///
    /// # Cost
    ///
    /// None, unless it fails; then one round trip to ask, and those of [`synchronize`](crate::synchronize) after a change.
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
            return run_nested(self, |conn| conn.transaction(closure));
        }
        run(self, &Begin::PLAIN, closure)
    }

    fn hot_transaction_with<T, E, B, F>(&mut self, options: B, closure: F) -> Result<T, E>
    where
        B: FnOnce(HotTransactionBuilder<'_>) -> HotTransactionBuilder<'_>,
        F: FnMut(&mut PgConnection) -> Result<T, E>,
        E: From<Error>,
    {
        let is_stock = is_in_transaction(self) || !environment::is_on();
        if is_stock {
            return run_nested(self, |conn| options(HotTransactionBuilder::new(conn)).run_stock(closure));
        }
        let options = options(HotTransactionBuilder::new(self));
        let how = options.build()?;
        run(self, &how, closure)
    }

    fn hot_query<Q>(&mut self, query: Q) -> HotQuery<'_, Q> {
        HotQuery::new(self, query)
    }
}
