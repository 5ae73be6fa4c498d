//! Types change on one server, under open connections.

use fixture::RECREATE_ENUM;

use crate::support::drivers::{Driver, Options, Session};
use crate::support::meaning::{Label, Question, is_wrong, judge};
use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::uses::{plain, plain_label, verified, verified_label};

const SIZE: u32 = 3;

/// The next checkout of each protected connection is right after `sql`, and so is the next verified transaction of one
/// that is held.
fn survives(driver: Driver, sql: &str) {
    let upgrade = upgrade();
    let hot = driver.pool(&upgrade.url(), SIZE, Options::HOT);
    let mut held = driver.connect(&upgrade.url(), Options::HOT);
    let stock = driver.pool(&upgrade.url(), SIZE, Options::STOCK);
    assert_eq!(hot.on_every_connection(plain), NOTHING_WRONG);
    assert_eq!(stock.on_every_connection(plain), NOTHING_WRONG);
    assert_eq!(verified(&mut held.session()), Ok(()));
    upgrade.run_on(upgrade.old, sql).expect(sql);
    assert_eq!(verified(&mut held.session()), Ok(()));
    assert_eq!(hot.on_every_connection(plain), NOTHING_WRONG);
    assert_eq!(stock.on_every_connection(plain).len(), SIZE as usize, "the control");
}

pub(crate) fn an_enum_that_is_recreated_is_found(driver: Driver) {
    survives(
        driver,
        "ALTER TABLE documents ALTER status TYPE text; DROP TYPE document_status;
         CREATE TYPE document_status AS ENUM ('draft', 'published');
         ALTER TABLE documents ALTER status TYPE document_status USING status::document_status",
    );
}

pub(crate) fn a_column_that_gets_another_type_of_the_same_name_is_right(driver: Driver) {
    survives(driver, RECREATE_ENUM);
}

pub(crate) fn extensions_that_are_recreated_are_found(driver: Driver) {
    survives(
        driver,
        "ALTER TABLE documents ALTER title TYPE text, ALTER attributes TYPE text;
         DROP EXTENSION citext; DROP EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION hstore;
         ALTER TABLE documents ALTER title TYPE citext, ALTER attributes TYPE hstore USING attributes::hstore",
    );
}

/// No snapshot has it, so a checkout does not notice. A verified transaction fails, is rolled back and runs again.
pub(crate) fn a_row_type_that_is_recreated_is_found_by_a_verified_transaction(driver: Driver) {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    upgrade.run_on(upgrade.old, "CREATE TABLE label ()").expect("a row type");
    let mut hot = driver.connect(&url, Options::HOT);
    let mut stock = driver.connect(&url, Options::STOCK);
    for _ in 0..3 {
        assert_eq!(verified_label(&mut hot.session()), Ok(()));
        assert_eq!(verified_label(&mut stock.session()), Ok(()));
        upgrade.run_on(upgrade.old, "DROP TABLE label; CREATE TABLE label ()").expect("another one");
        assert_eq!(verified_label(&mut hot.session()), Ok(()));
        assert!(verified_label(&mut stock.session()).is_err(), "the control");
        stock = driver.connect(&url, Options::STOCK);
    }
}

pub(crate) fn a_temporary_type_is_right_and_so_is_what_it_hid(driver: Driver) {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    upgrade.run_on(upgrade.old, "CREATE TYPE label AS ENUM ('x')").expect("a type");
    let mut hot = driver.connect(&url, Options::HOT);
    let mut stock = driver.connect(&url, Options::STOCK);
    for conn in [&mut hot, &mut stock] {
        let mut conn = conn.session();
        assert_eq!(verified_label(&mut conn), Ok(()));
        conn.batch_execute("CREATE TYPE pg_temp.label AS ENUM ('x')").expect("it hides the other one");
    }
    assert_eq!(verified_label(&mut hot.session()), Ok(()));
    let control = verified_label(&mut stock.session());
    assert!(is_wrong(&control), "the control: {control:?}");
    hot.session().batch_execute("DROP TYPE pg_temp.label").expect("it is gone");
    assert_eq!(verified_label(&mut hot.session()), Ok(()));
    hot.session().synchronize().expect("a check");
    assert_eq!(plain_label(&mut hot.session()), Ok(()));
}

/// Nothing is asked before it runs. One connection has used the type before, and one only knows it.
pub(crate) fn a_query_whose_type_is_not_on_the_new_server_is_healed(driver: Driver) {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.new, "CREATE TYPE first AS ENUM (); CREATE TYPE label AS ENUM ('x')").expect("types");
    // The counter of OIDs is ahead of the other server's.
    let create = "SELECT count(lo_create(0)) FROM generate_series(1, 5000); CREATE TYPE label AS ENUM ('x')";
    upgrade.run_on(upgrade.old, create).expect("a type");
    let ask = |conn: &mut Session<'_>| judge(conn.hot_get(Question::<Label>::new(true)));
    for server in [upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        let mut hot = driver.connect(&upgrade.url(), Options::HOT);
        let mut stock = driver.connect(&upgrade.url(), Options::STOCK);
        for conn in [&mut hot, &mut stock] {
            assert_eq!(ask(&mut conn.session()), Ok(()));
        }
        let mut unused = driver.connect(&upgrade.url(), Options::HOT);
        unused.session().synchronize().expect("it knows the types");
        let other = if server.major() == 10 { upgrade.new } else { upgrade.old };
        upgrade.switch_to(other).expect("a switch");
        for conn in [&mut hot, &mut unused] {
            assert_eq!(ask(&mut conn.session()), Ok(()), "on {}", other.major());
            assert_eq!(verified_label(&mut conn.session()), Ok(()), "on {}", other.major());
        }
        assert!(ask(&mut stock.session()).is_err(), "the control");
    }
}
