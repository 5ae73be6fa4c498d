//! Roles that may not execute functions that the crate asks with.

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize};
use fixture::{Upgrade, write_and_read_back};
use log::Level;
use testbed::PgBouncerConfig;

use crate::support::documents::work;
use crate::support::events::{logged, record_log};
use crate::support::pools::{NOTHING_WRONG, hot_pool, use_every_connection};

/// A role that may use the fixture's table on both servers, and is no superuser.
fn upgrade_for(role: &str) -> Upgrade {
    // What is warned of once in a process is counted.
    record_log();
    let config = PgBouncerConfig { users: vec![role.to_owned()], ..PgBouncerConfig::default() };
    let upgrade = Upgrade::on_own_servers(config).expect("two servers and a pooler");
    for server in [upgrade.old, upgrade.new] {
        upgrade
            .run_on(
                server,
                &format!(
                    "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                     GRANT SELECT, INSERT ON documents TO {role};
                     GRANT USAGE ON SEQUENCE documents_id_seq TO {role}"
                ),
            )
            .expect("a role");
    }
    upgrade
}

#[test]
fn revoked_identity_functions_cost_one_warning_and_no_protection() {
    let role = "hot_upgrade_limited";
    let upgrade = upgrade_for(role);
    for server in [upgrade.old, upgrade.new] {
        upgrade
            .run_on(
                server,
                "REVOKE EXECUTE ON FUNCTION pg_postmaster_start_time(), pg_control_system(), current_schemas(bool),
                 pg_relation_filepath(regclass) FROM PUBLIC",
            )
            .expect("a role that may not ask who the server is");
    }
    let url = upgrade.url().replace("postgres@", &format!("{role}@"));
    let pool = hot_pool(&url, 3, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    }
    assert_eq!(logged(Level::Warn, "may not ask the server who it is").len(), 1);
}

#[test]
fn one_revoked_function_is_enough_to_fall_back() {
    let role = "hot_upgrade_limited";
    let upgrade = upgrade_for(role);
    for server in [upgrade.old, upgrade.new] {
        let revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
        upgrade.run_on(server, revoke).expect("one function less");
    }
    let url = upgrade.url().replace("postgres@", &format!("{role}@"));
    let mut conn = PgConnection::establish(&url).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "it is known what it was primed from");
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
}

#[test]
fn a_server_that_tells_nothing_is_slow_but_right() {
    let role = "hot_upgrade_deaf";
    let upgrade = upgrade_for(role);
    for server in [upgrade.old, upgrade.new] {
        upgrade
            .run_on(server, "REVOKE EXECUTE ON FUNCTION concat_ws(text, VARIADIC \"any\") FROM PUBLIC")
            .expect("a role that may not ask for the types");
    }
    let url = upgrade.url().replace("postgres@", &format!("{role}@"));
    let pool = hot_pool(&url, 2, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(use_every_connection(&pool), NOTHING_WRONG);
    assert_eq!(logged(Level::Warn, "did not tell which types").len(), 1);
}

#[test]
fn verified_transactions_work_whatever_a_role_may_ask() {
    let forbidden = [
        ("hot_upgrade_no_hash", "md5(bytea)", "sha256(bytea)"),
        ("hot_upgrade_no_identity", "pg_postmaster_start_time()", "pg_postmaster_start_time()"),
        ("hot_upgrade_no_path", "current_schemas(bool)", "current_schemas(bool)"),
        ("hot_upgrade_nothing", "concat_ws(text, VARIADIC \"any\")", "concat_ws(text, VARIADIC \"any\")"),
    ];
    for (role, on_old, on_new) in forbidden {
        let upgrade = upgrade_for(role);
        for (server, function) in [(upgrade.old, on_old), (upgrade.new, on_new)] {
            upgrade
                .run_on(server, &format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
                .expect("one function less");
        }
        let url = upgrade.url().replace("postgres@", &format!("{role}@"));
        let mut conn = PgConnection::establish(&url).expect("a connection");
        let mut number = 0;
        for server in [upgrade.old, upgrade.new, upgrade.old, upgrade.new] {
            upgrade.switch_to(server).expect("a switch");
            for _ in 0..2 {
                number += 1;
                assert_eq!(conn.hot_transaction(|conn| work(conn, number)), Ok(()), "{role}");
            }
        }
    }
}
