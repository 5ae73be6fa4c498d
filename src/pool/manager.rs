//! The connection manager: asks at every checkout.

use std::fmt;
use std::sync::Arc;

use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, Error};
use r2d2::ManageConnection;

use crate::catalog::server::Replicas;
use crate::catalog::session::TargetSessionAttrs;
use crate::connection::transaction_state::is_in_transaction;
use crate::connection::writable::Manager;
use crate::connection::{notes, statements};
use crate::environment;
use crate::pool::pace::Pace;
use crate::pool::panics::panics_caught;
use crate::pool::verify::{Verify, is_checked_by_begin};
use crate::synchronize::{mark_if_unfit, synchronize};

/// A reset behind a pooler leaves the old prepared statements in the pooler's table for this client, and a move to
/// another snapshot leaves its old check. A connection with this number of them since its statements were last deallocated
/// is replaced when it is given back. If the application uses a single statement, fewer than 64 are left behind.
const MAX_RESETS: u32 = 20;

/// An r2d2 connection manager that checks, at every checkout, that the connection's caches belong to the server that
/// answers. It replaces [`ConnectionManager`], and its pool hands out plain [`PgConnection`]s.
///
/// Use it together with [`HotUpgradeCustomizer`](crate::HotUpgradeCustomizer), which fills new connections.
///
/// # Cost
///
/// One round trip for each checkout if nothing changed, in place of the stock ping; none within a
/// [window](Verify::AtMostEvery). See [`synchronize`](crate::synchronize) for the cost of a change. r2d2's
/// `test_on_check_out(false)` turns the check at checkout off.
///
/// # Errors
///
/// Those of [`ConnectionManager`]. If a check fails, r2d2 tries another connection.
///
/// # Example
///
/// ```no_run
/// use diesel::r2d2::Pool;
/// use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = HotUpgradeManager::new("postgres://app@pooler/app");
/// let pool = Pool::builder()
///     .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
///     .build(manager)?;
/// let mut conn = pool.get()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HotUpgradeManager<M = ConnectionManager<PgConnection>> {
    inner: M,
    /// The inner manager's own check runs before this crate's, and is not replaced by it.
    keep_inner_check: bool,
    verify: Verify,
    replicas: Replicas,
    wanted: TargetSessionAttrs,
    pace: Pace,
    enabled: bool,
    /// Shared with its clones.
    manager: Arc<Manager>,
}

impl HotUpgradeManager {
    /// Manages connections to `database_url`, as [`ConnectionManager::new`] does. The check replaces the stock ping.
    pub fn new(database_url: impl Into<String>) -> Self {
        HotUpgradeManager {
            keep_inner_check: false,
            ..HotUpgradeManager::wrap(ConnectionManager::new(database_url))
        }
    }
}

