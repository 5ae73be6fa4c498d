//! What a connection knows of its own transaction. Nothing here costs a round trip.

use std::num::NonZeroU32;
use std::time::Instant;

use diesel::connection::{
    AnsiTransactionManager, InstrumentationEvent, SimpleConnection, TransactionManager, TransactionManagerStatus,
    ValidTransactionManagerStatus,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Integer;

use crate::probe::writes::{Writes, fails_without, is_without_writes};

/// What Diesel thinks of the transaction.
pub(crate) fn status(conn: &mut PgConnection) -> &mut TransactionManagerStatus {
    AnsiTransactionManager::transaction_manager_status_mut(conn)
}

/// How many transactions and savepoints are open.
pub(crate) fn depth(conn: &mut PgConnection) -> QueryResult<u32> {
    Ok(status(conn).transaction_depth()?.map_or(0, NonZeroU32::get))
}

pub(crate) fn is_in_transaction(conn: &mut PgConnection) -> bool {
    depth(conn).is_ok_and(|depth| depth > 0)
}

/// Was the connection lost, or left in an unknown state?
pub(crate) fn is_broken(conn: &mut PgConnection) -> bool {
    depth(conn).is_err()
}

/// Marks the open transaction. Diesel gives each transaction a new status, so the mark is gone with the transaction,
/// however a closure may have ended it, unless another one followed in the same message. (The flag is Diesel's for test
/// transactions, which are looked at only when a connection goes back to its pool: none does with a marked one.)
pub(crate) fn mark(conn: &mut PgConnection) {
    status(conn).set_test_transaction_flag();
}

/// Is the transaction that was marked still open?
pub(crate) fn is_marked(conn: &mut PgConnection) -> bool {
    has_mark(status(conn))
}

pub(crate) fn has_mark(status: &TransactionManagerStatus) -> bool {
    matches!(
        status,
        TransactionManagerStatus::Valid(ValidTransactionManagerStatus { in_transaction: Some(transaction), .. })
            if transaction.test_transaction
    )
}

/// A transaction as libpq knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionState {
    Lost,
    NoTransaction,
    Open,
    /// A statement failed, and the server refuses all that follow.
    Aborted,
}

/// Brings what Diesel thinks up to date: a `load` that fails while it is prepared leaves it as it was.
pub(crate) fn refresh(conn: &mut PgConnection) -> TransactionState {
    // It fails before anything is sent, and then Diesel looks at what libpq knows.
    let _ = conn.execute_returning_count(&NeverSent);
    match status(conn) {
        TransactionManagerStatus::InError => TransactionState::Lost,
        TransactionManagerStatus::Valid(ValidTransactionManagerStatus { in_transaction, .. }) => {
            match in_transaction {
                None => TransactionState::NoTransaction,
                Some(transaction) if transaction.requires_rollback_maybe_up_to_top_level => {
                    TransactionState::Aborted
                }
                Some(_) => TransactionState::Open,
            }
        }
    }
}

/// Rolls back whatever transaction the server has open. A connection on which that fails is marked broken.
pub(crate) fn roll_back(conn: &mut PgConnection) -> QueryResult<()> {
    rolls_back(conn);
    let rolled_back = conn.batch_execute("/* diesel-postgres-hot-upgrade: rollback */ ROLLBACK");
    if rolled_back.is_err() {
        status(conn).set_in_error();
    }
    rolled_back
}

/// Rolls back as [`roll_back`] does, and asks in the same message whether the server takes such writes, and took them
/// when the transaction began. If this role may not ask, it does.
pub(crate) fn roll_back_and_ask_for(writes: Writes, began: Instant, conn: &mut PgConnection) -> QueryResult<bool> {
    rolls_back(conn);
    let ask = fails_without(writes, began.elapsed());
    match conn.batch_execute(&format!("/* diesel-postgres-hot-upgrade: rollback */ ROLLBACK; {ask}")) {
        Ok(()) => Ok(true),
        Err(error) if is_without_writes(&error) && !is_broken(conn) => Ok(false),
        // The rollback came first.
        Err(error) if !is_loss(&error) && refresh(conn) == TransactionState::NoTransaction => Ok(true),
        Err(error) => {
            status(conn).set_in_error();
            Err(error)
        }
    }
}

/// Was the connection lost by now? It looks at what has arrived, without a round trip. Notifications that nobody has
/// read are dropped.
pub(crate) fn was_lost_meanwhile(conn: &mut PgConnection) -> bool {
    // The first look takes what the server said before it closed the connection, the second sees that it is closed.
    let is_closed = (0..2).any(|_| conn.notifications_iter().any(|arrived| arrived.is_err()));
    if is_closed {
        status(conn).set_in_error();
    }
    is_closed
}

/// Does the error say that the connection can be asked nothing more?
pub(crate) fn is_loss(error: &Error) -> bool {
    matches!(
        error,
        Error::BrokenTransactionManager
            | Error::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _
            )
    )
}

/// An instrumentation is to know.
pub(crate) fn rolls_back(conn: &mut PgConnection) {
    conn.instrumentation().on_connection_event(InstrumentationEvent::rollback_transaction(NonZeroU32::MIN));
}

/// Runs questions so that their failure can't abort the transaction that they may be part of.
pub(crate) fn guarded<T>(
    conn: &mut PgConnection,
    questions: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    if is_in_transaction(conn) { conn.transaction(questions) } else { questions(conn) }
}

/// A statement whose only bind can't be serialized.
#[derive(Debug)]
struct NeverSent;

impl QueryId for NeverSent {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for NeverSent {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        // Instrumentations may print it.
        out.push_sql("/* diesel-postgres-hot-upgrade: never sent */ ");
        out.push_bind_param::<Integer, _>(self)
    }
}

impl ToSql<Integer, Pg> for NeverSent {
    fn to_sql<'b>(&'b self, _: &mut Output<'b, '_, Pg>) -> serialize::Result {
        Err("this statement only asks libpq for the state of the transaction".into())
    }
}
