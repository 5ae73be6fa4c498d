//! Tenants with a schema and a search path each.

use super::{Count, rounds};
use crate::args::Subject;
use crate::goals;
use crate::run::Bench;
use crate::shared::{AnyError, twenty};

/// How many locks one transaction may hold, or somewhat less.
const AT_ONCE: usize = 500;

pub(crate) fn count(bench: &Bench<'_>) -> Result<Vec<Count>, AnyError> {
    let plan = bench.plan;
    let mut counts = Vec::new();
    counts.extend(twice_around(bench, plan.pick(300, 30), 1)?);
    counts.extend(twice_around(bench, plan.pick(5_000, 60), 16)?);
    Ok(counts)
}

/// One in so many tenants has a type of its own; the others see the same types.
fn twice_around(bench: &Bench<'_>, number: usize, one_in: usize) -> Result<[Count; 2], AnyError> {
    let database = format!("paths_{number}");
    let cluster = &bench.servers.cluster;
    bench.servers.create_database(&database, twenty::SQL)?;
    let mut client = cluster.client(&database)?;
    let tenants: Vec<_> = (0..number).map(|tenant| tenant_sql(tenant, tenant % one_in == 0)).collect();
    for some in tenants.chunks(AT_ONCE) {
        client.batch_execute(&some.concat())?;
    }

    let rounds = rounds::of(&[cluster.url(&database)], number)?;
    let [_, second] = rounds.catalog_loads;
    let who = if one_in == 1 { "each".to_owned() } else { format!("one in {one_in}") };
    let count = |figure: &str, value| {
        Count::new(
            Subject::Paths,
            format!("{number} tenants' paths, {who} with a type of its own: {figure}"),
            value,
        )
    };
    Ok([
        count("catalog loads in the second round", second as f64).with_goal(goals::SECOND_ROUND_LOADS),
        count("memory, KiB", (rounds.bytes / 1024.0).round()),
    ])
}

fn tenant_sql(tenant: usize, has_type: bool) -> String {
    let schema = format!("CREATE SCHEMA tenant_{tenant};");
    let own = format!("CREATE TYPE tenant_{tenant}.mood AS ENUM ('on', 'off');");
    if has_type { schema + &own } else { schema }
}
