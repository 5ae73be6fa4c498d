//! Databases of one server that change their names, and servers of other majors that have the same types. The control
//! is a stock connection.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::CustomizeConnection;
use diesel::sql_types::Text;
use diesel_postgres_hot_upgrade::{Change, HotUpgradeCustomizer, Outcome, synchronize};
use testbed::{Cluster, PgBouncer};

use crate::support::diverging::{DATABASE, Kind, connect, original, pooler, session};
use crate::support::documents::work;
use crate::support::kinds::moods::{CREATE_MOODS, moods};
use crate::support::meaning::{Label, is_wrong};
use crate::support::pools::upgrade;
use crate::support::ways::Ways;

/// A server with the database, and with another one that was copied from it, in which `label` and `other` have changed
/// their names. They are row types: all types that a snapshot knows agree.
fn with_a_copied_database() -> (Cluster, PgBouncer) {
    let server = original(12);
    let create = [Kind::RowType.create("label"), Kind::RowType.create("other")].join(";");
    session(&server).batch_execute(&create).expect("tables");
    administer(&server, &[&format!("CREATE DATABASE copied TEMPLATE {DATABASE}")]);
    let swap = "ALTER TABLE label RENAME TO third; ALTER TABLE other RENAME TO label;
        ALTER TABLE third RENAME TO other";
    connect(&server.url("copied")).batch_execute(swap).expect("other names");
    let pgbouncer = pooler(&server);
    (server, pgbouncer)
}

/// Runs statements that need the databases to be left alone.
fn administer(server: &Cluster, statements: &[&str]) {
    let mut conn = connect(&server.url("postgres"));
    for statement in statements {
        // A session that has just ended may still be counted.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = conn.batch_execute(statement) {
            let is_in_use = error.to_string().contains("being accessed by other users");
            assert!(is_in_use && Instant::now() < deadline, "{statement}: {error}");
        }
    }
}

fn is_found_after(change: &[&str], with_the_copy_known: bool) {
    let (server, pgbouncer) = with_a_copied_database();
    if with_the_copy_known {
        synchronize(&mut connect(&server.url("copied"))).expect("a first look");
    }
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    assert_eq!(ways.stock::<Label>(), Ok(()));

    pgbouncer.console(&format!("PAUSE {DATABASE}")).expect("no server connections");
    administer(&server, change);
    pgbouncer.console(&format!("RESUME {DATABASE}")).expect("the database is back");

    let control = ways.stock::<Label>();
    assert!(is_wrong(&control), "{control:?}");
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    assert_eq!(ways.wrong::<Label>(), [""; 0], "again");
}

#[test]
fn two_databases_of_one_template_swap_their_names() {
    for with_the_copy_known in [false, true] {
        is_found_after(
            &[
                "ALTER DATABASE app RENAME TO third",
                "ALTER DATABASE copied RENAME TO app",
                "ALTER DATABASE third RENAME TO copied",
            ],
            with_the_copy_known,
        );
    }
}

#[test]
fn a_database_is_dropped_and_created_from_another_one() {
    for with_the_copy_known in [false, true] {
        let create = ["DROP DATABASE app", "CREATE DATABASE app TEMPLATE copied"];
        is_found_after(&create, with_the_copy_known);
    }
}

/// Of a database that was created from a template, types have the OIDs that they have in the template.
#[test]
fn databases_of_one_template_take_the_name_in_turn() {
    let upgrade = upgrade();
    let [name, second, third] = ["", "_second", "_third"].map(|suffix| format!("{}{suffix}", upgrade.database));
    let mut client = upgrade.old.client("postgres").expect("a connection");
    let mut run = |sql: &str| client.batch_execute(sql).expect(sql);
    run(&format!("CREATE DATABASE {second} TEMPLATE {name}"));
    let on = |database: &str, sql: &str| {
        upgrade.old.client(database).expect("a connection").batch_execute(sql).expect(sql);
    };
    on(&second, CREATE_MOODS);
    run(&format!("CREATE DATABASE {third} TEMPLATE {second}"));
    on(&third, &format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}"));
    on(&name, "CREATE TABLE larger_than_any_oid_of_the_others (id int8)");

    let mut hot = PgConnection::establish(&upgrade.url()).expect("a connection");
    let mut stock = PgConnection::establish(&upgrade.url()).expect("a connection");
    for number in 1..4 {
        synchronize(&mut hot).expect("nothing changes yet");
        assert_eq!(work(&mut hot, number), Ok(()));
    }
    for (round, next) in [&second, &third].into_iter().enumerate() {
        upgrade.pgbouncer.console(&format!("PAUSE {name}")).expect("no server connections");
        run(&format!("ALTER DATABASE {name} RENAME TO {name}_{round}; ALTER DATABASE {next} RENAME TO {name}"));
        upgrade.pgbouncer.console(&format!("RESUME {name}")).expect("the database is back");
        synchronize(&mut hot).expect("an answer");
        assert_eq!(moods(&mut hot), Ok(()), "{next}");
        assert_eq!(moods(&mut stock).is_ok(), round == 0, "the control");
    }
}

#[test]
fn a_server_of_another_major_is_another_server_even_if_no_type_differs() {
    let servers = [17, 18].map(|major| {
        let server = Cluster::start(major).expect("a server of this test's own");
        server.create_database(DATABASE).expect("a database without types");
        server
    });
    let pgbouncer = pooler(&servers[0]);
    let url = pgbouncer.url(DATABASE);
    let customizer = HotUpgradeCustomizer::new();
    let majors = |change: &Change| [change.from(), change.to()].map(|server| server.version() / 10_000);
    let mut held = connect(&url);
    synchronize(&mut held).expect("a first look");
    customizer.on_acquire(&mut connect(&url)).expect("a new connection");
    for (next, expected) in [(1, [17, 18]), (0, [18, 17])] {
        let before = version(&mut held);
        pgbouncer.switch(DATABASE, &servers[next].target(DATABASE)).expect("a switch");
        // A new connection, whose handshake the pooler answers from its cache, asks the server.
        let mut new = connect(&url);
        customizer.on_acquire(&mut new).expect("a new connection");
        assert!(matches!(synchronize(&mut new), Ok(Outcome::Unchanged)));
        let Ok(Outcome::Changed(change)) = synchronize(&mut held) else { panic!("the same server") };
        assert_eq!(majors(&change), expected);
        assert!(change.moved().is_empty() && change.missing().is_empty(), "{change}");
        assert_ne!(version(&mut held), before, "the control: the server says so itself");
    }
}

fn version(conn: &mut PgConnection) -> QueryResult<String> {
    diesel::select(sql::<Text>("current_setting('server_version_num')")).get_result(conn)
}