impl<M> HotUpgradeManager<M>
where
    M: ManageConnection<Connection = PgConnection, Error = Error>,
{
    /// Protects the connections of another manager, for example of one that fetches a token for each connection. Its
    /// own `is_valid` runs first, so a checkout costs one round trip in addition to it.
    ///
    /// ```no_run
    /// use diesel::{pg::PgConnection, r2d2::ConnectionManager};
    /// use diesel_postgres_hot_upgrade::HotUpgradeManager;
    ///
    /// let inner = ConnectionManager::<PgConnection>::new("postgres://app@pooler/app");
    /// let manager = HotUpgradeManager::wrap(inner);
    /// ```
    pub fn wrap(inner: M) -> Self {
        HotUpgradeManager {
            inner,
            keep_inner_check: true,
            verify: Verify::default(),
            replicas: Replicas::Distinct,
            wanted: TargetSessionAttrs::Any,
            pace: Pace::default(),
            enabled: true,
            manager: Arc::new(Manager::new()),
        }
    }

    /// Sets how often connections are checked. The default is every checkout.
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Accepts a primary and its physical standbys as one server, if they take turns behind one address: while their
    /// types have the same names, a connection keeps its caches, whichever of them answers. Minor versions may differ.
    /// Off by default: then each flip resets the connection, and is correct.
    ///
    /// **What this gives up.** Replicas are known by their system identifier. File copies, storage snapshots and
    /// restored backups of the cluster have it too, and a standby keeps it when it is promoted. If one of these
    /// answers, and its types still have the names of the others, nothing is noticed. Types that Diesel looked up
    /// itself (row types, types that are newer than the last look, types that were not [tracked](crate::track)) can
    /// then be wrong, silently. And if a standby lags behind a change of types on the primary, a type that is used
    /// within the lag may be looked up on one server and used on the other. Use it only if this address never leads to
    /// a clone.
    ///
    /// Each checkout takes the server a little longer, since it reads a file. No further round trip.
    ///
    /// ```
    /// use diesel_postgres_hot_upgrade::HotUpgradeManager;
    ///
    /// let manager = HotUpgradeManager::new("postgres://app@replicas/app").interchangeable_replicas(true);
    /// ```
    #[must_use]
    pub fn interchangeable_replicas(mut self, interchangeable: bool) -> Self {
        self.replicas = if interchangeable { Replicas::Interchangeable } else { Replicas::Distinct };
        self
    }

    /// Accepts only servers whose sessions are of that kind, in [libpq's sense](TargetSessionAttrs). By default, any
    /// server.
    ///
    /// Without it, a pool whose primary was demoted, and whose connections were not cut, goes on handing them out, and
    /// every write on them fails. With it, a connection to a server that does not fit is not handed out, and replaced:
    ///
    /// - *At every checkout*, in the message of the check: no further round trip. Within a
    ///   [window](Verify::AtMostEvery) nothing is checked; [`verify_at_next_checkout`](crate::verify_at_next_checkout)
    ///   ends all windows. With r2d2's `test_on_check_out(false)` no checkout is checked.
    /// - *When it is new*, for one round trip more.
    /// - *At the beginning of a verified transaction*, in the message of `BEGIN`. The transaction fails with an error,
    ///   its closure does not run, and the pool drops the connection when it is given back.
    ///
    /// The check asks whether the server is in recovery, and for the session's `default_transaction_read_only`. So a
    /// transaction that is `READ ONLY` because you asked for it is no reason to refuse. A role needs no permission for
    /// it; if the right of all roles was revoked (`REVOKE EXECUTE ON FUNCTION pg_is_in_recovery()`), no connection is
    /// handed out.
    ///
    /// # Errors
    ///
    /// If no server fits, a checkout (and [`Pool::builder`](diesel::r2d2::Pool::builder)'s `build`) waits up to
    /// `connection_timeout`, and its error says what was asked for and what the server is. Meanwhile r2d2 connects
    /// again and again, in growing intervals from 0.2 s to half of `connection_timeout`.
    ///
    /// # What it does not protect from
    ///
    /// A change after the check, as for all [plain statements](Verify::EveryCheckout).
    /// `DIESEL_POSTGRES_HOT_UPGRADE=off` and [`enabled(false)`](HotUpgradeManager::enabled) turn this off too.
    ///
    /// ```
    /// use diesel_postgres_hot_upgrade::{HotUpgradeManager, TargetSessionAttrs};
    ///
    /// let manager =
    ///     HotUpgradeManager::new("postgres://app@pooler/app").target_session_attrs(TargetSessionAttrs::ReadWrite);
    /// ```
    #[must_use]
    pub fn target_session_attrs(mut self, attrs: TargetSessionAttrs) -> Self {
        self.wanted = attrs;
        self
    }

    /// Turns the protection of this manager on (the default) or off: then it does what the inner manager does, and
    /// nothing else. The environment variable `DIESEL_POSTGRES_HOT_UPGRADE=off` turns off all of this crate.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The inner manager.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    fn is_enabled(&self) -> bool {
        self.enabled && environment::is_on()
    }
}

/// Never shows the inner manager: it may know a password.
impl<M> fmt::Debug for HotUpgradeManager<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotUpgradeManager")
            .field("inner", &format_args!("{}", std::any::type_name::<M>()))
            .field("verify", &self.verify)
            .field("target_session_attrs", &self.wanted)
            .field("enabled", &self.enabled)
            .finish()
    }
}

impl<M> ManageConnection for HotUpgradeManager<M>
where
    M: ManageConnection<Connection = PgConnection, Error = Error>,
{
    type Connection = PgConnection;
    type Error = Error;

    fn connect(&self) -> Result<PgConnection, Error> {
        panics_caught("connecting", || {
            if !self.is_enabled() {
                return self.inner.connect();
            }
            self.pace.may_connect().map_err(Error::QueryError)?;
            let mut conn = self.inner.connect()?;
            notes::change_lasting(&mut conn, |lasting| {
                lasting.replicas = self.replicas;
                lasting.wanted = self.wanted;
            });
            if let Err(error) = statements::require_fit(&mut conn) {
                mark_if_unfit(&mut conn, &error);
                return Err(Error::QueryError(error));
            }
            notes::set_connected(&mut conn);
            notes::set_manager(&mut conn, self.manager.0);
            Ok(conn)
        })
    }

    fn is_valid(&self, conn: &mut PgConnection) -> Result<(), Error> {
        panics_caught("checking a connection", || {
            if !self.is_enabled() {
                return self.inner.is_valid(conn);
            }
            let is_left_to_begin = is_checked_by_begin() && !self.keep_inner_check;
            if is_left_to_begin || self.verify.is_satisfied(conn) {
                return Ok(());
            }
            if self.keep_inner_check {
                self.inner.is_valid(conn)?;
            }
            let synchronized = synchronize(conn).map(drop);
            self.pace.note(conn, &synchronized);
            synchronized.map_err(Error::QueryError)
        })
    }

    fn has_broken(&self, conn: &mut PgConnection) -> bool {
        let is_unfit = self.is_enabled() && notes::is_unfit(conn);
        // A test transaction is left alone: its data would go with the connection.
        let is_worn = self.is_enabled()
            && notes::lasting(conn).resets.is_some_and(|resets| resets >= MAX_RESETS)
            && !is_in_transaction(conn);
        is_unfit
            || is_worn
            || panics_caught("inspecting a connection", || Ok(self.inner.has_broken(conn))).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let manager = HotUpgradeManager::new("postgres://app:hunter2@localhost/app");
        let shown = format!("{manager:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("ConnectionManager"), "{shown}");
    }
}
