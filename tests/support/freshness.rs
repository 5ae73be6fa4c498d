//! How long a look for new types counts as fresh.

use std::time::{Duration, Instant};

use diesel_postgres_hot_upgrade::{Stats, stats};

use crate::support::races::wait_until;

/// Stands in for the method of that name until there is one, which then comes first.
trait FreshnessBound {
    fn freshness_bound(&self) -> Duration;
}

impl FreshnessBound for Stats {
    fn freshness_bound(&self) -> Duration {
        Duration::from_millis(1100)
    }
}

/// Returns once every look of this process is stale.
pub(crate) fn wait_until_stale() {
    let start = Instant::now();
    // The bound may grow meanwhile: another test's look was slow.
    wait_until("the last look is stale", || start.elapsed() > stats().freshness_bound());
}
