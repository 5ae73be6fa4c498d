//! Roles without permissions, servers that are down, and URLs that lead nowhere, as with the blocking connection.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_async::AsyncConnection;
use fixture::Upgrade;
use testbed::{Cluster, PgBouncerConfig};

use crate::support::pools::NOTHING_WRONG;
use crate::tools::{Bb8, Hot, Stock, bb8, blocking, connect, run, use_every_connection, write_and_read_back};

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

async fn stays_right(revoke: &str) {
    let (upgrade, url) = blocking(|| upgrade_for("limited", revoke));
    let hot: Bb8<Hot> = bb8(&url, 2, CacheSize::Unbounded).await;
    let mut held: Hot = connect(&url).await;
    assert_eq!(use_every_connection!(hot, 2), NOTHING_WRONG);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        blocking(|| upgrade.switch_to(server)).expect("a switch");
        assert_eq!(use_every_connection!(hot, 2), NOTHING_WRONG);
        assert_eq!(use_every_connection!(hot, 2), NOTHING_WRONG);
        let verified: QueryResult<()> = held.hot_transaction(async |conn| write_and_read_back!(conn)).await;
        assert_eq!(verified, Ok(()));
    }
}

#[test]
fn a_role_that_may_not_ask_who_the_server_is_stays_right() {
    run(stays_right("REVOKE EXECUTE ON FUNCTION pg_postmaster_start_time(), pg_control_system() FROM PUBLIC"));
}

#[test]
fn a_role_that_may_not_read_the_catalog_as_the_load_does_stays_right() {
    run(stays_right("REVOKE EXECUTE ON FUNCTION pg_type_is_visible(oid) FROM PUBLIC"));
}

#[test]
fn a_url_that_leads_nowhere_is_the_stock_error() {
    run(async {
        let nowhere = "postgres://postgres@127.0.0.1:1/nothing";
        let hot = Hot::establish(nowhere).await.map(drop).expect_err("nobody listens").to_string();
        let stock = Stock::establish(nowhere).await.map(drop).expect_err("nobody listens").to_string();
        assert_eq!(hot, stock);
    });
}

#[test]
fn a_server_that_is_down_is_an_error_and_a_pool_is_right_once_it_is_back() {
    run(async {
        let mut server = blocking(|| Cluster::start(12)).expect("a server");
        blocking(|| server.create_database("down")).expect("a database");
        blocking(|| fixture::migrate(&server.url("down"))).expect("migrations");
        let url = server.url("down");
        let pool: Bb8<Hot> = bb8(&url, 2, CacheSize::Unbounded).await;
        let mut held: Hot = connect(&url).await;
        assert_eq!(use_every_connection!(pool, 2), NOTHING_WRONG);
        blocking(|| server.stop()).expect("a stop");
        let error = held.hot_transaction(async |_| QueryResult::Ok(())).await;
        assert!(error.is_err());
        assert!(diesel_async::pooled_connection::PoolableConnection::is_broken(&mut held), "a pool replaces it");
        assert!(held.synchronize().await.is_err());
        blocking(|| server.restart()).expect("a restart");
        assert_eq!(use_every_connection!(pool, 2), NOTHING_WRONG);
    });
}
