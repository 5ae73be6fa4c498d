//! A backend that uses the pool it is told about, as one that writes records to a table does: it is called with no lock
//! and no permit held, so it neither hangs nor reads the catalog again.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, stats};
use fixture::{Upgrade, builder};
use testbed::PgBouncerConfig;

use crate::support::backend::{alone, used};

/// More types are warned of.
const MANY_TYPES: usize = 1_000;

/// Longer than any wait for a lock or a permit that ends.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_backend_can_use_the_pool_while_a_change_is_reported() {
    let alone = alone();
    let upgrade = Upgrade::on_own_servers(PgBouncerConfig::default()).expect("two servers and a pooler");
    let types: String = (0..MANY_TYPES).map(|number| format!("CREATE TYPE many_{number} AS ENUM ();")).collect();
    upgrade.run_on(upgrade.new, &types).expect("many types");
    let pool = builder(2)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(upgrade.url()))
        .expect("a pool");
    assert_eq!(used(&mut pool.get().expect("a connection")), Ok(()));

    let verdicts = Arc::new(Mutex::new(Vec::new()));
    alone.at_every_record({
        let (pool, verdicts) = (pool.clone(), Arc::clone(&verdicts));
        move || {
            let mut conn = pool.get().expect("the other connection");
            let verdict = used(&mut conn);
            verdicts.lock().expect("no panic holds it").push(verdict);
        }
    });
    let before = stats();
    upgrade.switch_to(upgrade.new).expect("a switch");
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let mut conn = pool.get().expect("a connection");
        sender.send(used(&mut conn)).expect("the test waits");
    });
    assert_eq!(answer.recv_timeout(DEADLINE), Ok(Ok(())), "the backend hangs");

    let after = stats();
    assert_eq!(after.catalog_loads() - before.catalog_loads(), 1, "the backend's checkout loads nothing");
    assert_eq!(after.changes() - before.changes(), 1);
    let records = alone.records();
    for said in ["user-defined types", "the server changed"] {
        assert!(records.iter().any(|record| record.contains(said)), "{said}: {records:?}");
    }
    let verdicts = verdicts.lock().expect("no panic holds it");
    assert_eq!(verdicts.len(), records.len());
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
}
