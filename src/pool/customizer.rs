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

/// An r2d2 customizer that fills a new connection's OID cache from the process-wide table, so that Diesel looks up no
/// types on it.
///
/// It asks the server with a query who it is, and does not use the handshake: PgBouncer answers new clients from a
/// cached welcome message, which may name a server that is gone. If another server answers than the last new connection
/// met, that is a change, and is reported.
///
/// **Alone, with the stock [`ConnectionManager`](diesel::r2d2::ConnectionManager), this is the weaker protection** that
/// django-postgres-hot-upgrade gives: *new* connections are correct, and connections that stay open through a change
/// are not checked. Use it with [`HotUpgradeManager`](crate::HotUpgradeManager).
///
/// # Cost
///
/// Two round trips for each new connection, and one to prepare the statement. One more for the first connection of the
/// pool, and after a change.
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

    /// Connections that are open notice a change themselves. If all of them ended with the old server, a new one
    /// notices it.
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
