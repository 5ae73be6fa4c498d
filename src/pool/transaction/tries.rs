//! One transaction and all its tries, each on another connection.

use std::thread;

use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel::result::Error;

use crate::connection::transaction_state::{is_broken, is_in_transaction, status};
use crate::connection::{notes, statements, writable};
use crate::pool::transaction::builder::HotPoolTransactionBuilder;
use crate::pool::transaction::error::{CutCause, HotTransactionError};
use crate::pool::transaction::pauses::Evidence;
use crate::pool::transaction::progress::{Ending, Progress, Tried, may_be_of_lock};
use crate::pool::verify::checked_by_begin;
use crate::probe::writes::Writes;
use crate::report::warnings;
use crate::transaction::begin::{Begin, Others, known_server};
use crate::transaction::run::{Ended, run, run_nested};

pub(crate) struct Tries<'a, M: ManageConnection> {
    pool: &'a Pool<M>,
    options: &'a HotPoolTransactionBuilder,
    progress: Progress,
}

impl<'a, M> Tries<'a, M>
where
    M: ManageConnection<Connection = PgConnection>,
{
    pub(crate) fn new(pool: &'a Pool<M>, options: &'a HotPoolTransactionBuilder) -> Self {
        let time = options.time().unwrap_or_else(|| pool.connection_timeout());
        Tries { pool, options, progress: Progress::new(time, pool.max_size()) }
    }

    /// Runs until the transaction is committed, the application fails, or the deadline has passed.
    pub(crate) fn run<T, E: From<Error>>(
        mut self,
        mut closure: impl FnMut(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, HotTransactionError<E>> {
        loop {
            let (cause, evidence) = match self.try_once(&mut closure) {
                Tried::Over(result) => return result,
                Tried::Cut(cause, evidence) => (cause, evidence),
            };
            let (pause, cause) = self.progress.pause(cause, evidence)?;
            thread::sleep(pause);
            Progress::runs_again(&cause);
        }
    }

    fn try_once<T, E: From<Error>>(
        &mut self,
        closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
    ) -> Tried<T, E> {
        let mut conn = match checked_by_begin(|| self.pool.get_timeout(self.progress.time_left())) {
            Ok(conn) => conn,
            Err(error) => return Tried::Cut(CutCause::NoConnection(Box::new(error)), Evidence::Fresh),
        };
        self.progress.add_try();
        self.try_on(&mut conn, closure)
    }

    fn try_on<T, E: From<Error>>(
        &mut self,
        conn: &mut PgConnection,
        closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
    ) -> Tried<T, E> {
        if is_in_transaction(conn) {
            // A test transaction, which ends with its connection.
            let result = run_nested(conn, &self.options.begin(), closure);
            return Tried::Over(result.map_err(HotTransactionError::Application));
        }
        if let Err((cause, evidence)) = self.end_lost_attempts(conn) {
            return Tried::Cut(cause, evidence);
        }
        let mut how = self.how(conn);
        let mut ended = run(conn, &how, &mut *closure);
        if matches!(&ended, Ended::NotBegun(error) if may_not_lock(conn, error)) {
            how.lock = None;
            ended = run(conn, &how, closure);
        }
        match self.progress.settle(ended, self.progress.evidence(conn)) {
            Ok(tried) => tried,
            Err(error) => self.not_begun(conn, &how, error),
        }
    }

    /// How the next try begins.
    fn how(&self, conn: &mut PgConnection) -> Begin {
        let mut how = self.options.begin();
        if self.progress.asks_for_writes(how.others) && !was_writable(conn) {
            how.others = Others::IfLost;
        }
        how.lock = Some(self.progress.lock());
        how
    }

    fn not_begun<T, E: From<Error>>(&mut self, conn: &mut PgConnection, how: &Begin, error: Error) -> Tried<T, E> {
        let evidence = self.progress.evidence(conn);
        match self.progress.not_begun(error, is_broken(conn), how.before_probe.is_some(), evidence) {
            Ok(tried) => tried,
            Err(error) => match how.others {
                Others::IfLostOrWithout(writes) if matches!(statements::takes(conn, writes), Ok(false)) => {
                    status(conn).set_in_error();
                    self.progress.read_only(error.into(), evidence)
                }
                _ => Tried::application(error),
            },
        }
    }

    /// Returns once no lost attempt of this transaction is left on the server.
    fn end_lost_attempts<E: From<Error>>(&self, conn: &mut PgConnection) -> Result<(), (CutCause<E>, Evidence)> {
        let Some(key) = self.progress.lost_attempts() else {
            return Ok(());
        };
        let mut ending = Ending::begin();
        loop {
            match statements::end_lost_attempt(conn, key, ending.by()) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_broken(conn) => {
                    return Err((CutCause::Lost(error.into()), self.progress.evidence(conn)));
                }
                // This role may not end it. `BEGIN` will notice whether it has ended by itself.
                Err(_) => return Ok(()),
            }
            match ending.pause(self.progress.time_left()) {
                Some(pause) => thread::sleep(pause),
                None => return Err((CutCause::StillRunning, Evidence::Fresh)),
            }
        }
    }
}

/// Did this server, or another one that the pool led to, take writes? One round trip for each pool, or for each
/// connection of another manager.
fn was_writable(conn: &mut PgConnection) -> bool {
    if let Some(was_writable) = writable::was_writable(conn) {
        return was_writable;
    }
    let takes_writes = statements::takes(conn, Writes::ByDefault);
    if let Ok(takes_writes) = takes_writes {
        writable::note(conn, takes_writes);
    }
    takes_writes.unwrap_or(false)
}

/// Did `BEGIN` fail because this role may not take the locks?
fn may_not_lock(conn: &mut PgConnection, error: &Error) -> bool {
    let may_not = !is_broken(conn) && may_be_of_lock(error) && matches!(statements::may_lock(conn), Ok(false));
    if may_not {
        let server = known_server(conn);
        notes::set_may_not_lock_on(conn, server);
        warnings::that_locks_are_refused();
    }
    may_not
}
