//! What is known of one transaction and of all its tries, whichever driver runs them. No round trip.

use std::time::{Duration, Instant};

use diesel::pg::GetPgMetadataCache;
use diesel::result::Error;

use crate::catalog::session::Unfit;
use crate::connection::notes;
use crate::pool::transaction::error::{CutCause, HotTransactionError};
use crate::pool::transaction::pauses::{Evidence, Pauses};
use crate::probe::lost_attempt::{By, Key, Lock, is_still_there};
use crate::report::stats::COUNTERS;
use crate::report::{log, warnings};
use crate::transaction::begin::Others;
use crate::transaction::run::Ended;

/// A deadline that is farther away is no deadline.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// A lost attempt that has not ended after this time is no longer cancelled, but terminated.
const CANCELLED_FOR: Duration = Duration::from_millis(200);

/// How one try ended.
pub(crate) enum Tried<T, E> {
    Over(Result<T, HotTransactionError<E>>),
    Cut(CutCause<E>, Evidence),
}

impl<T, E> Tried<T, E> {
    pub(crate) fn application(error: impl Into<E>) -> Self {
        Tried::Over(Err(HotTransactionError::Application(error.into())))
    }
}

#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    deadline: Instant,
    pauses: Pauses,
    key: Key,
    tries: u32,
    /// The session of a lost attempt may still be there.
    may_be_running: bool,
    /// A server was met that had taken writes before, and no longer does.
    met_read_only: bool,
}

impl Progress {
    pub(crate) fn new(time: Duration, pool_size: u32) -> Self {
        let began = Instant::now();
        Progress {
            began,
            deadline: began + time.min(FAR_AWAY),
            pauses: Pauses::new(pool_size),
            key: Key::random(),
            tries: 0,
            may_be_running: false,
            met_read_only: false,
        }
    }

    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// A connection is tried.
    pub(crate) fn add_try(&mut self) {
        self.tries += 1;
    }

    /// How long to wait before the next try. The end if the deadline comes first.
    pub(crate) fn pause<E>(
        &mut self,
        cause: CutCause<E>,
        evidence: Evidence,
    ) -> Result<(Duration, CutCause<E>), HotTransactionError<E>> {
        let pause = self.pauses.next(evidence);
        if pause >= self.time_left() {
            return Err(HotTransactionError::NotCommitted { cause, tries: self.tries });
        }
        Ok((pause, cause))
    }

    /// The next try begins.
    pub(crate) fn runs_again<E>(cause: &CutCause<E>) {
        COUNTERS.reruns_after_cuts.increment();
        log::note(format_args!("{}, so the transaction runs again on another connection", reason(cause)));
    }

    /// What a failure on this connection says of the server: a new one leads to where the address leads now.
    pub(crate) fn evidence(&self, conn: &mut impl GetPgMetadataCache) -> Evidence {
        let is_new = notes::since_connected(conn).is_some_and(|elapsed| elapsed < self.began.elapsed());
        if is_new { Evidence::Fresh } else { Evidence::WasIdle }
    }

    /// The key of attempts that may still be on a server.
    pub(crate) fn lost_attempts(&self) -> Option<Key> {
        self.may_be_running.then_some(self.key)
    }

    /// By which the next try is found, should it be lost.
    pub(crate) fn lock(&self) -> Lock {
        if self.may_be_running { Lock::Alone(self.key) } else { Lock::First(self.key) }
    }

    /// Is it of interest whether the server took writes before?
    pub(crate) fn asks_for_writes(&self, others: Others) -> bool {
        matches!(others, Others::IfLostOrWithout(_)) && !self.met_read_only
    }

    /// What comes of a try that has begun. The error of one that has not.
    pub(crate) fn settle<T, E: From<Error>>(
        &mut self,
        ended: Ended<T, E>,
        evidence: Evidence,
    ) -> Result<Tried<T, E>, Error> {
        Ok(match ended {
            Ended::Committed(value) => Tried::Over(Ok(value)),
            Ended::Failed(error) => Tried::application(error),
            Ended::NotBegun(error) => return Err(error),
            Ended::Lost(error) => self.lost(error),
            Ended::ReadOnly(error) => self.read_only(error, evidence),
            // It is marked, and the pool drops it.
            Ended::Unfit(error) => Tried::Cut(CutCause::Unfit(error), evidence),
            Ended::Unknown(cause) => {
                COUNTERS.lost_connections.increment();
                COUNTERS.unknown_outcomes.increment();
                Tried::Over(Err(HotTransactionError::OutcomeUnknown { cause }))
            }
        })
    }

    fn lost<T, E>(&mut self, error: E) -> Tried<T, E> {
        self.may_be_running = true;
        COUNTERS.lost_connections.increment();
        warnings::that_connections_are_cut();
        Tried::Cut(CutCause::Lost(error), Evidence::Fresh)
    }

    pub(crate) fn read_only<T, E>(&mut self, error: E, evidence: Evidence) -> Tried<T, E> {
        self.met_read_only = true;
        warnings::that_server_became_read_only();
        Tried::Cut(CutCause::ReadOnly(error), evidence)
    }

    /// What comes of a try whose `BEGIN` failed. The error if nothing of that is known.
    pub(crate) fn not_begun<T, E: From<Error>>(
        &mut self,
        error: Error,
        is_lost: bool,
        has_before_probe: bool,
        evidence: Evidence,
    ) -> Result<Tried<T, E>, Error> {
        if is_lost {
            // It may have been dead for long. The closure has not run, so nothing of it is on the server.
            self.may_be_running |= has_before_probe;
            COUNTERS.lost_connections.increment();
            return Ok(Tried::Cut(CutCause::Lost(error.into()), evidence));
        }
        if Unfit::of(&error).is_some() {
            // It is marked, and the pool drops it.
            return Ok(Tried::Cut(CutCause::Unfit(error.into()), evidence));
        }
        if is_still_there(&error) {
            return Ok(Tried::Cut(CutCause::StillRunning, Evidence::Fresh));
        }
        Err(error)
    }
}

/// Can the error of a `BEGIN` be one of the lock?
pub(crate) fn may_be_of_lock(error: &Error) -> bool {
    !is_still_there(error) && Unfit::of(error).is_none()
}

/// The end of a lost attempt is waited for.
#[derive(Debug)]
pub(crate) struct Ending {
    began: Instant,
    pause: Duration,
}

impl Ending {
    pub(crate) fn begin() -> Self {
        Ending { began: Instant::now(), pause: Duration::from_millis(1) }
    }

    pub(crate) fn by(&self) -> By {
        if self.began.elapsed() < CANCELLED_FOR { By::Cancel } else { By::Terminate }
    }

    /// How long to wait before the next look. `None` if the deadline comes first.
    pub(crate) fn pause(&mut self, time_left: Duration) -> Option<Duration> {
        let pause = self.pause;
        self.pause = (pause * 2).min(Duration::from_millis(50));
        (time_left > pause).then_some(pause)
    }
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
