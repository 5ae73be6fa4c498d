//! New connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::write_and_read_back;

use crate::support::events::Counter;
use crate::support::pools::{NOTHING_WRONG, builder, stock_pool, upgrade, use_every_connection};

#[test]
fn a_new_connection_makes_no_lookup_of_its_own() {
    let upgrade = upgrade();
    let hot = crate::support::pools::hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);

    let (protected, control) = (Counter::default(), Counter::default());
    let mut hot = hot.get().expect("a connection");
    hot.set_instrumentation(protected.clone());
    let mut stock = stock.get().expect("a connection");
    stock.set_instrumentation(control.clone());

    assert_eq!(write_and_read_back(&mut hot, 1), Ok(()));
    assert_eq!(write_and_read_back(&mut stock, 2), Ok(()));
    assert_eq!(protected.counts().lookups, 0);
    assert_eq!(control.counts().lookups, 4, "the control counts one for each type");
}

#[test]
fn the_customizer_alone_protects_new_connections_and_not_those_that_stay_open() {
    let upgrade = upgrade();
    let pool = builder(4)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a pool");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);

    upgrade.switch_to(upgrade.new).expect("a switch");
    let wrong = use_every_connection(&pool);
    assert_eq!(wrong.len(), 4, "connections that stay open are not looked at: {wrong:?}");

    let fresh = builder(2)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a pool");
    let counter = Counter::default();
    let mut conn = fresh.get().expect("a connection");
    conn.set_instrumentation(counter.clone());
    assert_eq!(write_and_read_back(&mut conn, 3), Ok(()));
    assert_eq!(counter.counts().lookups, 0, "the OIDs of the new server are known");
}

#[derive(Debug, Clone, Default)]
struct Users {
    acquired: Arc<AtomicUsize>,
    released: Arc<AtomicUsize>,
}

impl CustomizeConnection<PgConnection, Error> for Users {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let before = self.acquired.fetch_add(1, Ordering::SeqCst);
        // Types of the fixture, before this crate has seen the connection.
        write_and_read_back(conn, 1_000_000 + before as u64)
            .map_err(|error| Error::ConnectionError(ConnectionError::BadConnection(error)))
    }

    fn on_release(&self, _conn: PgConnection) {
        self.released.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_users_own_customizer_runs_too() {
    let upgrade = upgrade();
    let users = Users::default();
    let pool = builder(3)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(users.clone()))))
        .build(HotUpgradeManager::new(upgrade.url()))
        .expect("a pool");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    assert_eq!(users.acquired.load(Ordering::SeqCst), 3, "no connection was replaced");
    drop(pool);
}

#[test]
fn a_connection_that_is_given_up_reaches_the_users_customizer() {
    let upgrade = upgrade();
    let users = Users::default();
    let customizer = HotUpgradeCustomizer::wrap(Box::new(users.clone()));
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    customizer.on_acquire(&mut conn).expect("a customized connection");
    customizer.on_release(conn);
    assert_eq!(users.acquired.load(Ordering::SeqCst), 1);
    assert_eq!(users.released.load(Ordering::SeqCst), 1);
}
