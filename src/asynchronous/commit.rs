//! How a verified transaction ends.

use std::num::NonZeroU32;

use diesel::connection::{InstrumentationEvent, TransactionDepthChange, TransactionManagerStatus};
use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::connection::transaction_state::{has_mark, is_loss};
use crate::transaction::commit::{CLOSURE_ENDED_TRANSACTION, CLOSURE_LEFT_SAVEPOINT, CLOSURE_SWALLOWED_ERROR};

pub(super) enum NotCommitted {
    /// A statement had failed before `COMMIT`, and the transaction was rolled back.
    Aborted(Error),
    /// Whether it was committed may be unknown.
    Otherwise(Error),
}

/// It fails in an aborted transaction, and outside a transaction.
const SAVEPOINT: &str = "/* diesel-postgres-hot-upgrade: commit */ SAVEPOINT diesel_postgres_hot_upgrade";

impl HotUpgradeAsyncPgConnection {
    /// One round trip: `COMMIT` is sent right behind a savepoint, as a message of its own. If the savepoint fails, the
    /// transaction was aborted, and the server answers `COMMIT` with a rollback.
    pub(super) async fn commit(&mut self) -> Result<(), NotCommitted> {
        let depth = self.depth().map_err(NotCommitted::Otherwise)?;
        if depth != 1 || !has_mark(self.status()) || self.memory.has_ended() {
            let message = if depth > 1 && !self.memory.has_ended() {
                CLOSURE_LEFT_SAVEPOINT
            } else {
                CLOSURE_ENDED_TRANSACTION
            };
            // A transaction that is open now must not reach the next user of the connection.
            let rolled_back = self.roll_back().await;
            return Err(NotCommitted::Otherwise(
                rolled_back.err().unwrap_or(Error::QueryBuilderError(message.into())),
            ));
        }
        self.inner
            .instrumentation()
            .on_connection_event(InstrumentationEvent::commit_transaction(NonZeroU32::MIN));
        let mut guard = Guard::new(self);
        let (is_in_order, committed) = {
            let (mut first, mut second) = (&guard.inner, &guard.inner);
            let commit = second.batch_execute("COMMIT");
            futures_util::future::join(first.batch_execute(SAVEPOINT), commit).await
        };
        if let Err(error) = &committed {
            guard.note_loss(error);
        }
        guard.note_ended();
        guard.disarm();
        match (is_in_order, committed) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) if !is_loss(&error) => {
                let message = format!("{CLOSURE_SWALLOWED_ERROR}: {error}");
                Err(NotCommitted::Aborted(Error::QueryBuilderError(message.into())))
            }
            (_, Err(error)) | (Err(error), Ok(())) => Err(NotCommitted::Otherwise(error)),
        }
    }

    /// Rolls back whatever transaction is open, after the closure failed. `true` if a statement of it had failed, so
    /// that nothing can have been committed. One round trip.
    pub(super) async fn roll_back_after_error(&mut self) -> bool {
        if self.is_lost() {
            return false;
        }
        let may_be_aborted = self.memory.has_failed() && !self.memory.may_have_ended() && has_mark(self.status());
        if !may_be_aborted {
            // An error of this is in the log, and marks the connection broken.
            let _ = self.roll_back().await;
            return false;
        }
        let mut guard = Guard::new(self);
        let (is_in_order, rolled_back) = {
            let (mut first, mut second) = (&guard.inner, &guard.inner);
            let roll_back = second.batch_execute(ROLLBACK);
            futures_util::future::join(first.batch_execute(SAVEPOINT), roll_back).await
        };
        guard.note_ended();
        if rolled_back.is_err() {
            guard.status().set_in_error();
        }
        guard.disarm();
        rolled_back.is_ok() && is_in_order.is_err()
    }

    /// Rolls back whatever transaction the server has open. A connection on which that fails is marked broken.
    pub(super) async fn roll_back(&mut self) -> QueryResult<()> {
        self.inner
            .instrumentation()
            .on_connection_event(InstrumentationEvent::rollback_transaction(NonZeroU32::MIN));
        let mut guard = Guard::new(self);
        let rolled_back = guard.inner.batch_execute(ROLLBACK).await;
        guard.note_ended();
        if rolled_back.is_err() {
            guard.status().set_in_error();
        }
        guard.disarm();
        rolled_back
    }

    /// No transaction is open.
    fn note_ended(&mut self) {
        while self.is_in_transaction() {
            if let TransactionManagerStatus::Valid(status) = self.status() {
                if status.change_transaction_depth(TransactionDepthChange::DecreaseDepth).is_err() {
                    return;
                }
            }
        }
    }
}

const ROLLBACK: &str = "/* diesel-postgres-hot-upgrade: rollback */ ROLLBACK";
