//! What is left of a future that is dropped half-way.

use std::ops::{Deref, DerefMut};

use diesel::prelude::*;
use diesel_async::{AnsiTransactionManager, TransactionManager};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;

/// Marks the connection broken if it is dropped before [`Guard::disarm`]: it is not known what the server did, or which
/// transaction is open. A pool then closes it, and the server rolls back. (A panic of a closure drops it too.)
pub(super) struct Guard<'a> {
    conn: &'a mut HotUpgradeAsyncPgConnection,
    is_armed: bool,
}

impl<'a> Guard<'a> {
    pub(super) fn new(conn: &'a mut HotUpgradeAsyncPgConnection) -> Self {
        Guard { conn, is_armed: true }
    }

    pub(super) fn disarm(mut self) {
        self.is_armed = false;
    }

    /// Begins a savepoint, so that a question that fails can't abort the transaction.
    pub(super) async fn savepoint(conn: &'a mut HotUpgradeAsyncPgConnection) -> QueryResult<Self> {
        let guard = Guard::new(conn);
        let begun = AnsiTransactionManager::begin_transaction(&mut guard.conn.inner).await;
        match begun {
            Ok(()) => Ok(guard),
            Err(error) => {
                guard.conn.note_loss(&error);
                guard.disarm();
                Err(error)
            }
        }
    }

    /// Ends the savepoint.
    pub(super) async fn end_savepoint(self, is_ok: bool) -> QueryResult<()> {
        let ended = if is_ok {
            AnsiTransactionManager::commit_transaction(&mut self.conn.inner).await
        } else {
            AnsiTransactionManager::rollback_transaction(&mut self.conn.inner).await
        };
        if let Err(error) = &ended {
            self.conn.note_loss(error);
        }
        self.disarm();
        ended
    }
}

impl Deref for Guard<'_> {
    type Target = HotUpgradeAsyncPgConnection;

    fn deref(&self) -> &HotUpgradeAsyncPgConnection {
        self.conn
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut HotUpgradeAsyncPgConnection {
        self.conn
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            self.conn.status().set_in_error();
            // If a closure dropped it, the connection is not lost, and the next run of the closure would do the same.
            self.conn.memory.set_ended_unseen();
        }
    }
}
