//! One transaction and all its tries, each on another connection.

use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool};
use diesel::result::Error;

use crate::catalog::session::Unfit;
use crate::connection::transaction_state::{is_broken, is_in_transaction, status};
use crate::connection::{notes, statements, writable};
use crate::pool::transaction::builder::HotPoolTransactionBuilder;
use crate::pool::transaction::error::{CutCause, HotTransactionError};
use crate::pool::transaction::pauses::{Evidence, Pauses};
use crate::pool::verify::checked_by_begin;
use crate::probe::lost_attempt::{By, Key, Lock, is_still_there};
use crate::report::stats::COUNTERS;
use crate::report::{log, warnings};
use crate::transaction::begin::{Begin, Others, known_server};
use crate::transaction::run::{Ended, run};

/// A deadline that is farther away is no deadline.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// A lost attempt that has not ended after this time is no longer cancelled, but terminated.
const CANCELLED_FOR: Duration = Duration::from_millis(200);

pub(crate) struct Tries<'a, M: ManageConnection> {
    pool: &'a Pool<M>,
    options: &'a HotPoolTransactionBuilder,
    began: Instant,
    deadline: Instant,
    key: Key,
    count: u32,
    /// The session of a lost attempt may still be there.
    may_be_running: bool,
    /// A server was met that had taken writes before, and no longer does.
    met_read_only: bool,
}

/// How one try ended.
enum Tried<T, E> {
    Over(Result<T, HotTransactionError<E>>),
    Cut(CutCause<E>, Evidence),
}

impl<T, E> Tried<T, E> {
    fn application(error: impl Into<E>) -> Self {
        Tried::Over(Err(HotTransactionError::Application(error.into())))
    }
}

