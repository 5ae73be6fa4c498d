//! The connection customizer: asks for every new connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::pg::PgConnection;
use diesel::r2d2::{CustomizeConnection, Error};

use crate::catalog::snapshot::SnapshotId;
use crate::catalog::table::OID_TABLE;
use crate::connection::notes;
use crate::environment;
use crate::pool::panics::panics_caught;
use crate::report::observers::notice;
use crate::synchronize::{Outcome, Start, synchronize_from};

/// An r2d2 customizer that fills a new connection's OID cache from the process-wide table, so that it makes no lookup
/// of its own.
///
/// It asks the server for its version and identity with a query, never the handshake: PgBouncer answers new clients
/// from a cached welcome message, which may name a server that is gone. Where the server is another one than this
/// customizer met last, what the table held of it is verified or dropped, and the change is logged.
///
/// **Alone, with the stock [`ConnectionManager`](diesel::r2d2::ConnectionManager), this is the weaker protection**
/// that django-postgres-hot-upgrade gives: *new* connections are right, connections that stay open through a change
/// are not looked at. Use it with [`HotUpgradeManager`](crate::HotUpgradeManager).
///
/// # Cost
///
/// Two round trips for each new connection, and one to prepare the probe; one more for the first of the pool, which may be
/// a catalog load, and after a change.
///
/// # Example
///
/// ```no_run
/// use diesel::r2d2::{Pool, TestCustomizer};
/// use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A customizer of your own runs first.
/// let customizer = HotUpgradeCustomizer::wrap(Box::new(TestCustomizer));
/// let pool = Pool::builder()
///     .max_size(1)
///     .connection_customizer(Box::new(customizer))
///     .build(HotUpgradeManager::new("postgres://app@localhost/app_test"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HotUpgradeCustomizer {
    inner: Option<Box<dyn CustomizeConnection<PgConnection, Error>>>,
    enabled: bool,
    last: Mutex<Option<SnapshotId>>,
}

impl HotUpgradeCustomizer {
    /// A customizer for connections that need no other.
    #[must_use]
    pub fn new() -> Self {
        HotUpgradeCustomizer { inner: None, enabled: true, last: Mutex::default() }
    }

    /// Runs `inner` on each new connection first. Its error, or its panic, discards the connection, and r2d2 tries
    /// again; the pool loses no slot.
    #[must_use]
    pub fn wrap(inner: Box<dyn CustomizeConnection<PgConnection, Error>>) -> Self {
        HotUpgradeCustomizer { inner: Some(inner), ..HotUpgradeCustomizer::new() }
    }

    /// Turns the protection of this customizer on (the default) or off: then only the inner one runs.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The snapshot that the last new connection was filled from.
    fn last(&self) -> MutexGuard<'_, Option<SnapshotId>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Existing connections notice a change by themselves. Where all of them died with the old server, it is a new
    /// one that does.
    fn compare_with_last(&self, conn: &mut PgConnection, outcome: &Outcome) {
        let Some(current) = notes::snapshot(conn) else {
            return;
        };
        let last = self.last().replace(current);
        let Some(last) = last.filter(|last| *last != current && matches!(outcome, Outcome::Primed)) else {
            return;
        };
        if let (Some(last), Some(current)) = (OID_TABLE.get(last), OID_TABLE.get(current)) {
            notice(&last, &current);
        }
    }
}

impl Default for HotUpgradeCustomizer {
    fn default() -> Self {
        Self::new()
    }
}

impl CustomizeConnection<PgConnection, Error> for HotUpgradeCustomizer {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        panics_caught("customizing a new connection", || {
            if let Some(inner) = &self.inner {
                inner.on_acquire(conn)?;
            }
            if self.enabled && environment::is_on() {
                let last = *self.last();
                let outcome = synchronize_from(conn, Start::New(last)).map_err(Error::QueryError)?;
                self.compare_with_last(conn, &outcome);
            }
            Ok(())
        })
    }

    fn on_release(&self, conn: PgConnection) {
        if let Some(inner) = &self.inner {
            // An error here has nowhere to go but the log, which already has it.
            let _ = panics_caught("releasing a connection", || {
                inner.on_release(conn);
                Ok(())
            });
        }
    }
}
