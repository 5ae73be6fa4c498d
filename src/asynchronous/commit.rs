//! How a verified transaction ends.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Instant;

use diesel::connection::{InstrumentationEvent, TransactionDepthChange, TransactionManagerStatus};
use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::connection::transaction_state::{has_mark, is_loss};
use crate::probe::writes::{fails_without, is_without_writes};
use crate::transaction::begin::Others;
use crate::transaction::commit::{CLOSURE_ENDED_TRANSACTION, CLOSURE_LEFT_SAVEPOINT, CLOSURE_SWALLOWED_ERROR};

pub(super) enum NotCommitted {
    /// A statement had failed before `COMMIT`, and the transaction was rolled back.
    Aborted(Error),
    /// A statement had failed, and `COMMIT` was not sent. The transaction is still open, or the connection was lost.
    StillOpen(Error),
    /// The connection was lost before `COMMIT` was sent.
    Lost(Error),
    /// The connection was lost while `COMMIT` was under way.
    Unknown(Error),
    /// The server has rolled back, or the closure has ended the transaction by itself.
    Otherwise(Error),
}

/// What was found when a transaction was rolled back after its closure failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RolledBack {
    /// The connection was lost while the closure ran.
    Lost,
    /// The server took writes before, and no longer does.
    WithoutWrites,
    /// A statement had failed, so nothing can have been committed.
    Aborted,
    /// The error is the application's.
    Otherwise,
}

/// It fails in an aborted transaction, and outside a transaction.
const SAVEPOINT: &str = "/* diesel-postgres-hot-upgrade: commit */ SAVEPOINT diesel_postgres_hot_upgrade";

const ROLLBACK: &str = "/* diesel-postgres-hot-upgrade: rollback */ ROLLBACK";

impl HotUpgradeAsyncPgConnection {
    /// One round trip: `COMMIT` is sent right behind a savepoint, as a message of its own. If the savepoint fails, the
    /// transaction was aborted, and the server answers `COMMIT` with a rollback.
    pub(super) async fn commit(&mut self, others: Others) -> Result<(), NotCommitted> {
        let has_others = others != Others::None && !self.memory.may_have_ended();
        let depth = match self.depth() {
            Ok(depth) => depth,
            // The closure may have met the loss, and returned Ok.
            Err(error) if has_others => return Err(NotCommitted::Lost(error)),
            Err(error) => return Err(NotCommitted::Otherwise(error)),
        };
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
        if has_others {
            self.may_commit().await?;
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
        let result = guard.outcome(others, is_in_order, committed).await;
        guard.disarm();
        result
    }

    /// What a transaction that can move to another connection has to know before `COMMIT` is sent. No round trip,
    /// unless the closure returned `Ok` after a statement had failed.
    async fn may_commit(&mut self) -> Result<(), NotCommitted> {
        if self.was_lost_meanwhile().await {
            return Err(NotCommitted::Lost(Error::BrokenTransactionManager));
        }
        if self.memory.has_failed() {
            let mut guard = Guard::new(self);
            let is_in_order = guard.inner.batch_execute(SAVEPOINT).await;
            guard.disarm();
            return is_in_order.map_err(|error| NotCommitted::StillOpen(swallowed(&error)));
        }
        Ok(())
    }

    /// What the answers to the savepoint and to `COMMIT` say.
    async fn outcome(
        &mut self,
        others: Others,
        is_in_order: QueryResult<()>,
        committed: QueryResult<()>,
    ) -> Result<(), NotCommitted> {
        match (is_in_order, committed) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) if !is_loss(&error) => Err(NotCommitted::Aborted(swallowed(&error))),
            (_, Err(error)) | (Err(error), Ok(())) if others == Others::None => {
                Err(NotCommitted::Otherwise(error))
            }
            // An error with which the session ends looks like any other. A pooler's comes in the place of the server's
            // answers, whatever these were.
            (_, Err(error)) if !is_loss(&error) && self.answers().await => Err(NotCommitted::Otherwise(error)),
            (_, Err(error)) | (Err(error), Ok(())) => {
                self.status().set_in_error();
                Err(NotCommitted::Unknown(error))
            }
        }
    }

    /// Was the connection lost by now? It looks at what has arrived, without a round trip.
    async fn was_lost_meanwhile(&mut self) -> bool {
        // The task that drives the connection comes first. The first time, it is woken.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let is_closed = self.is_closed();
        if is_closed {
            self.status().set_in_error();
        }
        is_closed
    }

    /// Rolls back whatever transaction is open, after the closure failed. One round trip.
    pub(super) async fn roll_back_after_error(&mut self, others: Others, began: Instant) -> RolledBack {
        // Of a transaction that the closure ended, the outcome is unknown.
        let has_failed = self.memory.has_failed() && !self.memory.may_have_ended();
        let if_lost = if has_failed && others != Others::None { RolledBack::Lost } else { RolledBack::Otherwise };
        if self.is_lost() {
            return if_lost;
        }
        if !has_failed || !has_mark(self.status()) {
            // An error of this is in the log, and marks the connection broken.
            let _ = self.roll_back().await;
            return RolledBack::Otherwise;
        }
        let sql = match others {
            // The same server has to say so that the transaction ran on.
            Others::IfLostOrWithout(writes) => {
                Cow::Owned(format!("{ROLLBACK}; {}", fails_without(writes, began.elapsed())))
            }
            Others::None | Others::IfLost => Cow::Borrowed(ROLLBACK),
        };
        self.rolls_back();
        let mut guard = Guard::new(self);
        let (is_in_order, rolled_back) = {
            let (mut first, mut second) = (&guard.inner, &guard.inner);
            futures_util::future::join(first.batch_execute(SAVEPOINT), second.batch_execute(&sql)).await
        };
        guard.note_ended();
        let is_rolled_back = match &rolled_back {
            Ok(()) => true,
            Err(error) if is_without_writes(error) => false,
            // If it answers, this role may not ask. The rollback came first.
            Err(error) => !is_loss(error) && guard.answers().await,
        };
        let found = match rolled_back {
            _ if is_rolled_back && is_in_order.is_err() => RolledBack::Aborted,
            _ if is_rolled_back => RolledBack::Otherwise,
            Err(error) if is_without_writes(&error) => RolledBack::WithoutWrites,
            _ => if_lost,
        };
        if !is_rolled_back {
            // No pool hands it out again.
            guard.status().set_in_error();
        }
        guard.disarm();
        found
    }

    /// Rolls back whatever transaction the server has open. A connection on which that fails is marked broken.
    pub(super) async fn roll_back(&mut self) -> QueryResult<()> {
        self.rolls_back();
        let mut guard = Guard::new(self);
        let rolled_back = guard.inner.batch_execute(ROLLBACK).await;
        guard.note_ended();
        if rolled_back.is_err() {
            guard.status().set_in_error();
        }
        guard.disarm();
        rolled_back
    }

    /// An instrumentation is to know.
    fn rolls_back(&mut self) {
        self.inner
            .instrumentation()
            .on_connection_event(InstrumentationEvent::rollback_transaction(NonZeroU32::MIN));
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

fn swallowed(error: &Error) -> Error {
    Error::QueryBuilderError(format!("{CLOSURE_SWALLOWED_ERROR}: {error}").into())
}
