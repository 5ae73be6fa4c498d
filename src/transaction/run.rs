//! Verified transactions: they begin on a server that the connection's caches agree with, and run again if that
//! server's catalog changed under them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::result::Error;

use crate::connection::caches;
use crate::connection::notes;
use crate::connection::transaction_state::{
    TransactionState, depth, is_broken, is_in_transaction, is_loss, is_marked, refresh, roll_back,
    roll_back_and_ask_for, status,
};
use crate::report::log;
use crate::report::stats::COUNTERS;
use crate::synchronize::filled_from;
use crate::transaction::begin::{Begin, Others, begin};
use crate::transaction::commit::{NotCommitted, commit};
use crate::transaction::heal::{Healed, MAX_RERUNS, heal_after};
use crate::transaction::plans::{self, Asked, roll_back_aborted, roll_back_and_ask};

/// How a verified transaction ended.
#[derive(Debug)]
pub(crate) enum Ended<T, E> {
    Committed(T),
    /// An error of the application. Nothing was committed, but for what the closure itself has committed.
    Failed(E),
    /// `BEGIN` failed, and no transaction is open.
    NotBegun(Error),
    /// The connection was lost before `COMMIT` was sent.
    Lost(E),
    /// The server took writes before, and no longer does. Nothing was committed.
    ReadOnly(E),
    /// After the closure failed, the server was found not to fit `target_session_attrs`. Nothing was committed.
    Unfit(E),
    /// The connection was lost while `COMMIT` was under way.
    Unknown(Error),
}

impl<T, E: From<Error>> Ended<T, E> {
    pub(crate) fn into_result(self) -> Result<T, E> {
        match self {
            Ended::Committed(value) => Ok(value),
            Ended::Failed(error) | Ended::Lost(error) | Ended::ReadOnly(error) | Ended::Unfit(error) => Err(error),
            Ended::NotBegun(error) | Ended::Unknown(error) => Err(error.into()),
        }
    }
}

