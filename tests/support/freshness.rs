//! How long a look for new types counts as fresh.

use std::time::Instant;

use diesel_postgres_hot_upgrade::stats;

use crate::support::server::wait_until;

/// Returns once every look of this process is stale.
pub(crate) fn wait_until_stale() {
    let start = Instant::now();
    // The bound may grow meanwhile: another test's look was slow.
    wait_until("the last look is stale", || start.elapsed() > stats().freshness_bound());
}
