//! Forty tasks at once, right after a change of server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Once};

use diesel::prelude::*;
use fixture::{Document, Upgrade, insert, read_back};
use testbed::{Cluster, PgBouncerConfig};

pub(crate) const SIZE: usize = 4;
const TASKS: usize = 40;

/// Something that an application does with a connection. It may run again.
pub(crate) type Job = Box<dyn FnMut(&mut PgConnection) -> QueryResult<bool> + Send>;

/// A pool, and the way in which the application uses it.
pub(crate) trait JobPool: Clone + Send + 'static {
    /// Checks out a connection and runs the job with it.
    fn run(self, job: Job) -> impl Future<Output = Result<bool, String>> + Send;
}

/// Writes a document with a value of each type, and reads it back.
pub(crate) fn write_and_read_back() -> Job {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    Box::new(|conn| {
        let document = Document::numbered(NUMBER.fetch_add(1, Ordering::Relaxed));
        insert(conn, &document)?;
        Ok(read_back(conn, &document)? == [document])
    })
}

/// The same in a transaction of stock Diesel.
pub(crate) fn in_stock_transaction() -> Job {
    let mut job = write_and_read_back();
    Box::new(move |conn| conn.transaction(|conn| job(conn)))
}

/// Runs the jobs, each in a task. Returns how many answers were right.
async fn right_answers(pool: &impl JobPool, jobs: impl IntoIterator<Item = Job>) -> usize {
    let tasks: Vec<_> = jobs.into_iter().map(|job| tokio::spawn(pool.clone().run(job))).collect();
    let mut right = 0;
    for task in tasks {
        right += usize::from(matches!(task.await, Ok(Ok(true))));
    }
    right
}

/// Uses each connection of a pool: no job begins before all connections are checked out.
async fn use_every_connection(pool: &impl JobPool, job: fn() -> Job) {
    let all_checked_out = Arc::new(Barrier::new(SIZE));
    let jobs = (0..SIZE).map(|_| -> Job {
        let (all_checked_out, arrived) = (Arc::clone(&all_checked_out), Once::new());
        let mut job = job();
        Box::new(move |conn| {
            arrived.call_once(|| _ = all_checked_out.wait());
            job(conn)
        })
    });
    assert_eq!(right_answers(pool, jobs).await, SIZE, "before the switch");
}

async fn forty(pool: &impl JobPool, job: fn() -> Job) -> usize {
    right_answers(pool, (0..TASKS).map(|_| job())).await
}

/// The protected pool answers right after each switch. A stock pool, the control, never does; `stock_job` is what runs
/// in it.
pub(crate) async fn survives<S: JobPool>(
    upgrade: &Upgrade,
    hot: impl JobPool,
    stock: impl AsyncFn() -> S,
    stock_job: fn() -> Job,
) {
    use_every_connection(&hot, write_and_read_back).await;
    for server in [upgrade.new, upgrade.old] {
        // Another one each time: on the way back, OIDs that were never cleared would fit again.
        let stock = stock().await;
        use_every_connection(&stock, stock_job).await;
        switch(upgrade, server);
        let right = [forty(&hot, write_and_read_back).await, forty(&stock, stock_job).await];
        assert_eq!(right, [TASKS, 0], "protected and stock, right after the switch to {}", server.major());
    }
}

/// The testbed blocks.
fn switch(upgrade: &Upgrade, server: &'static Cluster) {
    tokio::task::block_in_place(|| upgrade.switch_to(server).expect("a switch"));
}

/// PostgreSQL 10 and 12 behind PgBouncer.
pub(crate) fn upgrade() -> Upgrade {
    tokio::task::block_in_place(|| Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler"))
}

/// What went wrong.
pub(crate) fn text(error: impl ToString) -> String {
    error.to_string()
}
