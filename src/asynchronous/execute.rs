//! Queries on the connection, and on `&` of it.

use std::cell::Cell;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AsQuery, QueryBuilder, QueryFragment, QueryId};
use diesel::result::Error;
use diesel_async::{AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::memory::{Memory, OidPair};
use crate::asynchronous::resolve::{Complete, Incomplete, Resolution, Resolved, resolve};
use crate::asynchronous::statements;
use crate::asynchronous::transaction_text::ends_transaction;

type Row = <AsyncPgConnection as AsyncConnectionCore>::Row<'static, 'static>;
type Rows = BoxStream<'static, QueryResult<Row>>;

impl HotUpgradeAsyncPgConnection {
    /// The query need not be `Send`: all that is needed of it is taken before the future is polled.
    pub(super) fn load_by<Q>(&self, query: &Q) -> BoxFuture<'_, QueryResult<Rows>>
    where
        Q: diesel::query_builder::Query + QueryFragment<Pg> + QueryId,
    {
        self.note_end(query);
        let memory = self.memory.clone();
        let rows = match resolve(query, &self.memory) {
            Resolution::Known(binds) => {
                let query = Resolved { query, binds: Cell::new(Some(binds)), prefix: &self.prefix };
                AsyncConnectionCore::load(&mut &self.inner, query)
            }
            Resolution::Incomplete(query) => self
                .look_up(query)
                .then(|query| async { AsyncConnectionCore::load(&mut &self.inner, query?).await })
                .boxed(),
            Resolution::Failed(error) => futures_util::future::ready(Err(error)).boxed(),
        };
        async move {
            let rows = noted(&memory, rows.await)?;
            Ok(rows.map(move |row| noted(&memory, row)).boxed())
        }
        .boxed()
    }

    pub(super) fn execute_by<Q>(&self, query: &Q) -> BoxFuture<'_, QueryResult<usize>>
    where
        Q: QueryFragment<Pg> + QueryId,
    {
        self.note_end(query);
        let memory = self.memory.clone();
        let count = match resolve(query, &self.memory) {
            Resolution::Known(binds) => {
                let query = Resolved { query, binds: Cell::new(Some(binds)), prefix: &self.prefix };
                (&mut &self.inner).execute_returning_count(query)
            }
            Resolution::Incomplete(query) => self
                .look_up(query)
                .then(|query| async { (&mut &self.inner).execute_returning_count(query?).await })
                .boxed(),
            Resolution::Failed(error) => futures_util::future::ready(Err(error)).boxed(),
        };
        count.map(move |count| noted(&memory, count)).boxed()
    }

    /// Asks the server for the types that the query has and this connection does not know. One round trip for each.
    async fn look_up(&self, query: Incomplete) -> QueryResult<Complete> {
        let mut found: Vec<OidPair> = Vec::new();
        for key in query.missing() {
            let oids = match self.memory.find(key.0.as_deref(), &key.1) {
                Some(oids) => oids,
                None => {
                    let oids = statements::look_up(&self.inner, &key).await?;
                    self.memory.store(&key, oids);
                    oids
                }
            };
            found.push(oids);
        }
        Ok(query.complete(&found, &self.prefix))
    }

    /// Notes that the query ends the verified transaction that is open, if it does. What has an id has the same text
    /// each time, so it is read once.
    fn note_end<Q: QueryFragment<Pg> + QueryId>(&self, query: &Q) {
        let id = Q::query_id();
        if !self.memory.is_begun() || self.memory.has_ended() || id.is_some_and(|id| self.memory.ends_nothing(id))
        {
            return;
        }
        let mut builder = diesel::pg::PgQueryBuilder::default();
        match query.to_sql(&mut builder, &Pg) {
            Ok(()) if ends_transaction(&builder.finish()) => self.memory.set_ended(),
            Ok(()) => id.into_iter().for_each(|id| self.memory.set_ends_nothing(id)),
            Err(_) => {}
        }
    }
}

fn noted<T>(memory: &Memory, result: QueryResult<T>) -> QueryResult<T> {
    if let Err(Error::DatabaseError(..)) = &result {
        memory.set_failed();
    }
    result
}

impl SimpleAsyncConnection for HotUpgradeAsyncPgConnection {
    async fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        (&*self).batch_execute(sql).await
    }
}

impl SimpleAsyncConnection for &HotUpgradeAsyncPgConnection {
    async fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        if self.memory.is_begun() && ends_transaction(sql) {
            self.memory.set_ended();
        }
        noted(&self.memory, (&self.inner).batch_execute(sql).await)
    }
}

impl AsyncConnectionCore for HotUpgradeAsyncPgConnection {
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type Stream<'conn, 'query> = Rows;
    type Row<'conn, 'query> = Row;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        self.load_by(&source.as_query())
    }

    fn execute_returning_count<'conn, 'query, T>(&'conn mut self, source: T) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        self.execute_by(&source)
    }
}

/// Queries are pipelined if their futures are polled at the same time.
impl<'a> AsyncConnectionCore for &'a HotUpgradeAsyncPgConnection {
    type LoadFuture<'conn, 'query> = BoxFuture<'a, QueryResult<Self::Stream<'conn, 'query>>>;
    type ExecuteFuture<'conn, 'query> = BoxFuture<'a, QueryResult<usize>>;
    type Stream<'conn, 'query> = Rows;
    type Row<'conn, 'query> = Row;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        (*self).load_by(&source.as_query())
    }

    fn execute_returning_count<'conn, 'query, T>(&'conn mut self, source: T) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        (*self).execute_by(&source)
    }
}
