//! Verified transactions: they begin on a server that the connection's caches agree with, and run again if that
//! server's catalog changed under them.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::result::Error;

use crate::connection::caches;
use crate::connection::notes;
use crate::connection::transaction_state::{
    TransactionState, depth, is_broken, is_marked, refresh, roll_back, status,
};
use crate::report::log;
use crate::transaction::begin::{Begin, begin};
use crate::transaction::heal::{Healed, Healing, MAX_RERUNS, Unknown, heal};

/// Runs `closure` in a verified transaction.
pub(crate) fn run<T, E: From<Error>>(
    conn: &mut PgConnection,
    how: &Begin,
    closure: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    // A broken connection is refused before anything is sent.
    depth(conn)?;
    let mut guard = PanicGuard { conn, is_armed: true };
    let result = run_until_over(guard.conn, how, closure);
    if result.is_err() {
        notes::forget_verified(guard.conn);
    }
    guard.is_armed = false;
    result
}

/// Rolls back if a panic, in the closure or in an instrumentation, leaves the transaction open.
struct PanicGuard<'a> {
    conn: &'a mut PgConnection,
    is_armed: bool,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if !self.is_armed || is_broken(self.conn) {
            return;
        }
        // A second panic on the way would end the process.
        let rolled_back = catch_unwind(AssertUnwindSafe(|| roll_back(self.conn)));
        if !matches!(rolled_back, Ok(Ok(()))) {
            status(self.conn).set_in_error();
        }
        // It is not known what the closure had filled the caches with.
        caches::forget_oids(self.conn);
        caches::restore_statement_cache(self.conn);
    }
}

fn run_until_over<T, E: From<Error>>(
    conn: &mut PgConnection,
    how: &Begin,
    mut closure: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let mut reruns = 0;
    let mut healing: Option<Healing> = None;
    loop {
        let begun = begin(conn, how)?;
        let attempted = attempt(conn, &mut closure);
        begun.leave(conn);
        let error = match attempted {
            Attempt::Over(result) => {
                if result.is_err() {
                    notes::set_rolled_back(conn);
                }
                return result;
            }
            Attempt::Aborted(error) => error,
        };
        if let Some(healing) = healing.take() {
            healing.was_in_vain(conn);
        }
        if reruns == MAX_RERUNS {
            return Err(error);
        }
        match heal(conn, Unknown::IsEmpty) {
            Healed::Nothing => {
                notes::set_rolled_back(conn);
                return Err(error);
            }
            Healed::Types => {}
            Healed::Statements(statements) => healing = Some(statements),
        }
        reruns += 1;
        log::note(format_args!(
            "a transaction failed and was rolled back; types or the catalog changed, so it runs again"
        ));
    }
}

/// Runs `closure` in a savepoint of an open transaction, as stock Diesel does. If it is rolled back, so is a search
/// path that it set: what the caches were filled with for that is forgotten.
pub(crate) fn run_nested<T, E>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let (filled_from, outer) = (notes::snapshot(conn), notes::lasting(conn).own_depth);
    let inner = depth(conn).map_or(0, |depth| depth + 1);
    notes::change_lasting(conn, |lasting| lasting.own_depth = inner);
    let result = work(conn);
    notes::change_lasting(conn, |lasting| lasting.own_depth = outer);
    if result.is_err() {
        notes::forget_verified(conn);
        if notes::snapshot(conn) != filled_from {
            caches::forget_oids(conn);
        }
    }
    result
}

enum Attempt<T, E> {
    Over(Result<T, E>),
    /// A statement failed, and the transaction was rolled back without having been committed.
    Aborted(E),
}

fn attempt<T, E: From<Error>>(
    conn: &mut PgConnection,
    closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Attempt<T, E> {
    match closure(conn) {
        Ok(value) => match commit(conn) {
            Ok(()) => Attempt::Over(Ok(value)),
            Err(NotCommitted::Aborted(error)) => Attempt::Aborted(error.into()),
            Err(NotCommitted::Otherwise(error)) => Attempt::Over(Err(error.into())),
        },
        Err(error) => {
            // Of a transaction that the closure ended, or a lost connection, the outcome is unknown.
            let is_aborted = is_marked(conn) && refresh(conn) == TransactionState::Aborted;
            let is_rolled_back = !is_broken(conn) && roll_back(conn).is_ok();
            if is_aborted && is_rolled_back { Attempt::Aborted(error) } else { Attempt::Over(Err(error)) }
        }
    }
}

enum NotCommitted {
    /// A statement had failed before `COMMIT`, and the transaction was rolled back.
    Aborted(Error),
    /// Whether it was committed may be unknown.
    Otherwise(Error),
}

/// The server answers `COMMIT` of an aborted transaction with a rollback, which Diesel reports as success. The
/// savepoint fails in an aborted transaction, and outside a transaction. Then `COMMIT` is not executed.
const COMMIT: &str = "/* diesel-postgres-hot-upgrade: commit */ SAVEPOINT diesel_postgres_hot_upgrade; COMMIT";

fn commit(conn: &mut PgConnection) -> Result<(), NotCommitted> {
    let depth_before = depth(conn).map_err(NotCommitted::Otherwise)?;
    if depth_before != 1 || !is_marked(conn) {
        let message = if depth_before > 1 { CLOSURE_LEFT_SAVEPOINT } else { CLOSURE_ENDED_TRANSACTION };
        // A transaction that is open now must not reach the next user of the connection.
        return Err(NotCommitted::Otherwise(
            roll_back(conn).err().unwrap_or(Error::QueryBuilderError(message.into())),
        ));
    }
    conn.instrumentation().on_connection_event(InstrumentationEvent::commit_transaction(NonZeroU32::MIN));
    let Err(error) = conn.batch_execute(COMMIT) else {
        return Ok(());
    };
    if !matches!(depth(conn), Ok(1)) {
        return Err(NotCommitted::Otherwise(error));
    }
    // The savepoint failed: COMMIT was not executed.
    match roll_back(conn) {
        Ok(()) => {
            let message = format!("{CLOSURE_SWALLOWED_ERROR}: {error}");
            Err(NotCommitted::Aborted(Error::QueryBuilderError(message.into())))
        }
        Err(error) => Err(NotCommitted::Otherwise(error)),
    }
}

const CLOSURE_SWALLOWED_ERROR: &str = "nothing was committed: a statement in the closure of hot_transaction failed, \
     and the closure returned Ok; return the error, or run what may fail in a savepoint (conn.transaction); the first \
     error is in the server's log";

const CLOSURE_ENDED_TRANSACTION: &str = "the closure of hot_transaction ended its transaction by itself: what came before \
     a COMMIT of its own may be committed; remove the COMMIT or ROLLBACK, or use transaction";

const CLOSURE_LEFT_SAVEPOINT: &str = "nothing was committed: the closure of hot_transaction began a savepoint and \
     did not end it; use conn.transaction, which does";
