//! Who is notified of a change, and how often.

use std::sync::{Arc, Mutex};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, on_change, stats, synchronize};
use fixture::{RECREATE_ENUM, write_and_read_back};
use testbed::PgBouncerConfig;

use crate::pools::{pool, storm, upgrade};
use crate::support::counted::alone;

#[test]
fn observers_hear_of_a_change_once_and_their_panic_costs_no_slot() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let database = upgrade.database.clone();
    on_change({
        let (heard, database) = (Arc::clone(&heard), database.clone());
        move |change| {
            if change.to().database() == database {
                heard.lock().expect("no panic holds it").push(change.clone());
            }
        }
    });
    on_change(move |change| assert_ne!(change.to().database(), database, "an observer panicked"));

    let pool = pool(&upgrade.url(), 4);
    storm(&pool);
    upgrade.switch_to(upgrade.new).expect("a switch");
    storm(&pool);
    storm(&pool);
    assert_eq!(pool.state().connections, 4);

    let heard = heard.lock().expect("no panic holds it");
    let [change] = &heard[..] else { panic!("heard of {} changes", heard.len()) };
    assert_eq!((change.from().version() / 10_000, change.to().version() / 10_000), (10, 12));
    assert_ne!(change.from().system_identifier(), change.to().system_identifier());
    let moved: Vec<_> = change.moved().iter().map(|moved| moved.name().name()).collect();
    for name in ["citext", "document_code", "document_status", "hstore"] {
        assert!(moved.contains(&name), "{name} moved too: {moved:?}");
    }
    assert!(change.missing().is_empty(), "{:?}", change.missing());
}

#[test]
fn a_change_is_heard_of_where_all_connections_died_with_the_old_server() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let pool = Pool::builder()
        .max_size(2)
        .max_lifetime(None)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a pool of the stock manager");
    let before = stats();
    upgrade.switch_to(upgrade.new).expect("a switch");
    upgrade.pgbouncer.console(&format!("KILL {}", upgrade.database)).expect("every client is disconnected");
    upgrade.pgbouncer.console(&format!("RESUME {}", upgrade.database)).expect("the database is back");
    assert_eq!(write_and_read_back(&mut pool.get().expect("a new connection"), 1), Ok(()));
    assert_eq!(stats().changes() - before.changes(), 1);
}

#[test]
fn a_change_is_heard_of_also_where_a_session_with_another_path_sees_the_types_alike() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    upgrade.run_on(upgrade.old, "CREATE SCHEMA elsewhere").expect("a schema");
    let url = upgrade.old.url(&upgrade.database);
    let mut of_another_path = PgConnection::establish(&url).expect("a connection");
    of_another_path.batch_execute("SET search_path = elsewhere, public").expect("a path");
    synchronize(&mut of_another_path).expect("a first look");
    let pool = pool(&url, 1);
    let before = stats();
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));
    assert_eq!(stats().changes() - before.changes(), 1);
}
