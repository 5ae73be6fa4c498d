//! Types that come after the first look, thousands of them, and ones that must not hide others.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::write_and_read_back;
use log::Level;

use crate::support::events::{logged, record_log};
use crate::support::pools::upgrade;

#[test]
fn a_type_created_after_the_first_look_is_watched_too() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    let mut conn = PgConnection::establish(&url).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    upgrade.run_on(upgrade.old, "CREATE TABLE newcomer (id int)").expect("a table");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "a table is no type that anyone binds");
    upgrade.run_on(upgrade.old, "CREATE TYPE newcomer_kind AS ENUM ('a')").expect("a type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
}

#[test]
fn a_database_with_thousands_of_types_is_warned_of() {
    record_log();
    let upgrade = upgrade();
    let many =
        "DO $$BEGIN FOR i IN 1..1001 LOOP EXECUTE format('CREATE DOMAIN many_%s AS int', i); END LOOP; END$$";
    upgrade.run_on(upgrade.old, many).expect("many types");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
    let warnings = logged(Level::Warn, "call `track`");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_domain_over_an_array_does_not_keep_others_from_being_known() {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, "CREATE DOMAIN labels AS text[]").expect("a domain over an array");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
}
