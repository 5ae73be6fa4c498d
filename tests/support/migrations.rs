//! The project's own migrations.

use diesel::prelude::*;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use fixture::{drop_database, migrate_in_order};
use testbed::Cluster;

use crate::support::pools::upgrade;

fn oid(server: &Cluster, database: &str, name: &str) -> u32 {
    let mut client = server.client(database).expect("a server");
    client.query_one("SELECT $1::text::regtype::oid", &[&name]).expect("an OID").get(0)
}

fn starts_with_hstore(server: &Cluster, database: &str) -> bool {
    oid(server, database, "hstore") < oid(server, database, "citext")
}

#[test]
fn hstore_and_citext_have_other_oids_on_the_other_server() {
    let upgrade = upgrade();
    for name in ["hstore", "citext"] {
        assert_ne!(oid(upgrade.old, &upgrade.database, name), oid(upgrade.new, &upgrade.database, name), "{name}");
    }
    assert!(starts_with_hstore(upgrade.old, &upgrade.database));
    assert!(!starts_with_hstore(upgrade.new, &upgrade.database));
}

#[test]
fn a_setting_overrides_the_order() {
    let server = Cluster::shared(12);
    let database = format!("order_{}", std::process::id());
    server.create_database(&database).expect("a database");
    migrate_in_order(&server.url(&database), "hstore,citext").expect("migrations");
    assert!(starts_with_hstore(server, &database));
    drop_database(server, &database);
}

#[test]
fn an_order_that_is_none_is_refused() {
    let server = Cluster::shared(12);
    let database = format!("disorder_{}", std::process::id());
    server.create_database(&database).expect("a database");
    let refused = migrate_in_order(&server.url(&database), "hstore").expect_err("half an order").to_string();
    assert!(refused.contains("hot_upgrade.extension_order"), "{refused}");
    drop_database(server, &database);
}

#[test]
fn migrations_go_up_and_down_and_up_again_on_both_servers() {
    let upgrade = upgrade();
    for server in [upgrade.old, upgrade.new] {
        let mut conn = PgConnection::establish(&server.url(&upgrade.database)).expect("a connection");
        let migrations = || FileBasedMigrations::find_migrations_directory().expect("the project's migrations");
        assert_eq!(conn.revert_all_migrations(migrations()).expect("down").len(), 2);
        assert_eq!(conn.run_pending_migrations(migrations()).expect("up").len(), 2);
        assert_eq!(conn.run_pending_migrations(migrations()).expect("nothing to do").len(), 0);
        assert_eq!(fixture::write_and_read_back(&mut conn, 1), Ok(()));
    }
}
