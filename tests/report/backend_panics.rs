//! A backend that panics at every record costs no slot of a pool, and no caller notices it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error, NopConnectionCustomizer, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, on_change};
use fixture::{Upgrade, builder, on_every_connection};
use testbed::PgBouncerConfig;

use crate::support::backend::{Alone, alone, used};

const SIZE: u32 = 2;

type Customizer = Box<dyn CustomizeConnection<PgConnection, Error>>;

fn panicking() -> Alone {
    let alone = alone();
    alone.at_every_record(|| panic!("the log backend panicked"));
    alone
}

fn pool(url: &str, inner: Customizer) -> Pool<HotUpgradeManager> {
    builder(SIZE)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(inner)))
        .build(HotUpgradeManager::new(url))
        .expect("a pool of both")
}

fn upgrade(config: PgBouncerConfig) -> Upgrade {
    Upgrade::on_own_servers(config).expect("two servers and a pooler")
}

/// Both connections are checked out at the same time, and both are right.
fn assert_that_no_slot_is_lost(pool: &Pool<HotUpgradeManager>) {
    assert_eq!(on_every_connection(pool, used), [""; 0]);
    assert_eq!(pool.state().connections, SIZE);
}

#[test]
fn a_change_of_server_costs_no_slot() {
    let alone = panicking();
    let upgrade = upgrade(PgBouncerConfig::default());
    let database = upgrade.database.clone();
    on_change(move |change| assert_ne!(change.to().database(), database, "an observer panicked"));
    let pool = pool(&upgrade.url(), Box::new(NopConnectionCustomizer));
    assert_that_no_slot_is_lost(&pool);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        alone.records();
        upgrade.switch_to(server).expect("a switch");
        assert_that_no_slot_is_lost(&pool);
        let records = alone.records();
        for said in ["the server changed", "an observer of on_change panicked"] {
            assert!(records.iter().any(|record| record.contains(said)), "{said}: {records:?}");
        }
    }
}

#[test]
fn a_refused_catalog_costs_no_slot() {
    let alone = panicking();
    let role = "log_backend_refused";
    let upgrade = upgrade(PgBouncerConfig { users: vec![role.to_owned()], ..PgBouncerConfig::default() });
    for server in [upgrade.old, upgrade.new] {
        let sql = format!(
            "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT SELECT, INSERT ON documents TO {role};
             GRANT USAGE ON SEQUENCE documents_id_seq TO {role};
             REVOKE EXECUTE ON FUNCTION pg_catalog.concat_ws(text, VARIADIC \"any\") FROM PUBLIC"
        );
        upgrade.run_on(server, &sql).expect("a role that may not ask what a check asks");
    }
    let url = upgrade.url().replace("postgres@", &format!("{role}@"));
    let pool = pool(&url, Box::new(NopConnectionCustomizer));
    assert_that_no_slot_is_lost(&pool);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_that_no_slot_is_lost(&pool);
    let records = alone.records();
    assert!(records.iter().any(|record| record.contains("did not tell which types")), "{records:?}");
}

/// Panics for the first connection.
#[derive(Debug, Default)]
struct PanicsOnce(AtomicBool);

impl CustomizeConnection<PgConnection, Error> for PanicsOnce {
    fn on_acquire(&self, _conn: &mut PgConnection) -> Result<(), Error> {
        assert!(self.0.swap(true, Ordering::SeqCst), "a customizer panicked");
        Ok(())
    }

    fn on_release(&self, _conn: PgConnection) {
        panic!("a customizer panicked");
    }
}

/// The panic guard logs what it caught.
#[test]
fn a_panicking_customizer_costs_no_slot() {
    let alone = panicking();
    let upgrade = upgrade(PgBouncerConfig::default());
    let pool = pool(&upgrade.url(), Box::<PanicsOnce>::default());
    assert_that_no_slot_is_lost(&pool);
    let records = alone.records();
    let said = "a panic while customizing a new connection: a customizer panicked";
    assert!(records.iter().any(|record| record.contains(said)), "{records:?}");
    // Every client is disconnected, so each connection is released, and another takes its place.
    let database = &upgrade.database;
    upgrade.pgbouncer.console(&format!("KILL {database}")).expect("no client is left");
    upgrade.pgbouncer.console(&format!("RESUME {database}")).expect("the database is back");
    assert_that_no_slot_is_lost(&pool);
}

/// The control.
#[test]
fn a_panic_in_a_stock_pool_costs_a_slot() {
    let _alone = panicking();
    let upgrade = upgrade(PgBouncerConfig::default());
    let pool = Pool::builder()
        .max_size(SIZE)
        .connection_timeout(Duration::from_secs(2))
        .connection_customizer(Box::<PanicsOnce>::default())
        .build_unchecked(ConnectionManager::<PgConnection>::new(upgrade.url()));
    let first = pool.get().expect("the slot that is left");
    assert!(pool.get().is_err(), "the other slot is lost");
    drop(first);
    assert_eq!(pool.state().connections, SIZE - 1);
}
