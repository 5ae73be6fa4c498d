//! The pools of diesel-async.

use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use diesel_postgres_hot_upgrade::HotTransactionError;
use diesel_postgres_hot_upgrade::asynchronous::{HotUpgradeAsyncPgConnection, HotUpgradeAsyncPool};
use fixture::{Document, documents};

use super::books::{Subject, Told};
use super::drivers::Transacts;
use super::keep::Progress;
use crate::asynchronous::pools::AsyncPool;
use crate::asynchronous::tasks::Tasks;

pub(super) struct AsyncPools<H, S> {
    tasks: Tasks,
    hot: [H; 2],
    stock: S,
}

impl<H, S> AsyncPools<H, S>
where
    H: AsyncPool<HotUpgradeAsyncPgConnection>,
    S: AsyncPool<AsyncPgConnection>,
{
    pub(super) fn start(url: &str, size: u32, tasks: Tasks) -> Self {
        let (url, first, second) = (url.to_owned(), url.to_owned(), url.to_owned());
        let hot = [first, second].map(|url| tasks.run(async move { H::start(&url, size).await }));
        let stock = tasks.run(async move { S::start(&url, size).await });
        AsyncPools { tasks, hot, stock }
    }
}

/// Inserts a document and reads it back.
macro_rules! work {
    ($conn:expr, $subject:expr, $document:expr, $progress:expr) => {{
        let (conn, document) = ($conn, &*$document);
        RunQueryDsl::execute(diesel::insert_into(documents::table).values(document), conn).await?;
        let query = documents::table
            .filter(documents::title.eq(document.title.to_uppercase()))
            .filter(documents::attributes.eq(&document.attributes))
            .filter(documents::status.eq(document.status))
            .filter(documents::code.eq(&document.code))
            .select(Document::as_select());
        let found: Vec<Document> = RunQueryDsl::load(query, conn).await?;
        $progress.note_answer($subject, &found, document);
        QueryResult::Ok(())
    }};
}

impl<H, S> Transacts for AsyncPools<H, S>
where
    H: AsyncPool<HotUpgradeAsyncPgConnection> + HotUpgradeAsyncPool,
    S: AsyncPool<AsyncPgConnection>,
{
    fn transact(&self, subject: Subject, document: Document, progress: &Arc<Progress>) -> Told {
        let (document, progress) = (Arc::new(document), Arc::clone(progress));
        let pool = if subject == Subject::Pool { &self.hot[0] } else { &self.hot[1] }.clone();
        match subject {
            Subject::Pool => self.tasks.run(async move {
                let result: Result<(), HotTransactionError> = pool
                    .hot_transaction(async |conn| {
                        progress.add_run();
                        work!(conn, subject, document, progress)
                    })
                    .await;
                Told::by_pool(result)
            }),
            Subject::Connection => self.tasks.run(async move {
                let mut conn = pool.check_out().await;
                let result = conn.hot_transaction(async |conn| work!(conn, subject, document, progress)).await;
                Told::by_control(&result)
            }),
            Subject::Stock => {
                let pool = self.stock.clone();
                self.tasks.run(async move {
                    let mut conn = pool.check_out().await;
                    let result = conn.transaction(async |conn| work!(conn, subject, document, progress)).await;
                    Told::by_control(&result)
                })
            }
        }
    }
}
