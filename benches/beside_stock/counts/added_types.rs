//! Types that come and go beside those that the pool uses: nobody's change.

use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel_postgres_hot_upgrade::{Verify, stats};

use super::Count;
use crate::args::Subject;
use crate::goals::{ADDED_TYPES_EVENTS, ADDED_TYPES_RESETS, ADDED_TYPES_WARNINGS};
use crate::run::Bench;
use crate::shared::subjects::{self, ProtectedPool};
use crate::shared::{AnyError, twenty};
use crate::warnings::warnings;

const DATABASE: &str = "added_types";
const CONNECTIONS: u32 = 8;

/// How long the pool is in use after each statement: all of them together take seconds, so that nobody gets by with one
/// look for new types.
const IN_USE: Duration = Duration::from_millis(100);

/// Statements with a number in place of each `$`.
struct Coming {
    what: &'static str,
    create: &'static str,
    drop: &'static str,
}

const TENANTS: Coming = Coming {
    what: "tenants' schemas created and dropped",
    create: "CREATE SCHEMA tenant_$;
             CREATE TYPE tenant_$.mood AS ENUM ('on', 'off');
             CREATE TABLE tenant_$.items (id int8 PRIMARY KEY, mood tenant_$.mood)",
    drop: "DROP SCHEMA tenant_$ CASCADE",
};

/// As `pg_repack` does for each table's key.
const REPACK: Coming = Coming {
    what: "types created and dropped as `pg_repack` does",
    create: "CREATE SCHEMA IF NOT EXISTS repack; CREATE TYPE repack.pk_$ AS (id int8)",
    drop: "DROP TYPE repack.pk_$",
};

pub(crate) fn count(bench: &Bench<'_>) -> Result<Vec<Count>, AnyError> {
    bench.servers.create_database(DATABASE, twenty::SQL)?;
    let number = bench.plan.pick(40, 5);
    let mut counts = Vec::new();
    for coming in [TENANTS, REPACK] {
        counts.extend(come_and_go(bench, &coming, number)?);
    }
    Ok(counts)
}

fn come_and_go(bench: &Bench<'_>, coming: &Coming, number: usize) -> Result<[Count; 3], AnyError> {
    let cluster = &bench.servers.cluster;
    let url = cluster.url(DATABASE);
    let pool = subjects::protected(&url, CONNECTIONS, CacheSize::Unbounded, Verify::EveryCheckout)?;
    use_for(&pool, IN_USE)?;
    let before = (stats(), warnings());
    let mut client = cluster.client(DATABASE)?;
    for statement in [coming.create, coming.drop] {
        for number in 0..number {
            client.batch_execute(&statement.replace('$', &number.to_string()))?;
            use_for(&pool, IN_USE)?;
        }
    }
    let after = (stats(), warnings());
    let count = |figure: &str, value: u64| {
        let what = format!("{number} {}, a pool of {CONNECTIONS} in use: {figure}", coming.what);
        Count::new(Subject::AddedTypes, what, value as f64)
    };
    Ok([
        count("resets", after.0.resets() - before.0.resets()).with_goal(ADDED_TYPES_RESETS),
        count("events", after.0.changes() - before.0.changes()).with_goal(ADDED_TYPES_EVENTS),
        count("warnings", (after.1 - before.1) as u64).with_goal(ADDED_TYPES_WARNINGS),
    ])
}

/// Each connection at least once.
fn use_for(pool: &ProtectedPool, length: Duration) -> Result<(), AnyError> {
    let began = Instant::now();
    loop {
        let mut all = (0..pool.max_size()).map(|_| pool.get()).collect::<Result<Vec<_>, _>>()?;
        all.iter_mut().try_for_each(|conn| twenty::bind_each(conn))?;
        if began.elapsed() >= length {
            return Ok(());
        }
    }
}
