//! Checks of connections have generations: the next one begins when all connections have to be checked again.

use std::sync::atomic::{AtomicU64, Ordering};

static CURRENT: AtomicU64 = AtomicU64::new(0);

/// When a check was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u64);

impl Generation {
    pub(crate) fn current() -> Self {
        Generation(CURRENT.load(Ordering::SeqCst))
    }

    pub(crate) fn begin_next() {
        CURRENT.fetch_add(1, Ordering::SeqCst);
    }
}
