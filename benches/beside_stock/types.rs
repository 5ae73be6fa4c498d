//! Databases with many types: what each of them adds to a checkout.

use diesel::connection::CacheSize;
use diesel_postgres_hot_upgrade::Verify;
use serde::Serialize;

use crate::paired::{Spread, compare, timed};
use crate::run::Bench;
use crate::shared::AnyError;
use crate::shared::network::Network;
use crate::shared::subjects::{self, ProtectedPool};

const COUNTS: [usize; 5] = [0, 10, 100, 1_000, 10_000];

/// Seconds that a type may add.
const GOAL: f64 = 1e-6;

/// A straight line that the machine's noise bends is one.
const STRAIGHT: f64 = 1.2;

/// A checkout that asks about so many types, beside one that asks about none. In seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Probe {
    pub(crate) types: usize,
    pub(crate) checkout: f64,
    pub(crate) with_none: f64,
    pub(crate) difference: Spread,
    /// What each type adds.
    pub(crate) a_type: f64,
    pub(crate) pairs: usize,
}

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Probe>, AnyError> {
    let counts = &COUNTS[..bench.plan.pick(COUNTS.len(), COUNTS.len() - 1)];
    for count in counts {
        bench.servers.create_database(&database(*count), &sql(*count))?;
    }
    let none = pool(bench, 0)?;
    counts[1..].iter().map(|count| beside_none(bench, &none, *count)).collect()
}

fn beside_none(bench: &Bench<'_>, none: &ProtectedPool, types: usize) -> Result<Probe, AnyError> {
    let some = pool(bench, types)?;
    let both = compare(bench.plan, &mut || timed(|| none.get()), &mut || timed(|| some.get()))?;
    Ok(Probe {
        types,
        checkout: both.ours,
        with_none: both.stock,
        difference: both.difference,
        a_type: both.difference.median / types as f64,
        pairs: both.pairs,
    })
}

fn pool(bench: &Bench<'_>, types: usize) -> Result<ProtectedPool, AnyError> {
    let url = bench.servers.url(Network::LOOPBACK, &database(types));
    subjects::protected(&url, 1, CacheSize::Unbounded, Verify::EveryCheckout)
}

fn database(count: usize) -> String {
    format!("types_{count}")
}

/// SQL that creates so many types, with names of a usual length.
pub(crate) fn sql(count: usize) -> String {
    format!(
        "DO $$ BEGIN FOR number IN 1..{count} LOOP
            EXECUTE format('CREATE DOMAIN order_status_%s AS text', number);
        END LOOP; END $$"
    )
}

/// A straight line or better, and not a steep one: few types say little, since they add less than the machine's noise.
pub(crate) fn verdict(probes: &[Probe]) -> Option<&'static str> {
    let [.., before, last] = probes else { return None };
    let beyond = (last.difference.median - before.difference.median) / (last.types - before.types) as f64;
    let is_met = last.a_type <= GOAL && beyond <= before.a_type * STRAIGHT;
    Some(if is_met { "met" } else { "not met" })
}
