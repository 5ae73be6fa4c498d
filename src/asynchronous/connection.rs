//! The connection that takes the place of diesel-async's.

use std::fmt;

use diesel::ConnectionError;
use diesel::connection::{CacheSize, Instrumentation, TransactionManagerStatus};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AnsiTransactionManager, AsyncConnection, AsyncPgConnection, TransactionManager};

use crate::asynchronous::memory::Memory;
use crate::catalog::server::Replicas;
use crate::catalog::session::TargetSessionAttrs;
use crate::connection::notes;
use crate::connection::transaction_state::is_loss;
use crate::environment;
use crate::pool::verify::Verify;
use crate::probe::check::Mark;
use crate::synchronize::mark_if_unfit;

/// An [`AsyncPgConnection`] whose OIDs and prepared statements belong to the server that answers.
///
/// Use it like the stock connection: queries run on it, and on `&` of it if they are to be pipelined. `establish` asks
/// the server, and fills the connection from the process-wide table of OIDs.
///
/// # Cost
///
/// Queries cost what they cost with stock diesel-async, or less: types that the table has are not looked up. For the
/// rest see [`synchronize`](HotUpgradeAsyncPgConnection::synchronize) and
/// [`hot_transaction`](HotUpgradeAsyncPgConnection::hot_transaction).
///
/// # Example
///
/// ```no_run
/// use diesel::prelude::*;
/// use diesel_async::{AsyncConnection, RunQueryDsl};
/// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
///
/// # diesel::table! { documents (id) { id -> BigInt, title -> Text, } }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut conn = HotUpgradeAsyncPgConnection::establish("postgres://app@pooler/app").await?;
/// // … hours later:
/// conn.synchronize().await?;
/// let titles: Vec<String> = documents::table.select(documents::title).load(&mut conn).await?;
/// # Ok(())
/// # }
/// ```
pub struct HotUpgradeAsyncPgConnection {
    pub(super) inner: AsyncPgConnection,
    pub(super) memory: Memory,
    /// The user's setting.
    pub(super) cache_size: CacheSize,
    /// The statement cache is off for now, because the caches will be emptied again soon.
    pub(super) is_suspended: bool,
    /// Put before each text, so that a pooler prepares it once more. Empty, but for a rerun.
    pub(super) prefix: String,
    /// A statement was gone from the session, so those that tokio-postgres keeps for itself are, too.
    pub(super) is_worn: bool,
    /// The state of the catalog when the server was identified last.
    pub(super) identified_at: Option<Mark>,
    pub(super) verify: Verify,
}

impl HotUpgradeAsyncPgConnection {
    /// Protects a connection that was made in another way: with TLS, or with a token in place of a password. It is
    /// *unknown* at first: call [`synchronize`](HotUpgradeAsyncPgConnection::synchronize) on it, in the set-up function
    /// of a pool's manager for example. No round trip.
    ///
    /// A size of its statement cache that was set before is lost, since it can't be read: set it after `wrap`. Its own
    /// cache of types stays as it is, for what runs on [`stock`](HotUpgradeAsyncPgConnection::stock).
    ///
    /// ```no_run
    /// use diesel::{ConnectionError, ConnectionResult};
    /// use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
    /// use diesel_async::{AsyncConnection, AsyncPgConnection};
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// async fn connect(url: String) -> ConnectionResult<HotUpgradeAsyncPgConnection> {
    ///     // With TLS: AsyncPgConnection::try_from_client_and_connection
    ///     let stock = AsyncPgConnection::establish(&url).await?;
    ///     let mut conn = HotUpgradeAsyncPgConnection::wrap(stock);
    ///     conn.synchronize().await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    ///     Ok(conn)
    /// }
    ///
    /// let mut config = ManagerConfig::default();
    /// config.custom_setup = Box::new(|url| Box::pin(connect(url.to_owned())));
    /// let manager = AsyncDieselConnectionManager::new_with_config("postgres://app@pooler/app", config);
    /// ```
    #[must_use]
    pub fn wrap(inner: AsyncPgConnection) -> Self {
        HotUpgradeAsyncPgConnection {
            inner,
            memory: Memory::default(),
            cache_size: CacheSize::Unbounded,
            is_suspended: false,
            prefix: String::new(),
            is_worn: false,
            identified_at: None,
            verify: Verify::default(),
        }
    }

    /// Sets how often a pool checks this connection. The default is every checkout.
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Accepts a primary and its physical standbys as one server. See
    /// [`HotUpgradeManager::interchangeable_replicas`](crate::HotUpgradeManager::interchangeable_replicas) for what
    /// this gives up. Set it before the first [`synchronize`](HotUpgradeAsyncPgConnection::synchronize).
    #[must_use]
    pub fn interchangeable_replicas(self, interchangeable: bool) -> Self {
        let replicas = if interchangeable { Replicas::Interchangeable } else { Replicas::Distinct };
        self.memory.with(|oids| notes::change_lasting(oids, |lasting| lasting.replicas = replicas));
        self
    }

