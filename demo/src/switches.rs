//! When the server is replaced, and how long it took.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixture::Upgrade;
use serde::Serialize;
use testbed::{Cluster, Forwarder};

use crate::args::{OUTAGE, Options, Pooler};
use crate::figures::as_milliseconds;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

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

/// What the application connects to.
#[derive(Debug)]
pub(crate) struct Front<'a> {
    upgrade: &'a Upgrade,
    pooler: Pooler,
    /// Without a pooler: an address that leads to one server after the other.
    address: Option<Forwarder>,
}

impl<'a> Front<'a> {
    pub(crate) fn start(options: &Options, upgrade: &'a Upgrade) -> Result<Self, AnyError> {
        let pooler = options.pooler;
        let forwarder = || Forwarder::start(upgrade.old.address());
        let address = (pooler == Pooler::None).then(forwarder).transpose()?;
        Ok(Front { upgrade, pooler, address })
    }

    pub(crate) fn url(&self) -> String {
        match &self.address {
            Some(address) => self.upgrade.old.url_at(address.address(), &self.upgrade.database),
            None => self.upgrade.url(),
        }
    }

    fn switch_to(&self, server: &Cluster) -> Result<(), AnyError> {
        match (&self.address, self.pooler) {
            (Some(address), _) => {
                address.retarget(nowhere()?);
                thread::sleep(OUTAGE);
                address.retarget(server.address());
                Ok(())
            }
            (None, Pooler::Session) => self.upgrade.cut_over_to(server),
            (None, _) => self.upgrade.switch_to(server),
        }
    }
}

/// An address where nothing listens.
fn nowhere() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Replaces the server as often as asked for, in equal parts of the run. Where it can't be done, stops the load.
pub(crate) fn perform(
    front: &Front<'_>,
    options: &Options,
    start: Instant,
    stop: &AtomicBool,
    tell: impl Fn(String),
) -> Result<Vec<Switch>, AnyError> {
    let part = Duration::from_secs(options.seconds.into()) / (options.switches + 1);
    let mut switches = Vec::new();
    for number in 1..=options.switches {
        thread::sleep((start + part * number).saturating_duration_since(Instant::now()));
        let (from, to) = if number % 2 == 1 {
            (front.upgrade.old, front.upgrade.new)
        } else {
            (front.upgrade.new, front.upgrade.old)
        };
        tell(format!("switching to PostgreSQL {}", to.major()));
        let began = start.elapsed();
        front.switch_to(to).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        switches.push(Switch { from: from.major(), to: to.major(), began, done: start.elapsed() });
        tell(format!("on PostgreSQL {}", to.major()));
    }
    Ok(switches)
}
