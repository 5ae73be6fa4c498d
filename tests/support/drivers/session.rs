//! A connection of either driver while it is in use.

use std::sync::{Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::deserialize::FromSqlRow;
use diesel::expression::QueryMetadata;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::query_dsl::CompatibleType;
use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

use crate::support::drivers::{Kind, wait};

/// Each query of Diesel's runs on it, and each transaction.
pub(crate) enum Session<'a> {
    Blocking(&'a mut PgConnection, Kind),
    Async(&'a mut HotUpgradeAsyncPgConnection),
    StockAsync(&'a mut AsyncPgConnection),
}

/// Options of a verified transaction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Begin<'a> {
    pub(crate) is_serializable: bool,
    pub(crate) is_read_only: bool,
    pub(crate) before_probe: Option<&'a str>,
}

/// Gives these options to a builder: those of connections and of pools have the same methods.
macro_rules! options {
    ($how:expr) => {
        |builder| {
            let builder = if $how.is_serializable { builder.serializable() } else { builder };
            let builder = if $how.is_read_only { builder.read_only() } else { builder };
            match $how.before_probe {
                Some(sql) => builder.before_probe(sql),
                None => builder,
            }
        }
    };
}
pub(super) use options;

type Closure<'a, T> = dyn FnMut(&mut Session<'_>) -> QueryResult<T> + Send + 'a;

/// What a transaction does. An async closure has to be cloned to run again; this is shared by its clones.
pub(super) struct Work<'a, T>(Mutex<&'a mut Closure<'a, T>>);

impl<'a, T> Work<'a, T> {
    pub(super) fn new(work: &'a mut Closure<'a, T>) -> Self {
        Work(Mutex::new(work))
    }

    pub(super) fn run(&self, mut session: Session<'_>) -> QueryResult<T> {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))(&mut session)
    }

    /// In a future: what it does may block.
    pub(super) fn block(&self, session: Session<'_>) -> QueryResult<T> {
        tokio::task::block_in_place(|| self.run(session))
    }
}

impl Session<'_> {
    pub(crate) fn load<Q, U>(&mut self, query: Q) -> QueryResult<Vec<U>>
    where
        Q: AsQuery + diesel::RunQueryDsl<PgConnection> + Send,
        Q::Query: QueryFragment<Pg> + QueryId + Send,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg> + Send + 'static,
        <Q::SqlType as CompatibleType<U, Pg>>::SqlType: 'static,
    {
        match self {
            Session::Blocking(conn, _) => diesel::RunQueryDsl::load(query, *conn),
            Session::Async(conn) => wait(diesel_async::RunQueryDsl::load(query, *conn)),
            Session::StockAsync(conn) => wait(diesel_async::RunQueryDsl::load(query, *conn)),
        }
    }

    /// By `hot_query`, if there is one.
    pub(crate) fn hot_load<Q, U>(&mut self, query: Q) -> QueryResult<Vec<U>>
    where
        Q: AsQuery + diesel::RunQueryDsl<PgConnection> + Send,
        Q::Query: QueryFragment<Pg> + QueryId + Send,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg> + Send + 'static,
        <Q::SqlType as CompatibleType<U, Pg>>::SqlType: 'static,
    {
        match self {
            Session::Blocking(conn, Kind::Hot) => conn.hot_query(query).load(),
            Session::Async(conn) => wait(conn.hot_query(query).load()),
            Session::Blocking(_, Kind::Stock) | Session::StockAsync(_) => self.load(query),
        }
    }

    pub(crate) fn get<Q, U>(&mut self, query: Q) -> QueryResult<U>
    where
        Q: AsQuery + diesel::RunQueryDsl<PgConnection> + Send,
        Q::Query: QueryFragment<Pg> + QueryId + Send,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg> + Send + 'static,
        <Q::SqlType as CompatibleType<U, Pg>>::SqlType: 'static,
    {
        self.load(query)?.into_iter().next().ok_or(Error::NotFound)
    }

    pub(crate) fn hot_get<Q, U>(&mut self, query: Q) -> QueryResult<U>
    where
        Q: AsQuery + diesel::RunQueryDsl<PgConnection> + Send,
        Q::Query: QueryFragment<Pg> + QueryId + Send,
        Q::SqlType: CompatibleType<U, Pg>,
        Pg: QueryMetadata<Q::SqlType>,
        U: FromSqlRow<<Q::SqlType as CompatibleType<U, Pg>>::SqlType, Pg> + Send + 'static,
        <Q::SqlType as CompatibleType<U, Pg>>::SqlType: 'static,
    {
        self.hot_load(query)?.into_iter().next().ok_or(Error::NotFound)
    }

    pub(crate) fn execute<Q>(&mut self, query: Q) -> QueryResult<usize>
    where
        Q: QueryFragment<Pg> + QueryId + Send,
    {
        match self {
            Session::Blocking(conn, _) => Connection::execute_returning_count(*conn, &query),
            Session::Async(conn) => wait(AsyncConnectionCore::execute_returning_count(*conn, query)),
            Session::StockAsync(conn) => wait(AsyncConnectionCore::execute_returning_count(*conn, query)),
        }
    }

    /// By `hot_query`, if there is one.
    pub(crate) fn hot_execute<Q>(&mut self, query: Q) -> QueryResult<usize>
    where
        Q: QueryFragment<Pg> + QueryId + Send,
    {
        match self {
            Session::Blocking(conn, Kind::Hot) => conn.hot_query(query).execute(),
            Session::Async(conn) => wait(conn.hot_query(query).execute()),
            Session::Blocking(_, Kind::Stock) | Session::StockAsync(_) => self.execute(query),
        }
    }

    pub(crate) fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        match self {
            Session::Blocking(conn, _) => conn.batch_execute(sql),
            Session::Async(conn) => wait(conn.batch_execute(sql)),
            Session::StockAsync(conn) => wait(conn.batch_execute(sql)),
        }
    }

    /// A plain transaction.
    pub(crate) fn transaction<T: Send>(
        &mut self,
        mut work: impl FnMut(&mut Session<'_>) -> QueryResult<T> + Send,
    ) -> QueryResult<T> {
        let work = &Work::new(&mut work);
        match self {
            Session::Blocking(conn, kind) => conn.transaction(|conn| work.run(Session::Blocking(conn, *kind))),
            Session::Async(conn) => wait(conn.transaction(async move |conn| work.block(Session::Async(conn)))),
            Session::StockAsync(conn) => {
                wait(conn.transaction(async move |conn| work.block(Session::StockAsync(conn))))
            }
        }
    }

    /// A verified transaction.
    pub(crate) fn hot_transaction<T: Send>(
        &mut self,
        mut work: impl FnMut(&mut Session<'_>) -> QueryResult<T> + Send,
    ) -> QueryResult<T> {
        match self {
            Session::Blocking(conn, Kind::Hot) => {
                let work = &Work::new(&mut work);
                conn.hot_transaction(|conn| work.run(Session::Blocking(conn, Kind::Hot)))
            }
            Session::Async(conn) => {
                let work = &Work::new(&mut work);
                wait(conn.hot_transaction(async move |conn| work.block(Session::Async(conn))))
            }
            Session::Blocking(_, Kind::Stock) | Session::StockAsync(_) => self.transaction(work),
        }
    }

    /// The same, with SQL that runs before the check.
    pub(crate) fn hot_transaction_after<T: Send>(
        &mut self,
        before_probe: &str,
        work: impl FnMut(&mut Session<'_>) -> QueryResult<T> + Send,
    ) -> QueryResult<T> {
        self.hot_transaction_with(&Begin { before_probe: Some(before_probe), ..Begin::default() }, work)
    }

    /// The same with options, which an ordinary transaction of a stock connection has not, but for that SQL.
    pub(crate) fn hot_transaction_with<T: Send>(
        &mut self,
        how: &Begin<'_>,
        mut work: impl FnMut(&mut Session<'_>) -> QueryResult<T> + Send,
    ) -> QueryResult<T> {
        match self {
            Session::Blocking(conn, Kind::Hot) => {
                let work = &Work::new(&mut work);
                conn.hot_transaction_with(options!(how), |conn| work.run(Session::Blocking(conn, Kind::Hot)))
            }
            Session::Async(conn) => {
                let work = &Work::new(&mut work);
                wait(conn.hot_transaction_with(options!(how), async move |conn| work.block(Session::Async(conn))))
            }
            Session::Blocking(_, Kind::Stock) | Session::StockAsync(_) => self.transaction(|conn| {
                conn.batch_execute(how.before_probe.unwrap_or_default())?;
                work(conn)
            }),
        }
    }

    /// A stock connection has nothing to synchronize.
    pub(crate) fn synchronize(&mut self) -> QueryResult<()> {
        match self {
            Session::Blocking(conn, Kind::Hot) => synchronize(conn).map(drop),
            Session::Async(conn) => wait(conn.synchronize()).map(drop),
            Session::Blocking(_, Kind::Stock) | Session::StockAsync(_) => Ok(()),
        }
    }
}
