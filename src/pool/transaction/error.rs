//! Why a pool's transaction was not committed, or is not known to be.

use std::error::Error as StdError;
use std::fmt;

use diesel::result::Error;

/// Why [`pool.hot_transaction`](crate::HotUpgradePool::hot_transaction) did not commit, or does not know. `E` is the
/// closure's error.
///
/// ```
/// use diesel_postgres_hot_upgrade::HotTransactionError;
///
/// fn status(error: &HotTransactionError<diesel::result::Error>) -> u16 {
///     match error {
///         HotTransactionError::Application(_) => 500,
///         // Nothing happened. The client may try again.
///         HotTransactionError::NotCommitted { .. } => 503,
///         // It may have happened.
///         HotTransactionError::OutcomeUnknown { .. } => 504,
///         _ => 500,
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum HotTransactionError<E = Error> {
    /// The application's error, on a connection that was in order: the closure returned it, or the server refused
    /// `BEGIN` or `COMMIT` (a deferred constraint, a failed serialization). Nothing was committed, unless the closure
    /// committed by itself.
    Application(E),
    /// Nothing was committed, and the deadline has passed. The transaction may be run again.
    #[non_exhaustive]
    NotCommitted {
        /// Why the last try failed.
        cause: CutCause<E>,
        /// How many times a connection was tried. 0: the pool had none.
        tries: u32,
    },
    /// The connection was lost while `COMMIT` was under way, so nothing says whether the server committed. It was not
    /// run again.
    ///
    /// An application can make this answerable in advance: if the transaction writes a row under a key that the caller
    /// chose (an order's number, a UUID) into a column with a unique constraint, look for that row, or run the same
    /// transaction again and take a violated constraint for "it was committed". Or let the closure keep
    /// `txid_current()`, and ask the same server with `txid_status()` (PostgreSQL 10 on) until it says `committed` or
    /// `aborted`.
    #[non_exhaustive]
    OutcomeUnknown {
        /// How the connection was lost.
        cause: Error,
    },
}

/// Why a try of a pool's transaction failed, which has nothing to do with the application.
#[derive(Debug)]
#[non_exhaustive]
pub enum CutCause<E = Error> {
    /// The pool had no connection: all are in use, or no server answers. With the error of the pool.
    NoConnection(Box<dyn StdError + Send + Sync>),
    /// The connection was lost before `COMMIT` was sent. With the error that the closure returned.
    Lost(E),
    /// The server took writes before, and no longer does. With the error that the closure returned.
    ReadOnly(E),
    /// The server does not fit [`target_session_attrs`](crate::HotUpgradeManager::target_session_attrs). The error says
    /// what it was, or is the closure's, if that failed first.
    Unfit(E),
    /// An earlier try, whose connection was lost, could not be ended on the server.
    StillRunning,
}

impl<E: fmt::Display> fmt::Display for HotTransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HotTransactionError::Application(error) => error.fmt(f),
            HotTransactionError::NotCommitted { cause, tries } => write!(
                f,
                "nothing was committed before the deadline (connections tried: {tries}): {cause}; the transaction can \
                 be run again"
            ),
            HotTransactionError::OutcomeUnknown { cause } => write!(
                f,
                "the connection was lost while COMMIT was under way, so the transaction may be committed or not: look \
                 for what it wrote before you run it again: {cause}"
            ),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CutCause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutCause::NoConnection(error) => write!(f, "the pool had no connection: {error}"),
            CutCause::Lost(error) => write!(f, "the connection was lost before COMMIT was sent: {error}"),
            CutCause::ReadOnly(error) => write!(f, "the server took writes before, and no longer does: {error}"),
            CutCause::Unfit(error) => write!(f, "the server does not fit target_session_attrs: {error}"),
            CutCause::StillRunning => {
                f.write_str("an earlier try, whose connection was lost, could not be ended on the server")
            }
        }
    }
}

impl<E: StdError + 'static> StdError for HotTransactionError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            HotTransactionError::Application(error) => error.source(),
            HotTransactionError::NotCommitted { cause, .. } => cause.source(),
            HotTransactionError::OutcomeUnknown { cause } => Some(cause),
        }
    }
}

impl<E: StdError + 'static> StdError for CutCause<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            CutCause::NoConnection(error) => Some(error.as_ref()),
            CutCause::Lost(error) | CutCause::ReadOnly(error) | CutCause::Unfit(error) => Some(error),
            CutCause::StillRunning => None,
        }
    }
}