    /// Accepts only servers whose sessions are of that kind. As
    /// [`HotUpgradeManager::target_session_attrs`](crate::HotUpgradeManager::target_session_attrs), which says what is
    /// checked. The server is asked now, at every checkout, and with the `BEGIN` of every verified transaction. A pool
    /// replaces a connection to a server that does not fit.
    ///
    /// # Cost
    ///
    /// One round trip now, and none later.
    ///
    /// # Errors
    ///
    /// The server does not fit, or does not answer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::ConnectionResult;
    /// use diesel_async::AsyncConnection;
    /// use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
    /// use diesel_postgres_hot_upgrade::TargetSessionAttrs;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// async fn connect(url: String) -> ConnectionResult<HotUpgradeAsyncPgConnection> {
    ///     let conn = HotUpgradeAsyncPgConnection::establish(&url).await?;
    ///     conn.target_session_attrs(TargetSessionAttrs::ReadWrite).await
    /// }
    ///
    /// let mut config = ManagerConfig::default();
    /// config.custom_setup = Box::new(|url| Box::pin(connect(url.to_owned())));
    /// let manager = AsyncDieselConnectionManager::new_with_config("postgres://app@pooler/app", config);
    /// ```
    pub async fn target_session_attrs(mut self, attrs: TargetSessionAttrs) -> ConnectionResult<Self> {
        self.memory.with(|oids| notes::change_lasting(oids, |lasting| lasting.wanted = attrs));
        if environment::is_on() {
            self.may_connect().map_err(ConnectionError::CouldntSetupConfiguration)?;
            if let Err(error) = self.require_fit().await {
                self.memory.with(|oids| mark_if_unfit(oids, &error));
                return Err(ConnectionError::CouldntSetupConfiguration(error));
            }
            self.memory.with(notes::set_connected);
        }
        Ok(self)
    }

    /// The stock connection, for what only that one can do: notifications, or a cancel token.
    ///
    /// Queries that run on it look their types up in diesel-async's private cache, and are **not** protected. In a
    /// verified transaction, a statement that fails on it does not let the closure run again.
    pub fn stock(&mut self) -> &mut AsyncPgConnection {
        // It may end the transaction, unseen.
        self.memory.set_ended_unseen();
        &mut self.inner
    }

    /// What diesel-async thinks of the transaction.
    pub(super) fn status(&mut self) -> &mut TransactionManagerStatus {
        AnsiTransactionManager::transaction_manager_status_mut(&mut self.inner)
    }

    /// How many transactions and savepoints are open.
    pub(super) fn depth(&mut self) -> QueryResult<u32> {
        Ok(self.status().transaction_depth()?.map_or(0, std::num::NonZeroU32::get))
    }

    pub(super) fn is_in_transaction(&mut self) -> bool {
        self.depth().is_ok_and(|depth| depth > 0)
    }

    /// Was the connection lost, or left in an unknown state?
    pub(super) fn is_lost(&mut self) -> bool {
        // The flag of diesel-async says that a `BEGIN` or `COMMIT` was dropped half-way.
        let was_interrupted =
            !self.is_in_transaction() && AnsiTransactionManager::is_broken_transaction_manager(&mut self.inner);
        self.depth().is_err() || was_interrupted
    }

    /// Has the connection been closed? Without a round trip: it says what the driver knows by now.
    pub(super) fn is_closed(&mut self) -> bool {
        // The stock connection counts an open transaction too, unless it is one of this crate's.
        let is_transaction_in_order = !AnsiTransactionManager::is_broken_transaction_manager(&mut self.inner);
        is_transaction_in_order && PoolableConnection::is_broken(&mut self.inner)
    }

    /// Notes that the connection is lost if that is what the error says: diesel-async does not.
    pub(super) fn note_loss(&mut self, error: &Error) {
        if says_lost(error) {
            self.status().set_in_error();
        }
    }
}

/// Does the error say that the connection can be asked nothing more? An answer that tokio-postgres did not expect does
/// not: it goes on with the next one. (Such as no row, if it asks what a type is that the server does not have.)
pub(super) fn says_lost(error: &Error) -> bool {
    let is_unexpected_answer = matches!(
        error,
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, said)
            if said.message() == "unexpected message from server"
    );
    is_loss(error) && !is_unexpected_answer
}

impl fmt::Debug for HotUpgradeAsyncPgConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotUpgradeAsyncPgConnection").field("verify", &self.verify).finish_non_exhaustive()
    }
}

impl AsyncConnection for HotUpgradeAsyncPgConnection {
    type TransactionManager = AnsiTransactionManager;

    /// Connects, and fills the connection from the table of OIDs. One round trip more than the stock connection, if the
    /// server is that of the last connection to this URL; those of a change if it is not.
    async fn establish(url: &str) -> ConnectionResult<Self> {
        let mut conn = HotUpgradeAsyncPgConnection::wrap(AsyncPgConnection::establish(url).await?);
        conn.synchronize_new(url).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(conn)
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.inner.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.inner.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.inner.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.cache_size = size;
        if !self.is_suspended {
            self.inner.set_prepared_statement_cache_size(size);
        }
    }
}