impl<'a, M> Tries<'a, M>
where
    M: ManageConnection<Connection = PgConnection>,
{
    pub(crate) fn new(pool: &'a Pool<M>, options: &'a HotPoolTransactionBuilder) -> Self {
        let time = options.time().unwrap_or_else(|| pool.connection_timeout());
        let began = Instant::now();
        Tries {
            pool,
            options,
            began,
            deadline: began + time.min(FAR_AWAY),
            key: Key::random(),
            count: 0,
            may_be_running: false,
            met_read_only: false,
        }
    }

    /// Runs until the transaction is committed, the application fails, or the deadline has passed.
    pub(crate) fn run<T, E: From<Error>>(
        mut self,
        mut closure: impl FnMut(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, HotTransactionError<E>> {
        let mut pauses = Pauses::new(self.pool.max_size());
        loop {
            let (cause, evidence) = match self.try_once(&mut closure) {
                Tried::Over(result) => return result,
                Tried::Cut(cause, evidence) => (cause, evidence),
            };
            let pause = pauses.next(evidence);
            if pause >= self.time_left() {
                return Err(HotTransactionError::NotCommitted { cause, tries: self.count });
            }
            thread::sleep(pause);
            COUNTERS.reruns_after_cuts.increment();
            log::note(format_args!("{}, so the transaction runs again on another connection", reason(&cause)));
        }
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn try_once<T, E: From<Error>>(
        &mut self,
        closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
    ) -> Tried<T, E> {
        let mut conn = match checked_by_begin(|| self.pool.get_timeout(self.time_left())) {
            Ok(conn) => conn,
            Err(error) => return Tried::Cut(CutCause::NoConnection(error), Evidence::Fresh),
        };
        self.count += 1;
        self.try_on(&mut conn, closure)
    }

    fn try_on<T, E: From<Error>>(
        &mut self,
        conn: &mut PgConnection,
        closure: &mut impl FnMut(&mut PgConnection) -> Result<T, E>,
    ) -> Tried<T, E> {
        if is_in_transaction(conn) {
            // A test transaction, which ends with its connection.
            let result = self.options.run_inside(conn, closure);
            return Tried::Over(result.map_err(HotTransactionError::Application));
        }
        if let Err((cause, evidence)) = self.end_lost_attempts(conn) {
            return Tried::Cut(cause, evidence);
        }
        let mut how = match self.how(conn) {
            Ok(how) => how,
            Err(error) => return Tried::application(error),
        };
        let mut ended = run(conn, &how, &mut *closure);
        if matches!(&ended, Ended::NotBegun(error) if may_not_lock(conn, error)) {
            how.lock = None;
            ended = run(conn, &how, closure);
        }
        match ended {
            Ended::Committed(value) => Tried::Over(Ok(value)),
            Ended::Failed(error) => Tried::application(error),
            Ended::NotBegun(error) => self.not_begun(conn, &how, error),
            Ended::Lost(error) => self.lost(error),
            Ended::ReadOnly(error) => self.read_only(conn, error),
            // It is marked, and the pool drops it.
            Ended::Unfit(error) => Tried::Cut(CutCause::Unfit(error), self.evidence(conn)),
            Ended::Unknown(cause) => {
                COUNTERS.lost_connections.increment();
                COUNTERS.unknown_outcomes.increment();
                Tried::Over(Err(HotTransactionError::OutcomeUnknown { cause }))
            }
        }
    }

    /// How the next try begins.
    fn how(&self, conn: &mut PgConnection) -> QueryResult<Begin> {
        let mut how = self.options.build(conn)?;
        how.others = self.options.others();
        if how.others == Others::IfLostOrReadOnly && !self.met_read_only && !was_writable(conn) {
            how.others = Others::IfLost;
        }
        how.lock = Some(if self.may_be_running { Lock::Alone(self.key) } else { Lock::First(self.key) });
        Ok(how)
    }

    fn lost<T, E>(&mut self, error: E) -> Tried<T, E> {
        self.may_be_running = true;
        COUNTERS.lost_connections.increment();
        warnings::that_connections_are_cut();
        Tried::Cut(CutCause::Lost(error), Evidence::Fresh)
    }

    fn read_only<T, E>(&mut self, conn: &mut PgConnection, error: E) -> Tried<T, E> {
        self.met_read_only = true;
        warnings::that_server_became_read_only();
        Tried::Cut(CutCause::ReadOnly(error), self.evidence(conn))
    }

    /// What a failure on this connection says of the server: a new one leads to where the address leads now.
    fn evidence(&self, conn: &mut PgConnection) -> Evidence {
        let is_new = notes::since_connected(conn).is_some_and(|elapsed| elapsed < self.began.elapsed());
        if is_new { Evidence::Fresh } else { Evidence::WasIdle }
    }

    fn not_begun<T, E: From<Error>>(&mut self, conn: &mut PgConnection, how: &Begin, error: Error) -> Tried<T, E> {
        if is_broken(conn) {
            // It may have been dead for long. The closure has not run, so nothing of it is on the server.
            self.may_be_running |= how.before_probe.is_some();
            COUNTERS.lost_connections.increment();
            return Tried::Cut(CutCause::Lost(error.into()), self.evidence(conn));
        }
        if Unfit::of(&error).is_some() {
            // It is marked, and the pool drops it.
            return Tried::Cut(CutCause::Unfit(error.into()), self.evidence(conn));
        }
        if is_still_there(&error) {
            return Tried::Cut(CutCause::StillRunning, Evidence::Fresh);
        }
        if how.others == Others::IfLostOrReadOnly && matches!(statements::takes_writes(conn), Ok(false)) {
            status(conn).set_in_error();
            return self.read_only(conn, error.into());
        }
        Tried::application(error)
    }

    /// Returns once no lost attempt of this transaction is left on the server.
    fn end_lost_attempts<E: From<Error>>(&self, conn: &mut PgConnection) -> Result<(), (CutCause<E>, Evidence)> {
        if !self.may_be_running {
            return Ok(());
        }
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let by = if began.elapsed() < CANCELLED_FOR { By::Cancel } else { By::Terminate };
            match statements::end_lost_attempt(conn, self.key, by) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_broken(conn) => return Err((CutCause::Lost(error.into()), self.evidence(conn))),
                // This role may not end it. `BEGIN` will notice whether it has ended by itself.
                Err(_) => return Ok(()),
            }
            if self.time_left() <= pause {
                return Err((CutCause::StillRunning, Evidence::Fresh));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// Did this server, or another one that the pool led to, take writes? One round trip for each pool, or for each
/// connection of another manager.
fn was_writable(conn: &mut PgConnection) -> bool {
    if let Some(was_writable) = writable::was_writable(conn) {
        return was_writable;
    }
    let takes_writes = statements::takes_writes(conn);
    if let Ok(takes_writes) = takes_writes {
        writable::note(conn, takes_writes);
    }
    takes_writes.unwrap_or(false)
}

/// Did `BEGIN` fail because this role may not take the locks?
fn may_not_lock(conn: &mut PgConnection, error: &Error) -> bool {
    if is_broken(conn) || is_still_there(error) || Unfit::of(error).is_some() {
        return false;
    }
    let may_not = matches!(statements::may_lock(conn), Ok(false));
    if may_not {
        let server = known_server(conn);
        notes::set_may_not_lock_on(conn, server);
        warnings::that_locks_are_refused();
    }
    may_not
}

fn reason<E>(cause: &CutCause<E>) -> &'static str {
    match cause {
        CutCause::NoConnection(_) => "the pool had no connection",
        CutCause::Lost(_) => "a connection was lost before COMMIT was sent",
        CutCause::ReadOnly(_) => "the server takes no writes any more",
        CutCause::Unfit(_) => "the server does not fit target_session_attrs",
        CutCause::StillRunning => "a lost attempt of the transaction still runs",
    }
}
