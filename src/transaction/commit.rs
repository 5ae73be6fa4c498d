//! How a verified transaction is committed: only if no statement in it failed.

use std::num::NonZeroU32;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::result::Error;

use crate::connection::transaction_state::{depth, is_loss, is_marked, roll_back, was_lost_meanwhile};
use crate::transaction::begin::Others;

/// Why a transaction was not committed, or is not known to be.
pub(crate) enum NotCommitted {
    /// A statement had failed before `COMMIT`, which was not executed. The transaction is still open.
    Aborted(Error),
    /// The connection was lost before `COMMIT` was sent.
    Lost(Error),
    /// The connection was lost while `COMMIT` was under way.
    Unknown(Error),
    /// The server has rolled back, or the closure has ended the transaction by itself.
    Otherwise(Error),
}

/// The server answers `COMMIT` of an aborted transaction with a rollback, which Diesel reports as success. The
/// savepoint fails in an aborted transaction, and outside a transaction. Then `COMMIT` is not executed.
const COMMIT: &str = "/* diesel-postgres-hot-upgrade: commit */ SAVEPOINT diesel_postgres_hot_upgrade; COMMIT";

/// Commits the transaction that this crate began. One round trip.
pub(crate) fn commit(conn: &mut PgConnection, others: Others) -> Result<(), NotCommitted> {
    // The closure may have met the loss, and returned Ok.
    let depth_before = depth(conn).map_err(NotCommitted::Lost)?;
    if depth_before != 1 || !is_marked(conn) {
        let message = if depth_before > 1 { CLOSURE_LEFT_SAVEPOINT } else { CLOSURE_ENDED_TRANSACTION };
        // A transaction that is open now must not reach the next user of the connection.
        return Err(NotCommitted::Otherwise(
            roll_back(conn).err().unwrap_or(Error::QueryBuilderError(message.into())),
        ));
    }
    if others != Others::None && was_lost_meanwhile(conn) {
        return Err(NotCommitted::Lost(Error::BrokenTransactionManager));
    }
    conn.instrumentation().on_connection_event(InstrumentationEvent::commit_transaction(NonZeroU32::MIN));
    let Err(error) = conn.batch_execute(COMMIT) else {
        return Ok(());
    };
    match depth(conn) {
        // The savepoint failed: COMMIT was not executed.
        Ok(1) => {
            let message = format!("{CLOSURE_SWALLOWED_ERROR}: {error}");
            Err(NotCommitted::Aborted(Error::QueryBuilderError(message.into())))
        }
        // The server answered that it did not commit.
        Ok(_) if !is_loss(&error) => Err(NotCommitted::Otherwise(error)),
        // A pooler may have lost its server.
        _ => Err(NotCommitted::Unknown(error)),
    }
}

pub(crate) const CLOSURE_SWALLOWED_ERROR: &str = "nothing was committed: a statement in the closure of hot_transaction failed, \
     and the closure returned Ok; return the error, or run what may fail in a savepoint (conn.transaction); the first \
     error is in the server's log";

pub(crate) const CLOSURE_ENDED_TRANSACTION: &str = "the closure of hot_transaction ended its transaction by itself: what came before \
     a COMMIT of its own may be committed; remove the COMMIT or ROLLBACK, or use transaction";

pub(crate) const CLOSURE_LEFT_SAVEPOINT: &str = "nothing was committed: the closure of hot_transaction began a savepoint and \
     did not end it; use conn.transaction, which does";
