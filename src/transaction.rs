//! Verified transactions: they begin on a server that the connection's caches agree with, and run again where that
//! server's types changed under them.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::result::Error;

use crate::begin::{Begin, begin};
use crate::state::{State, depth, is_broken, refresh, status};
use crate::synchronize::{Outcome, synchronize};
use crate::verify;

/// How often a closure may run again, after statements that failed because types changed.
const MAX_RERUNS: usize = 2;

/// Runs `closure` in a verified transaction of its own.
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
        verify::forget(guard.conn);
    }
    guard.is_armed = false;
    result
}

/// Rolls back where a panic, in the closure or in an instrumentation, leaves the transaction open.
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
        verify::forget(self.conn);
    }
}

fn run_until_over<T, E: From<Error>>(
    conn: &mut PgConnection,
    how: &Begin,
    mut closure: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let mut reruns = 0;
    loop {
        begin(conn, how)?;
        let error = match attempt(conn, &mut closure) {
            Attempt::Over(result) => return result,
            Attempt::Aborted(error) => error,
        };
        if reruns == MAX_RERUNS || !has_changed(conn) {
            return Err(error);
        }
        reruns += 1;
        log::debug!("a transaction failed and was rolled back; types changed, so it runs again");
    }
}

/// What a failed statement asks: was it the fault of the connection's caches? They are right afterwards.
pub(crate) fn has_changed(conn: &mut PgConnection) -> bool {
    matches!(synchronize(conn), Ok(Outcome::Primed | Outcome::Changed(_)))
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
            let state = refresh(conn);
            // A connection that is lost, or a transaction that the closure ended: nothing is known of its outcome.
            let is_open = matches!(state, State::Open | State::Aborted);
            let is_rolled_back = is_open && roll_back(conn).is_ok();
            if is_rolled_back && matches!(state, State::Aborted) {
                Attempt::Aborted(error)
            } else {
                Attempt::Over(Err(error))
            }
        }
    }
}

enum NotCommitted {
    /// A statement had failed before `COMMIT`, and the transaction was rolled back.
    Aborted(Error),
    /// Whether it was committed may be unknown.
    Otherwise(Error),
}

/// To a `COMMIT` of an aborted transaction the server answers that it rolled it back, which Diesel takes for success.
/// The savepoint fails there, and where no transaction is open any more, so that `COMMIT` is not executed.
const COMMIT: &str = "SAVEPOINT diesel_postgres_hot_upgrade; COMMIT";

fn commit(conn: &mut PgConnection) -> Result<(), NotCommitted> {
    match depth(conn) {
        Ok(1) => {}
        Ok(0) => return Err(NotCommitted::Otherwise(error_of(CLOSURE_ENDED_TRANSACTION))),
        Ok(_) => {
            let is_rolled_back = roll_back(conn);
            return Err(NotCommitted::Otherwise(is_rolled_back.err().unwrap_or(error_of(CLOSURE_LEFT_SAVEPOINT))));
        }
        Err(error) => return Err(NotCommitted::Otherwise(error)),
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
        Ok(()) => Err(NotCommitted::Aborted(error_of(CLOSURE_SWALLOWED_ERROR))),
        Err(error) => Err(NotCommitted::Otherwise(error)),
    }
}

/// Rolls back whatever transaction the server has open. A connection on which that fails is marked broken.
pub(crate) fn roll_back(conn: &mut PgConnection) -> QueryResult<()> {
    conn.instrumentation().on_connection_event(InstrumentationEvent::rollback_transaction(NonZeroU32::MIN));
    let rolled_back = conn.batch_execute("ROLLBACK");
    if rolled_back.is_err() {
        status(conn).set_in_error();
    }
    rolled_back
}

const CLOSURE_SWALLOWED_ERROR: &str = "nothing was committed: a statement in the closure of hot_transaction failed, \
     and the closure returned Ok; return the error, or run what may fail in a savepoint (conn.transaction)";

const CLOSURE_ENDED_TRANSACTION: &str = "the closure of hot_transaction ended the transaction by itself: whether \
     anything was committed is for it to say; use no COMMIT or ROLLBACK of its own";

const CLOSURE_LEFT_SAVEPOINT: &str = "nothing was committed: the closure of hot_transaction began a savepoint and \
     did not end it; use conn.transaction, which does";

fn error_of(message: &str) -> Error {
    Error::QueryBuilderError(message.into())
}
