//! What goes wrong without any change of a server: a clear error, and a pool that recovers.

use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, Error, ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::{migrate, write_and_read_back};
use testbed::Cluster;

use crate::support::pools::{NOTHING_WRONG, upgrade, use_every_connection};

fn impatient_pool(url: &str) -> Result<Pool<HotUpgradeManager>, String> {
    Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(2))
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(url))
        .map_err(|error| error.to_string())
}

#[test]
fn a_server_that_is_down_is_an_error_and_the_pool_recovers() {
    let mut server = Cluster::start(12).expect("a server of this test's own");
    server.create_database("app").expect("a database");
    migrate(&server.url("app")).expect("migrations");
    let pool = impatient_pool(&server.url("app")).expect("a pool");
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));

    server.stop().expect("a stop");
    let error = pool.get().err().expect("no server").to_string();
    assert!(error.contains("onnection"), "{error}");

    server.restart().expect("a start");
    let mut conn = pool.get_timeout(Duration::from_secs(20)).expect("a connection to the restarted server");
    assert_eq!(write_and_read_back(&mut conn, 2), Ok(()));
}

#[test]
fn a_url_that_is_none_is_an_error() {
    let error = impatient_pool("postgres//nonsense").expect_err("not a URL");
    assert!(error.contains("nonsense"), "{error}");
}

#[test]
fn a_database_that_is_missing_is_named() {
    let url = Cluster::shared(12).url("no_such_database");
    let error = impatient_pool(&url).expect_err("no such database");
    assert!(error.contains("no_such_database"), "{error}");
}

#[test]
fn a_wrong_password_is_an_error_that_does_not_show_it() {
    let server = Cluster::start(12).expect("a server of this test's own");
    let mut client = server.client("postgres").expect("a superuser");
    let hba: String = client.query_one("SHOW hba_file", &[]).expect("a path").get(0);
    client
        .batch_execute(&format!(
            "CREATE ROLE locked LOGIN PASSWORD 'right';
             COPY (VALUES ('host all locked 127.0.0.1/32 md5'), ('host all all 127.0.0.1/32 trust')) TO '{hba}';
             SELECT pg_reload_conf()"
        ))
        .expect("a role with a password");
    let url = |password: &str| format!("postgres://locked:{password}@{}/postgres", server.address());

    // Until the server has read its file again, any password will do.
    let mut error = None;
    for _ in 0..100 {
        error = PgConnection::establish(&url("hunter2")).err();
        if error.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    error.expect("a refused password");
    let error = impatient_pool(&url("hunter2")).expect_err("the wrong password");
    assert!(error.contains("password"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    impatient_pool(&url("right")).expect("the right password");
}

/// Panics, errs and works in turn.
#[derive(Debug, Default)]
struct Moody(std::sync::atomic::AtomicUsize);

impl CustomizeConnection<PgConnection, Error> for Moody {
    fn on_acquire(&self, _conn: &mut PgConnection) -> Result<(), Error> {
        match self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..2 => panic!("a customizer of the user's own panicked"),
            2..4 => Err(Error::QueryError(diesel::result::Error::NotFound)),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_customizer_that_panics_or_errs_costs_no_slot() {
    let upgrade = upgrade();
    let pool = crate::support::pools::builder(6)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::<Moody>::default())))
        .build(HotUpgradeManager::new(upgrade.url()))
        .expect("a pool of all six, after a few tries");
    assert_eq!(pool.state().connections, 6);
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
}

/// A manager of the user's own, whose check panics once.
#[derive(Debug)]
struct Fragile {
    inner: diesel::r2d2::ConnectionManager<PgConnection>,
    checks: std::sync::atomic::AtomicUsize,
}

impl ManageConnection for Fragile {
    type Connection = PgConnection;
    type Error = Error;

    fn connect(&self) -> Result<PgConnection, Error> {
        self.inner.connect()
    }

    fn is_valid(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let checks = self.checks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert_ne!(checks, 1, "a manager of the user's own panicked");
        self.inner.is_valid(conn)
    }

    fn has_broken(&self, conn: &mut PgConnection) -> bool {
        self.inner.has_broken(conn)
    }
}

#[test]
fn a_wrapped_manager_keeps_its_own_check_and_its_panic_costs_no_slot() {
    let upgrade = upgrade();
    let inner = Fragile { inner: diesel::r2d2::ConnectionManager::new(upgrade.url()), checks: 0.into() };
    let pool = crate::support::pools::builder(3)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::wrap(inner))
        .expect("a pool");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    assert_eq!(pool.state().connections, 3);
}
