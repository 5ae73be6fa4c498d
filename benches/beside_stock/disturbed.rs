//! A bare checkout while others do something on the server, beside the same checkout on a server that is left alone.
//! Both are this crate's, and take turns.

use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel_postgres_hot_upgrade::Verify;
use serde::Serialize;
use testbed::{Cluster, Forwarder};

use crate::disturbance::Disturbance;
use crate::goals;
use crate::paired::{Spread, compare, timed};
use crate::processor::OneCore;
use crate::processor_time::used;
use crate::run::Bench;
use crate::shared::servers::{create_database, quiet_cluster};
use crate::shared::subjects::{self, ProtectedPool};
use crate::shared::{AnyError, twenty};

/// Checkouts that are timed together, in a full and in a short run. They take longer than others' temporary tables
/// live, so that each batch has its share of the expensive ones.
const BATCHES: [u32; 2] = [200, 40];

/// Pairs of batches in a block.
const BLOCK: usize = 3;

/// Seconds and round trips of one checkout.
#[derive(Debug, Serialize)]
pub(crate) struct Disturbed {
    pub(crate) what: String,
    pub(crate) without: f64,
    pub(crate) with: f64,
    pub(crate) ratio: Spread,
    pub(crate) time_verdict: &'static str,
    pub(crate) round_trips: f64,
    pub(crate) round_trips_verdict: &'static str,
}

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Disturbed>, AnyError> {
    let mut cluster = quiet_cluster()?;
    cluster.client("postgres")?.batch_execute("ALTER SYSTEM SET max_prepared_transactions = 4")?;
    cluster.restart()?;
    Disturbance::ALL.into_iter().map(|disturbance| beside_calm(bench, &cluster, disturbance)).collect()
}

fn beside_calm(bench: &Bench<'_>, cluster: &Cluster, disturbance: Disturbance) -> Result<Disturbed, AnyError> {
    let database = format!("disturbed_{}", disturbance as u32);
    let servers = [&bench.servers.cluster, cluster];
    servers.into_iter().try_for_each(|server| create_database(server, &database, twenty::SQL))?;
    let wire = Forwarder::start(cluster.address())?;
    let calm = pool(&bench.servers.cluster.url(&database))?;
    let busy = pool(&cluster.url(&database))?;
    let counted = pool(&cluster.url_at(wire.address(), &database))?;
    used(&counted)?;
    let processes = [used(&calm)?, used(&busy)?];

    let ongoing = disturbance.begin(cluster, &database, bench.plan)?;
    // On both: a type that is younger than the transactions that are open.
    for server in servers {
        server.client(&database)?.batch_execute("CREATE TYPE newcomer AS ENUM ('on', 'off')")?;
    }
    let plan = bench.plan.in_half_the_time().in_blocks_of(BLOCK);
    let batch = bench.plan.pick(BATCHES[0], BATCHES[1]);
    let core = OneCore::shared_with(&processes.each_ref())?;
    let both = compare(plan, &mut || a_checkout(&calm, batch), &mut || a_checkout(&busy, batch))?;
    drop(core);
    let round_trips = round_trips(&wire, &counted, plan.budget / 2)?;
    ongoing.end()?;
    Ok(Disturbed {
        what: disturbance.what(bench.plan),
        without: both.stock,
        with: both.ours,
        ratio: both.ratio,
        time_verdict: goals::DISTURBED_TIME.verdict(both.ratio.median),
        round_trips,
        round_trips_verdict: goals::DISTURBED_ROUND_TRIPS.verdict(round_trips),
    })
}

fn pool(url: &str) -> Result<ProtectedPool, AnyError> {
    subjects::protected(url, 1, CacheSize::Unbounded, Verify::EveryCheckout)
}

/// The mean of a batch.
fn a_checkout(pool: &ProtectedPool, batch: u32) -> Result<Duration, AnyError> {
    let took = timed(|| -> Result<(), AnyError> {
        for _ in 0..batch {
            drop(pool.get()?);
        }
        Ok(())
    })?;
    Ok(took / batch)
}

/// Of a checkout, counted on the wire: the mean of all in that time.
fn round_trips(wire: &Forwarder, pool: &ProtectedPool, length: Duration) -> Result<f64, AnyError> {
    drop(pool.get()?);
    let before = wire.round_trips();
    let began = Instant::now();
    let mut checkouts = 0;
    while began.elapsed() < length {
        drop(pool.get()?);
        checkouts += 1;
    }
    Ok((wire.round_trips() - before) as f64 / f64::from(checkouts))
}
