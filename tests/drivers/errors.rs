//! Roles without permissions, servers that are down, and URLs that lead nowhere.

use fixture::Upgrade;
use testbed::{Cluster, PgBouncerConfig};

use crate::support::drivers::{Driver, Options};
use crate::support::pools::NOTHING_WRONG;
use crate::uses::{plain, verified};

/// A role that may use the fixture's table, on servers of this test's own.
fn upgrade_for(role: &str, revoke: &str) -> (Upgrade, String) {
    let own = |major| &*Box::leak(Box::new(Cluster::start(major).expect("a server")));
    let config = PgBouncerConfig { users: vec![role.to_owned()], ..PgBouncerConfig::default() };
    let upgrade = Upgrade::between(own(10), own(12), config).expect("two servers and a pooler");
    for server in [upgrade.old, upgrade.new] {
        let grant = format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT ON documents TO {role};
             GRANT USAGE ON SEQUENCE documents_id_seq TO {role}; {revoke}"
        );
        upgrade.run_on(server, &grant).expect("a role");
    }
    let url = upgrade.url().replace("postgres@", &format!("{role}@"));
    (upgrade, url)
}

fn stays_right(driver: Driver, revoke: &str) {
    let (upgrade, url) = upgrade_for("limited", revoke);
    let hot = driver.pool(&url, 2, Options::HOT);
    let mut held = driver.connect(&url, Options::HOT);
    let stock = driver.pool(&url, 2, Options::STOCK);
    assert_eq!(hot.on_every_connection(plain), NOTHING_WRONG);
    assert_eq!(stock.on_every_connection(plain), NOTHING_WRONG);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(hot.on_every_connection(plain), NOTHING_WRONG);
        assert_eq!(hot.on_every_connection(verified), NOTHING_WRONG);
        assert_eq!(verified(&mut held.session()), Ok(()));
    }
    assert_eq!(stock.on_every_connection(plain).len(), 2, "the control");
}

pub(crate) fn a_role_that_may_not_ask_who_the_server_is_stays_right(driver: Driver) {
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_postmaster_start_time(), pg_control_system() FROM PUBLIC";
    stays_right(driver, revoke);
}

pub(crate) fn a_role_that_may_not_read_the_catalog_stays_right(driver: Driver) {
    stays_right(driver, "REVOKE EXECUTE ON FUNCTION pg_type_is_visible(oid) FROM PUBLIC");
}

pub(crate) fn a_url_that_leads_nowhere_is_the_stock_error(driver: Driver) {
    let error = |options| {
        let failed = driver.try_connect("postgres://postgres@127.0.0.1:1/nothing", options);
        failed.map(drop).expect_err("nothing listens there").to_string()
    };
    assert_eq!(error(Options::HOT), error(Options::STOCK));
}

pub(crate) fn a_server_that_is_down_is_an_error_and_a_pool_is_right_once_it_is_back(driver: Driver) {
    let mut server = Cluster::start(12).expect("a server");
    server.create_database("down").expect("a database");
    fixture::migrate(&server.url("down")).expect("migrations");
    let url = server.url("down");
    let pool = driver.pool(&url, 2, Options::HOT);
    let mut held = driver.connect(&url, Options::HOT);
    assert_eq!(pool.on_every_connection(plain), NOTHING_WRONG);
    assert_eq!(verified(&mut held.session()), Ok(()));
    server.stop().expect("a stop");
    assert!(verified(&mut held.session()).is_err());
    assert!(held.session().synchronize().is_err());
    assert!(driver.try_connect(&url, Options::HOT).is_err());
    server.restart().expect("a restart");
    assert_eq!(pool.on_every_connection(plain), NOTHING_WRONG);
    assert_eq!(pool.on_every_connection(verified), NOTHING_WRONG);
}
