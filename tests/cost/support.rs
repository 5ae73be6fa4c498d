//! What the modules share, and the turn that each test takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::r2d2::Pool;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::{Upgrade, write_and_read_back};
use testbed::PgBouncerConfig;

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn upgrade(config: PgBouncerConfig) -> Upgrade {
    Upgrade::on_own_servers(config).expect("two servers and a pooler")
}

pub(crate) fn pool(url: &str, size: u32) -> Pool<HotUpgradeManager> {
    Pool::builder()
        .max_size(size)
        .connection_timeout(Duration::from_secs(20))
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(url))
        .expect("a pool")
}

/// Checks out every connection at the same moment, each on a thread of its own, and uses it.
pub(crate) fn storm(pool: &Pool<HotUpgradeManager>) {
    let barrier = Barrier::new(pool.max_size() as usize);
    thread::scope(|scope| {
        for number in 0..u64::from(pool.max_size()) {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let mut conn = pool.get().expect("a connection");
                // Nobody gives back before all have one.
                barrier.wait();
                assert_eq!(write_and_read_back(&mut conn, next_number() + number), Ok(()));
            });
        }
    });
}

pub(crate) fn next_number() -> u64 {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    1_000 * NUMBER.fetch_add(1, Ordering::SeqCst) as u64
}
