//! A pool of diesel-async on the table and the address of a blocking test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;

pub(crate) type Conn = HotUpgradeAsyncPgConnection;

/// Runs a test on several threads.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime").block_on(test)
}

/// What blocks, such as the testbed and a client of `postgres`.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// How often a closure ran. Its clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<AtomicUsize>);

impl Runs {
    /// Counts one more, and says how many there are.
    pub(crate) fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> usize {
        AtomicUsize::load(&self.0, Ordering::SeqCst)
    }
}
