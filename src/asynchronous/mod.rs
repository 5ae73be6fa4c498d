//! The same protection for [diesel-async](https://docs.rs/diesel-async). Needs the feature `diesel-async`; for the
//! pools bb8 and deadpool, the feature `bb8` or `deadpool`.
//!
//! [`HotUpgradeAsyncPgConnection`] takes the place of [`AsyncPgConnection`](diesel_async::AsyncPgConnection). In the
//! pools bb8 and deadpool, the check takes the place of the pool's ping, so a checkout costs one round trip, as with
//! stock diesel-async:
//!
//! ```no_run
//! use diesel::prelude::*;
//! use diesel_async::RunQueryDsl;
//! use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8::Pool};
//! use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
//!
//! # diesel::table! { documents (id) { id -> BigInt, title -> Text, } }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = AsyncDieselConnectionManager::<HotUpgradeAsyncPgConnection>::new("postgres://app@pooler/app");
//! let pool = Pool::builder().build(manager).await?;
//!
//! let mut conn = pool.get().await?;
//! let titles: Vec<String> = documents::table.select(documents::title).load(&mut conn).await?;
//! conn.hot_transaction(async |conn| {
//!     diesel::insert_into(documents::table).values(documents::title.eq("A title")).execute(conn).await?;
//!     documents::table.count().get_result::<i64>(conn).await
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```
//!
//! A transaction of the pool also survives a lost connection: [`HotUpgradeAsyncPool`], of the features `bb8` and
//! `deadpool`.
//!
//! # What is shared with the blocking connection
//!
//! The table of OIDs, [`track`](crate::track), [`on_change`](crate::on_change), [`stats`](crate::stats), the log, and
//! the meaning of everything: if a process has a blocking and an async pool on one database, each catalog is read once.
//!
//! # What is different
//!
//! - The connection has another type. diesel-async keeps the OIDs that it looked up in a cache that is private, so this
//!   connection sends each query with OIDs of its own, and the private cache stays empty.
//! - After a reset, no prepared statement is left on the server, since tokio-postgres closes them.
//! - If one of this crate's statements is gone from the session (`DEALLOCATE ALL`, a pooler in transaction mode without
//!   support for prepared statements), the statements that tokio-postgres keeps for itself are gone too, and can't be
//!   prepared again. Such a connection is replaced by its pool.
//! - If a future is dropped while a verified transaction is open, its connection is broken from then on: a pool
//!   closes it, and the server rolls back.
//! - A look for new types, once a second for each process and database, costs one more round trip.
//!
//! A Tokio runtime is needed, as for diesel-async. Only transactions of a pool need its timer.

mod attempt;
mod begin;
mod catalog_wait;
mod commit;
mod connection;
mod execute;
mod find;
mod guard;
mod heal;
mod markers;
mod memory;
mod nested;
mod new_connection;
mod pace;
mod pool;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod pool_transaction;
mod query;
mod resolve;
mod run;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod source;
mod statements;
mod stock_builder;
mod synchronize;
mod transaction_text;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod tries;
mod update;

pub use connection::HotUpgradeAsyncPgConnection;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
pub use pool_transaction::HotUpgradeAsyncPool;
pub use query::HotAsyncQuery;
pub use run::AsyncClosure;
pub use stock_builder::AsyncTransactionBuilder;