/// Runs `closure` in a verified transaction.
pub(crate) fn run<T, E: From<Error>>(
    conn: &mut PgConnection,
    how: &Begin,
    closure: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Ended<T, E> {
    // A broken connection is refused before anything is sent.
    if let Err(error) = depth(conn) {
        return Ended::NotBegun(error);
    }
    let mut guard = PanicGuard { conn, is_armed: true };
    let ended = run_until_over(guard.conn, how, closure);
    if !matches!(ended, Ended::Committed(_)) {
        notes::forget_verified(guard.conn);
    }
    guard.is_armed = false;
    ended
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
) -> Ended<T, E> {
    let mut healed = Healed::Nothing;
    for reruns in 0.. {
        let began = Instant::now();
        let begun = match begin(conn, how) {
            Ok(begun) => begun,
            Err(error) => return Ended::NotBegun(error),
        };
        notes::take_failed_in_savepoint(conn);
        let attempted = attempt(conn, how.others, began, &mut closure);
        begun.leave(conn);
        let failed = match attempted {
            Attempt::Over(ended) => {
                if matches!(ended, Ended::Committed(_)) {
                    healed.succeeded(conn);
                } else {
                    notes::set_rolled_back(conn);
                }
                return ended;
            }
            Attempt::Failed(failed) => failed,
        };
        healed.was_in_vain(conn);
        let may_rerun = failed.may_rerun && reruns < MAX_RERUNS;
        healed = failed.asked.map_or(Healed::Nothing, |asked| heal_after(conn, asked, failed.may_rerun));
        if failed.was_open && how.others != Others::None && notes::is_unfit(conn) {
            return Ended::Unfit(failed.error);
        }
        if !may_rerun || matches!(healed, Healed::Nothing) {
            give_up(conn, healed, failed.may_rerun);
            return Ended::Failed(failed.error);
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

/// Runs `closure` as stock Diesel does, in a savepoint if a transaction is open. If that is rolled back, so is a search
/// path that it set: what the caches were filled with for that is forgotten.
pub(crate) fn run_nested<T, E: From<Error>>(
    conn: &mut PgConnection,
    how: &Begin,
    closure: impl FnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let (filled_from, outer) = (notes::snapshot(conn), notes::lasting(conn).own_depth);
    let inner = depth(conn).map_or(0, |depth| depth + 1);
    notes::change_lasting(conn, |lasting| lasting.own_depth = inner);
    let result = run_stock(conn, how, closure);
    notes::change_lasting(conn, |lasting| lasting.own_depth = outer);
    if result.is_err() {
        notes::forget_verified(conn);
        if notes::snapshot(conn) != filled_from {
            caches::forget_oids(conn);
        }
    }
    result
}

fn run_stock<T, E: From<Error>>(
    conn: &mut PgConnection,
    how: &Begin,
    closure: impl FnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let is_savepoint = is_in_transaction(conn);
    if is_savepoint {
        AnsiTransactionManager::begin_transaction(conn)?;
    } else {
        AnsiTransactionManager::begin_transaction_sql(conn, &how.sql)?;
    }
    let prepared = how.before_probe.as_ref().map_or(Ok(()), |sql| conn.batch_execute(sql));
    let work = |()| if is_savepoint { watched(conn, closure) } else { closure(conn) };
    match prepared.map_err(E::from).and_then(work) {
        Ok(value) => AnsiTransactionManager::commit_transaction(conn).map(|()| value).map_err(E::from),
        Err(error) => match AnsiTransactionManager::rollback_transaction(conn) {
            Ok(()) | Err(Error::BrokenTransactionManager) => Err(error),
            Err(error) => Err(error.into()),
        },
    }
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

enum Attempt<T, E> {
    Over(Ended<T, E>),
    Failed(Failed<E>),
}

/// The transaction was rolled back, and the connection is in order.
struct Failed<E> {
    error: E,
    /// The closure had not ended the transaction by itself, so nothing was committed.
    was_open: bool,
    /// A statement had failed before `COMMIT`, so nothing was committed.
    may_rerun: bool,
    /// `None` if it is no use to ask.
    asked: Option<Asked>,
}

fn attempt<T, E: From<Error>>(
    conn: &mut PgConnection,
    others: Others,
    began: Instant,
    closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Attempt<T, E> {
    let value = match closure(conn) {
        Ok(value) => value,
        Err(error) => return roll_back_after(conn, others, began, error),
    };
    match commit(conn, others) {
        Ok(()) => Attempt::Over(Ended::Committed(value)),
        Err(NotCommitted::Aborted(error)) => roll_back_after(conn, others, began, error.into()),
        Err(NotCommitted::Lost(error)) => Attempt::Over(Ended::Lost(error.into())),
        Err(NotCommitted::Unknown(error)) => Attempt::Over(Ended::Unknown(error)),
        Err(NotCommitted::Otherwise(error)) => Attempt::Over(Ended::Failed(error.into())),
    }
}

/// Ends a transaction that failed while its closure ran.
fn roll_back_after<T, E>(conn: &mut PgConnection, others: Others, began: Instant, error: E) -> Attempt<T, E> {
    // Of a transaction that the closure ended, the outcome is unknown.
    let was_marked = is_marked(conn);
    let state = match refresh(conn) {
        TransactionState::Lost => return Attempt::Over(Ended::Lost(error)),
        state if was_marked => state,
        _ => TransactionState::NoTransaction,
    };
    let may_rerun = match state {
        TransactionState::Aborted => true,
        // What failed in a savepoint was rolled back with it.
        TransactionState::Open => notes::take_failed_in_savepoint(conn),
        TransactionState::NoTransaction | TransactionState::Lost => false,
    };
    let was_open = state != TransactionState::NoTransaction;
    match roll_back_and_look(conn, others, began, state) {
        Ok(LookedAfter::WithoutWrites) => {
            // No pool hands it out again.
            status(conn).set_in_error();
            Attempt::Over(Ended::ReadOnly(error))
        }
        // In order, and not asked: the error is the application's.
        Ok(LookedAfter::Asked(Asked::Nothing | Asked::Unnamed)) if !may_rerun => {
            Attempt::Failed(Failed { error, was_open, may_rerun, asked: None })
        }
        Ok(LookedAfter::Asked(asked)) => {
            Attempt::Failed(Failed { error, was_open, may_rerun, asked: Some(asked) })
        }
        // Why the statement failed can't be asked any more. If it is the application's fault, it fails again.
        Err(lost) if state == TransactionState::Aborted && others != Others::None && is_loss(&lost) => {
            Attempt::Over(Ended::Lost(error))
        }
        Err(_) => Attempt::Over(Ended::Failed(error)),
    }
}

/// What was found out with the rollback.
enum LookedAfter {
    /// The server took writes before, and no longer does.
    WithoutWrites,
    Asked(Asked),
}

/// One round trip.
fn roll_back_and_look(
    conn: &mut PgConnection,
    others: Others,
    began: Instant,
    state: TransactionState,
) -> QueryResult<LookedAfter> {
    match (state, others) {
        // The same server has to say so that the transaction ran on.
        (TransactionState::Aborted | TransactionState::Open, Others::IfLostOrWithout(writes)) => {
            let asked = if plans::is_unnamed(conn) { Asked::Unnamed } else { Asked::Nothing };
            let takes_writes = roll_back_and_ask_for(writes, began, conn)?;
            Ok(if takes_writes { LookedAfter::Asked(asked) } else { LookedAfter::WithoutWrites })
        }
        (TransactionState::Aborted, _) => roll_back_aborted(conn).map(LookedAfter::Asked),
        (TransactionState::Open, _) => roll_back_and_ask(conn).map(LookedAfter::Asked),
        _ => roll_back(conn).map(|()| LookedAfter::Asked(Asked::Nothing)),
    }
}
