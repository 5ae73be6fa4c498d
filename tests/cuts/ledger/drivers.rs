//! The pools that the ledgers are kept of.

use std::sync::Arc;

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_async::pooled_connection::{bb8, deadpool};
use diesel_postgres_hot_upgrade::{HotTransactionError, HotUpgradeExt, HotUpgradePool};
use fixture::{Document, insert, read_back};

use super::asynchronous::AsyncPools;
use super::books::{Subject, Told};
use super::keep::Progress;
use crate::asynchronous::tasks::{Tasks, Threads};
use crate::support::pools::{HotPool, StockPool, hot_pool, stock_pool};

/// Whose pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// Diesel, r2d2
    Blocking,
    /// diesel-async
    Bb8,
    Deadpool,
    /// deadpool on a runtime of one thread
    OnOneThread,
}

/// Runs one transaction of a subject.
pub(super) trait Transacts: Sync {
    fn transact(&self, subject: Subject, document: Document, progress: &Arc<Progress>) -> Told;
}

impl Driver {
    /// Two protected pools and a stock one.
    pub(super) fn start(self, url: &str, size: u32) -> Box<dyn Transacts> {
        match self {
            Driver::Blocking => Box::new(BlockingPools {
                hot: [(); 2].map(|()| hot_pool(url, size, CacheSize::Unbounded)),
                stock: stock_pool(url, size, CacheSize::Unbounded),
            }),
            Driver::Bb8 => {
                let pools =
                    AsyncPools::<bb8::Pool<_>, bb8::Pool<_>>::start(url, size, Tasks::start(Threads::Many));
                Box::new(pools)
            }
            Driver::Deadpool | Driver::OnOneThread => {
                let threads = if self == Driver::OnOneThread { Threads::One } else { Threads::Many };
                let pools =
                    AsyncPools::<deadpool::Pool<_>, deadpool::Pool<_>>::start(url, size, Tasks::start(threads));
                Box::new(pools)
            }
        }
    }
}

struct BlockingPools {
    hot: [HotPool; 2],
    stock: StockPool,
}

impl Transacts for BlockingPools {
    fn transact(&self, subject: Subject, document: Document, progress: &Arc<Progress>) -> Told {
        match subject {
            Subject::Pool => transact(subject, &self.hot[0], &document, progress),
            Subject::Connection => transact(subject, &self.hot[1], &document, progress),
            Subject::Stock => transact(subject, &self.stock, &document, progress),
        }
    }
}

fn transact<M>(subject: Subject, pool: &Pool<M>, document: &Document, progress: &Progress) -> Told
where
    M: ManageConnection<Connection = PgConnection>,
{
    let work = |conn: &mut PgConnection| -> QueryResult<()> {
        insert(conn, document)?;
        progress.note_answer(subject, &read_back(conn, document)?, document);
        Ok(())
    };
    if subject == Subject::Pool {
        let result: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
            progress.add_run();
            work(conn)
        });
        return Told::by_pool(result);
    }
    let Ok(mut conn) = pool.get() else {
        return Told::Error;
    };
    let conn: &mut PgConnection = &mut conn;
    let result = if subject == Subject::Connection { conn.hot_transaction(work) } else { conn.transaction(work) };
    Told::by_control(&result)
}

impl Told {
    pub(super) fn by_pool(result: Result<(), HotTransactionError>) -> Self {
        match result {
            Ok(()) => Told::Committed,
            Err(HotTransactionError::OutcomeUnknown { .. }) => Told::Unknown,
            Err(error) => Told::Failed(format!("{error:?}")),
        }
    }

    pub(super) fn by_control(result: &QueryResult<()>) -> Self {
        if result.is_ok() { Told::Committed } else { Told::Error }
    }
}
