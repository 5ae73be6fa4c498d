//! Processor time, in nanoseconds. It is steadier than time on a clock, most of which goes by until a thread that waits
//! is woken.

use std::fs;
use std::time::Duration;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::shared::AnyError;

/// A server's process.
#[derive(Debug)]
pub(crate) struct Process {
    number: i32,
}

impl Process {
    /// The one that serves this connection, which has no pooler in between.
    pub(crate) fn that_serves(conn: &mut PgConnection) -> Result<Self, AnyError> {
        let asked = diesel::select(sql::<Integer>("pg_catalog.pg_backend_pid()"));
        Ok(Process { number: asked.get_result(conn)? })
    }

    pub(crate) fn numbered(number: i32) -> Self {
        Process { number }
    }

    /// How long it was on a processor. The kernel adds up when the process goes to sleep, as it does after an answer.
    pub(crate) fn time(&self) -> Result<Duration, AnyError> {
        let path = format!("/proc/{}/schedstat", self.number);
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
    }
}

/// How long this thread was on a processor.
pub(crate) fn time_of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Keeps this thread and server processes on one core until it is dropped. Without it, the scheduler decides from time
/// to time whether they share one, and that weighs more than what is compared: to wake a core up costs tens of
/// microseconds, of processor time too.
#[derive(Debug)]
pub(crate) struct OneCore {
    before: CpuSet,
}

impl OneCore {
    pub(crate) fn shared_with(processes: &[&Process]) -> Result<Self, AnyError> {
        let before = sched_getaffinity(None)?;
        // The last one: others prefer the first.
        let core = (0..CpuSet::MAX_CPU).rev().find(|core| before.is_set(*core)).ok_or("no core to run on")?;
        let mut only = CpuSet::new();
        only.set(core);
        for process in processes {
            sched_setaffinity(Pid::from_raw(process.number), &only)?;
        }
        sched_setaffinity(None, &only)?;
        Ok(OneCore { before })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // It worked in the other direction.
        let _ = sched_setaffinity(None, &self.before);
    }
}
