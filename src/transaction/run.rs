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
use crate::report::stats::COUNTERS;
use crate::synchronize::filled_from;
use crate::transaction::begin::{Begin, begin};
use crate::transaction::heal::{Healed, MAX_RERUNS, heal_after};
use crate::transaction::plans::{Asked, roll_back_and_ask};

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
    let mut healed = Healed::Nothing;
    for reruns in 0.. {
        let begun = begin(conn, how)?;
        notes::take_failed_in_savepoint(conn);
        let attempted = attempt(conn, &mut closure);
        begun.leave(conn);
        let failed = match attempted {
            Ok(value) => {
                healed.succeeded(conn);
                return Ok(value);
            }
            Err(failed) => failed,
        };
        healed.was_in_vain(conn);
        let may_rerun = failed.may_rerun && reruns < MAX_RERUNS;
        healed = failed.asked.map_or(Healed::Nothing, |asked| heal_after(conn, asked, failed.may_rerun));
        if !may_rerun || matches!(healed, Healed::Nothing) {
            give_up(conn, healed, failed.may_rerun);
            return Err(failed.error);
        }
        healed.runs_again();
        log::note(format_args!(
            "a transaction failed and was rolled back; types or the catalog changed, so it runs again"
        ));
    }
    unreachable!("it returns after the last rerun")
}

/// The error is the application's. The next use of the connection finds correct caches all the same.
fn give_up(conn: &mut PgConnection, healed: Healed, has_failed: bool) {
    if has_failed {
        COUNTERS.failures_left.increment();
    }
    if !matches!(healed, Healed::Nothing) {
        healed.was_in_vain(conn);
        if filled_from(conn).is_some_and(|snapshot| !snapshot.is_uncertain()) {
            caches::restore_statement_cache(conn);
        }
    }
    notes::set_rolled_back(conn);
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

/// Notes whether a statement failed in it: the transaction around it may be in order again when it ends.
pub(crate) fn watched<T, E>(
    conn: &mut PgConnection,
    closure: impl FnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let result = closure(conn);
    if result.is_err() && refresh(conn) == TransactionState::Aborted {
        notes::set_failed_in_savepoint(conn);
    }
    result
}

struct Failed<E> {
    error: E,
    /// A statement had failed, and the transaction was rolled back without having been committed.
    may_rerun: bool,
    /// `None` if it is no use to ask.
    asked: Option<Asked>,
}

impl<E> Failed<E> {
    fn for_good(error: impl Into<E>) -> Self {
        Failed { error: error.into(), may_rerun: false, asked: None }
    }
}

fn attempt<T, E: From<Error>>(
    conn: &mut PgConnection,
    closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, Failed<E>> {
    let error = match closure(conn) {
        Ok(value) => {
            return match commit(conn) {
                Ok(()) => Ok(value),
                Err(NotCommitted::Aborted(error)) => {
                    Err(Failed { error: error.into(), may_rerun: true, asked: Some(Asked::Nothing) })
                }
                Err(NotCommitted::Otherwise(error)) => Err(Failed::for_good(error)),
            };
        }
        Err(error) => error,
    };
    // Of a transaction that the closure ended, or a lost connection, the outcome is unknown.
    let state = if is_marked(conn) { refresh(conn) } else { TransactionState::NoTransaction };
    let is_aborted = state == TransactionState::Aborted;
    let may_rerun = is_aborted || state == TransactionState::Open && notes::take_failed_in_savepoint(conn);
    let rolled_back = match state {
        _ if is_broken(conn) => return Err(Failed::for_good(error)),
        TransactionState::Aborted if !notes::is_prepared_by_pooler(conn) => {
            roll_back(conn).map(|()| Some(Asked::Nothing))
        }
        // What failed in a savepoint was rolled back with it: nothing shows whether something did.
        TransactionState::Aborted | TransactionState::Open => roll_back_and_ask(conn).map(Some),
        TransactionState::NoTransaction | TransactionState::Lost => roll_back(conn).map(|()| None),
    };
    match rolled_back {
        // In order, and not asked: the error is the application's.
        Ok(Some(Asked::Nothing)) if !may_rerun => Err(Failed::for_good(error)),
        Ok(asked) => Err(Failed { error, may_rerun, asked }),
        Err(_) => Err(Failed::for_good(error)),
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
