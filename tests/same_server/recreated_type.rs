//! Types that are created anew on one server, under an open pool.

use diesel::connection::CacheSize;
use fixture::{RECREATE_ENUM, Upgrade, write_and_read_back};

use crate::support::changing::{Changing, SIZE, documents, schema};
use crate::support::freshness::wait_until_stale;
use crate::support::kinds::citizens;
use crate::support::kinds::moods::{CREATE_MOODS, moods, moods_of_one, read_moods};
use crate::support::pools::{NOTHING_WRONG, hot_pool, on_every_connection, stock_pool, upgrade};

#[test]
fn an_enum_is_dropped_and_created_while_its_column_is_text() {
    Changing::start("", documents).survives(
        "ALTER TABLE documents ALTER status TYPE text; DROP TYPE document_status;
         CREATE TYPE document_status AS ENUM ('draft', 'published');
         ALTER TABLE documents ALTER status TYPE document_status USING status::document_status",
    );
}

#[test]
fn a_column_is_changed_to_another_type_of_the_same_name() {
    Changing::start("", documents).survives(RECREATE_ENUM);
}

#[test]
fn a_domain_is_created_anew() {
    Changing::start("", documents).survives(
        "ALTER TABLE documents ALTER code TYPE text; DROP DOMAIN document_code;
         CREATE DOMAIN document_code AS text CHECK (VALUE ~ '^[A-Z]{2}-');
         ALTER TABLE documents ALTER code TYPE document_code",
    );
}

#[test]
fn extensions_are_dropped_and_created_in_another_order() {
    Changing::start("", documents).survives(
        "ALTER TABLE documents ALTER title TYPE text, ALTER attributes TYPE text;
         DROP EXTENSION citext; DROP EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION hstore;
         ALTER TABLE documents ALTER title TYPE citext, ALTER attributes TYPE hstore USING attributes::hstore",
    );
}

#[test]
fn extensions_are_dropped_with_all_that_depends_on_them() {
    Changing::start("", documents).survives(
        "DROP EXTENSION citext CASCADE; DROP EXTENSION hstore CASCADE; CREATE EXTENSION citext;
         CREATE EXTENSION hstore; ALTER TABLE documents ADD title citext NOT NULL, ADD attributes hstore NOT NULL",
    );
}

#[test]
fn a_composite_and_the_enum_in_it_are_created_anew() {
    const CREATE: &str = "CREATE TYPE mood AS ENUM ('happy'); CREATE TYPE citizen AS (name citext, mood mood);
        CREATE TABLE kinds.citizen (id bigserial PRIMARY KEY, plain citizen, many citizen[])";
    Changing::start(&format!("CREATE SCHEMA kinds; {CREATE}"), citizens)
        .survives(&format!("DROP TABLE kinds.citizen; DROP TYPE citizen; DROP TYPE mood; {CREATE}"));
}

#[test]
fn a_type_that_came_after_the_pool_was_filled_is_created_anew() {
    let mut changing = Changing::start("", documents);
    changing.run(CREATE_MOODS);
    changing.used = moods;
    assert_eq!(on_every_connection(&changing.hot, moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&changing.stock, moods), NOTHING_WRONG);
    // As documented, a new type is known to all within the freshness bound.
    wait_until_stale();
    changing.survives(&format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}"));
}

#[test]
fn a_schema_is_dropped_with_all_that_is_in_it_and_created_anew() {
    let one = schema("one");
    Changing::start(&one, moods_of_one).survives(&format!("DROP SCHEMA one CASCADE; {one}"));
}

#[test]
fn a_type_is_created_anew_twice_between_two_checkouts() {
    let recreate = format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}");
    let mut changing = Changing::start(CREATE_MOODS, moods);
    changing.run(&recreate);
    changing.survives(&recreate);
}

#[test]
fn what_is_read_without_a_bind_is_right_too() {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, CREATE_MOODS).expect("types");
    let url = upgrade.old.url(&upgrade.database);
    let hot = hot_pool(&url, SIZE, CacheSize::Unbounded);
    let stock = stock_pool(&url, SIZE, CacheSize::Unbounded);
    assert_eq!(on_every_connection(&hot, read_moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, read_moods), NOTHING_WRONG);
    let recreate = format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}");
    upgrade.run_on(upgrade.old, &recreate).expect("another enum");
    assert_eq!(on_every_connection(&hot, read_moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, read_moods).len(), SIZE as usize, "the control");
}

/// PgBouncer knows a prepared statement by its text and the types of its binds. Where these stay the same, so does the
/// server's statement, whose result is another one now.
#[test]
fn what_is_read_without_a_bind_through_pgbouncer_waits_for_its_reconnect() {
    let changing = Changing::start(CREATE_MOODS, read_moods);
    changing.run(&format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}"));
    for pool in [on_every_connection(&changing.hot, read_moods), on_every_connection(&changing.stock, read_moods)]
    {
        assert!(pool.iter().all(|error| error.contains("cached plan must not change result type")), "{pool:?}");
        assert_eq!(pool.len(), SIZE as usize);
    }
    let Upgrade { pgbouncer, database, .. } = &changing.upgrade;
    pgbouncer.console(&format!("RECONNECT {database}")).expect("new server connections");
    assert_eq!(on_every_connection(&changing.hot, read_moods), NOTHING_WRONG);
}

#[test]
fn a_type_that_is_created_anew_on_the_same_server_is_found() {
    let upgrade = upgrade();
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    assert_eq!(write_and_read_back(&mut hot.get().expect("a connection"), 1), Ok(()));
    assert_eq!(write_and_read_back(&mut stock.get().expect("a connection"), 2), Ok(()));

    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");

    assert_eq!(write_and_read_back(&mut hot.get().expect("a connection"), 3), Ok(()));
    let control = write_and_read_back(&mut stock.get().expect("a connection"), 4);
    assert!(control.is_err(), "the stock pool survived it too");
}
