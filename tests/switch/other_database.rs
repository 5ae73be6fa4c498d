//! Another database of the same server: the same start time, and other OIDs.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Upgrade, migrate_in_order};

use crate::support::documents::{connections, work};
use crate::support::pools::{NOTHING_WRONG, hot_pool, stock_pool, upgrade, use_every_connection};

/// A second database on the old server, of another name, in which the same types have other OIDs.
fn second_database(upgrade: &Upgrade) -> String {
    let name = format!("{}_v2", upgrade.database);
    upgrade.old.create_database(&name).expect("a database");
    migrate_in_order(&upgrade.old.url(&name), "citext,hstore").expect("migrations");
    name
}

#[test]
fn a_pool_survives_where_pgbouncer_is_pointed_at_another_database_of_the_server() {
    let upgrade = upgrade();
    let second = second_database(&upgrade);
    let hot = hot_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);
    for database in [&second, &upgrade.database, &second] {
        let stock = stock_pool(&upgrade.url(), 4, CacheSize::Unbounded);
        assert_eq!(use_every_connection(&stock), NOTHING_WRONG);

        upgrade.pgbouncer.switch(&upgrade.database, &upgrade.old.target(database)).expect("a switch");

        assert_eq!(use_every_connection(&hot), NOTHING_WRONG, "{database}");
        assert_eq!(use_every_connection(&stock).len(), 4, "the control, {database}");
    }
}

#[test]
fn a_held_connection_survives_it_in_verified_transactions() {
    let upgrade = upgrade();
    let second = second_database(&upgrade);
    let (mut hot, mut stock) = connections(&upgrade.url());
    for (number, database) in (3..).zip([&second, &upgrade.database, &second]) {
        upgrade.pgbouncer.switch(&upgrade.database, &upgrade.old.target(database)).expect("a switch");
        for number in [number, number + 10] {
            assert_eq!(hot.hot_transaction(|conn| work(conn, number)), Ok(()), "{database}");
        }
    }
    stock.transaction(|conn| work(conn, 9)).expect_err("the control knows of the switch");
}

#[test]
fn two_databases_of_a_server_swap_their_names() {
    let upgrade = upgrade();
    let second = second_database(&upgrade);
    let hot = hot_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);
    assert_eq!(use_every_connection(&stock), NOTHING_WRONG);
    let (mut held, _) = connections(&upgrade.url());

    let name = &upgrade.database;
    upgrade.pgbouncer.console(&format!("PAUSE {name}")).expect("no server connections");
    let mut client = upgrade.old.client("postgres").expect("a connection");
    for (from, to) in [(name.as_str(), "swapped_out"), (&second, name), ("swapped_out", &second)] {
        client.batch_execute(&format!("ALTER DATABASE {from} RENAME TO {to}")).expect("another name");
    }
    upgrade.pgbouncer.console(&format!("RESUME {name}")).expect("the databases are back");

    assert_eq!(held.hot_transaction(|conn| work(conn, 3)), Ok(()));
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);
    assert_eq!(use_every_connection(&stock).len(), 4, "the control");
}
