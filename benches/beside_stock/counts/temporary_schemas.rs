//! Sessions with temporary tables are sessions of one server: what one of them found out holds for all.

use diesel::connection::{CacheSize, SimpleConnection};
use diesel_postgres_hot_upgrade::{Verify, stats};

use super::Count;
use crate::args::Subject;
use crate::goals;
use crate::run::Bench;
use crate::shared::subjects::{self, ProtectedPool};
use crate::shared::{AnyError, twenty};

const DATABASE: &str = "temporary_schemas";
const SESSIONS: u32 = 16;

pub(crate) fn count(bench: &Bench<'_>) -> Result<Vec<Count>, AnyError> {
    let cluster = &bench.servers.cluster;
    bench.servers.create_database(DATABASE, twenty::SQL)?;
    let pool = subjects::protected(&cluster.url(DATABASE), SESSIONS, CacheSize::Unbounded, Verify::EveryCheckout)?;
    use_each(&pool, "CREATE TEMPORARY TABLE own (state enum_1)")?;
    settle(&pool)?;

    let recreate = "DROP TYPE enum_7; CREATE TYPE enum_7 AS ENUM ('on', 'off')";
    cluster.client(DATABASE)?.batch_execute(recreate)?;
    let before = stats();
    for _ in 0..3 {
        use_each(&pool, "SELECT 1")?;
    }
    let after = stats();
    if after.resets() - before.resets() < SESSIONS.into() {
        return Err("not every connection noticed that a type was re-created".into());
    }
    let count = |what, figure: u64| {
        let what = format!("{SESSIONS} connections with temporary tables, a type re-created: {what}");
        Count::new(Subject::TemporarySchemas, what, figure as f64)
    };
    Ok(vec![
        count("catalog loads", after.catalog_loads() - before.catalog_loads())
            .with_goal(goals::RECREATED_TYPE_LOADS),
        count("events", after.changes() - before.changes()).with_goal(goals::RECREATED_TYPE_EVENTS),
    ])
}

/// Checks all connections out at once, and lets each use its types.
fn use_each(pool: &ProtectedPool, statement: &str) -> Result<(), AnyError> {
    let mut all = (0..pool.max_size()).map(|_| pool.get()).collect::<Result<Vec<_>, _>>()?;
    for conn in &mut all {
        conn.batch_execute(statement)?;
        twenty::bind_each(conn)?;
    }
    Ok(())
}

/// Until nothing is left to be found out.
fn settle(pool: &ProtectedPool) -> Result<(), AnyError> {
    for _ in 0..20 {
        let before = stats();
        use_each(pool, "SELECT 1")?;
        let after = stats();
        if (before.catalog_loads(), before.resets()) == (after.catalog_loads(), after.resets()) {
            return Ok(());
        }
    }
    Err("connections with temporary tables are reset at each checkout".into())
}
