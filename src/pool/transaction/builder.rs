//! The options of a pool's transaction.

use std::time::Duration;

use crate::transaction::begin::Begin;
use crate::transaction::builder::{HotTransactionBuilder, forward_options};

/// Options of a pool's transaction: those of [`HotTransactionBuilder`], and a [deadline](Self::within). See
/// [`HotUpgradePool::hot_transaction_with`](crate::HotUpgradePool::hot_transaction_with).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct HotPoolTransactionBuilder {
    options: HotTransactionBuilder,
    within: Option<Duration>,
}

impl HotPoolTransactionBuilder {
    forward_options! {
        /// `READ ONLY`. Then it is no failure of the server if it takes no writes.
        read_only
        /// `READ WRITE`. Then a server that is read-only by default takes the writes. Only one in recovery does not.
        read_write
        /// `DEFERRABLE`
        deferrable
        /// `NOT DEFERRABLE`
        not_deferrable
        /// `ISOLATION LEVEL READ COMMITTED`
        read_committed
        /// `ISOLATION LEVEL REPEATABLE READ`: as [`HotTransactionBuilder::repeatable_read`].
        repeatable_read
        /// `ISOLATION LEVEL SERIALIZABLE`: as [`HotTransactionBuilder::serializable`].
        serializable
    }

    /// SQL that has to run before the check: as [`HotTransactionBuilder::before_probe`]. It runs again with each try. On
    /// a connection with a test transaction nothing is checked after it: what it sets stays until that ends.
    pub fn before_probe(self, sql: impl Into<String>) -> Self {
        HotPoolTransactionBuilder { options: self.options.before_probe(sql), ..self }
    }

    /// For how long it may be tried, from the call on: waiting for a connection, all tries, and the pauses between them.
    /// The default is the pool's `connection_timeout`.
    ///
    /// A statement that is under way is not interrupted, nor is a closure that runs: the deadline only decides whether
    /// there is another try. If an address may accept connections and never answer, set `connect_timeout` in the
    /// database URL; without it, such connections occupy r2d2's threads, and the pool does not come back.
    pub fn within(self, time: Duration) -> Self {
        HotPoolTransactionBuilder { within: Some(time), ..self }
    }

    pub(crate) fn time(&self) -> Option<Duration> {
        self.within
    }

    /// How a transaction with these options begins.
    pub(crate) fn begin(&self) -> Begin {
        Begin { others: self.options.others(), ..self.options.clone().begin() }
    }
}
