//! Each catalog is read once for the process. The counters belong to the process, so this runs in one of its own.

use std::sync::Barrier;
use std::thread;

use diesel_postgres_hot_upgrade::stats;

use crate::support::drivers::{Driver, Options, Pool};
use crate::support::own_process::in_a_process_of_its_own;
use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::uses::plain;

const THREADS: u32 = 64;

pub(crate) fn sixty_four_at_once_read_a_catalog_once(driver: Driver) {
    let module = match driver {
        Driver::Blocking => "drivers::blocking",
        Driver::Async => "drivers::asynchronous",
    };
    in_a_process_of_its_own(module, "sixty_four_at_once_read_a_catalog_once", || one_load(driver));
}

/// Each connection is used on a thread of its own, and none is given back before all are taken.
fn storm(pool: &Pool) -> Vec<String> {
    let barrier = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        let users: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let conn = pool.get();
                    barrier.wait();
                    conn.and_then(|mut conn| plain(&mut conn.session()))
                })
            })
            .collect();
        users.into_iter().filter_map(|user| user.join().expect("no panic").err()).collect()
    })
}

fn one_load(driver: Driver) {
    let upgrade = upgrade();
    let pool = driver.pool(&upgrade.url(), THREADS, Options::HOT);
    let before = stats();
    assert_eq!(before.catalog_loads(), 1, "the old server's");
    for (number, server) in (1..).zip([upgrade.new, upgrade.old]) {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(storm(&pool), NOTHING_WRONG);
        assert_eq!(stats().catalog_loads(), 2, "after switch {number}");
        assert_eq!(stats().changes() - before.changes(), number, "each is reported once");
    }
    let stock = driver.pool(&upgrade.url(), THREADS, Options::STOCK);
    assert_eq!(storm(&stock), NOTHING_WRONG);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(storm(&stock).len(), THREADS as usize, "the control");
}
