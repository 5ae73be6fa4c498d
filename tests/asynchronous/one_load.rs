//! Each catalog is read once for the process: by 64 tasks at once, and by a blocking and an async pool together. The
//! counters belong to the process, so this runs in one of its own.

use diesel::connection::CacheSize;
use diesel_postgres_hot_upgrade::stats;

use crate::support::own_process::in_a_process_of_its_own;
use crate::support::pools::{NOTHING_WRONG, hot_pool, upgrade, use_every_connection as use_blocking};
use crate::tools::{Bb8, Hot, bb8, blocking, run, use_every_connection};

const TASKS: u32 = 64;

#[test]
fn tasks_at_once_and_a_blocking_pool_read_each_catalog_once() {
    in_a_process_of_its_own(module_path!(), "tasks_at_once_and_a_blocking_pool_read_each_catalog_once", || {
        run(one_load())
    });
}

async fn one_load() {
    let upgrade = blocking(upgrade);
    let hot: Bb8<Hot> = bb8(&upgrade.url(), TASKS, CacheSize::Unbounded).await;
    let also_hot = blocking(|| hot_pool(&upgrade.url(), 4, CacheSize::Unbounded));
    let before = stats();
    assert_eq!(before.catalog_loads(), 1, "the old server's");
    for (number, server) in [upgrade.new, upgrade.old].into_iter().enumerate() {
        blocking(|| upgrade.switch_to(server)).expect("a switch");
        let tasks = (0..TASKS).map(|_| {
            let pool = hot.clone();
            tokio::spawn(async move {
                let mut conn = pool.get_owned().await.map_err(|error| error.to_string())?;
                let used: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut *conn);
                used.map_err(|error| error.to_string())
            })
        });
        let used = futures_util::future::join_all(tasks.collect::<Vec<_>>()).await;
        let wrong: Vec<_> = used.into_iter().filter_map(|used| used.expect("no panic").err()).collect();
        assert_eq!(wrong, NOTHING_WRONG);
        assert_eq!(use_every_connection!(hot, TASKS), NOTHING_WRONG);
        assert_eq!(blocking(|| use_blocking(&also_hot)), NOTHING_WRONG);
        assert_eq!(stats().catalog_loads(), 2, "after switch {number}");
        assert_eq!(stats().changes() - before.changes(), number as u64 + 1, "each is reported once");
    }
}
