//! When the server is replaced, and how long it took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixture::Upgrade;
use serde::Serialize;

use crate::args::{Options, Pooler};
use crate::figures::as_milliseconds;

/// One replacement of the server. Times since the start of the run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Switch {
    pub(crate) from: u32,
    pub(crate) to: u32,
    #[serde(rename = "began_ms", serialize_with = "as_milliseconds")]
    pub(crate) began: Duration,
    #[serde(rename = "done_ms", serialize_with = "as_milliseconds")]
    pub(crate) done: Duration,
}

impl Switch {
    /// Was it under way at any moment between these two?
    pub(crate) fn overlaps(&self, began: Duration, ended: Duration) -> bool {
        self.began <= ended && began <= self.done
    }
}

/// Replaces the server as often as asked for, in equal parts of the run. Where it can't be done, stops the load.
pub(crate) fn perform(
    upgrade: &Upgrade,
    options: &Options,
    start: Instant,
    stop: &AtomicBool,
    tell: impl Fn(String),
) -> Result<Vec<Switch>, Box<dyn std::error::Error + Send + Sync>> {
    let part = Duration::from_secs(options.seconds.into()) / (options.switches + 1);
    let mut switches = Vec::new();
    for number in 1..=options.switches {
        thread::sleep((start + part * number).saturating_duration_since(Instant::now()));
        let (from, to) = if number % 2 == 1 { (upgrade.old, upgrade.new) } else { (upgrade.new, upgrade.old) };
        tell(format!("switching to PostgreSQL {}", to.major()));
        let began = start.elapsed();
        let switched = match options.pooler {
            Pooler::Transaction => upgrade.switch_to(to),
            Pooler::Session => upgrade.cut_over_to(to),
        };
        switched.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        switches.push(Switch { from: from.major(), to: to.major(), began, done: start.elapsed() });
        tell(format!("on PostgreSQL {}", to.major()));
    }
    Ok(switches)
}
