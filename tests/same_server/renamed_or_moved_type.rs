//! Types and schemas that are renamed, hidden, or moved to another schema, under an open pool.

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};

use crate::support::changing::{Changing, SIZE, Wrong, documents, schema, verified};
use crate::support::kinds::moods::{CREATE_MOODS, giddy_moods, moods, moods_of_one, tempers};
use crate::support::pools::{NOTHING_WRONG, hot_pool, on_every_connection, stock_pool, upgrade};

#[test]
fn a_type_takes_the_name_of_another_one() {
    let prepare = format!("CREATE TYPE temper AS ENUM ('happy', 'sad'); {CREATE_MOODS}");
    Changing::start(&prepare, moods).survives(
        "ALTER TABLE moods ALTER mood TYPE temper USING mood::text::temper;
         ALTER TYPE mood RENAME TO outgoing; ALTER TYPE temper RENAME TO mood",
    );
}

#[test]
fn two_types_swap_their_names() {
    let prepare = format!(
        "CREATE TYPE temper AS ENUM ('happy'); {CREATE_MOODS}; CREATE TABLE tempers (id int8, mood temper)"
    );
    let both = |conn: &mut PgConnection| moods(conn).and_then(|()| tempers(conn));
    Changing::start(&prepare, both).survives(
        "ALTER TYPE mood RENAME TO outgoing; ALTER TYPE temper RENAME TO mood; ALTER TYPE outgoing RENAME TO temper;
         ALTER TABLE moods RENAME TO outgoing; ALTER TABLE tempers RENAME TO moods;
         ALTER TABLE outgoing RENAME TO tempers",
    );
}

#[test]
fn a_renamed_type_is_found_by_its_new_name_only() {
    let mut changing = Changing::start(CREATE_MOODS, moods);
    changing.run("ALTER TYPE mood RENAME TO temper; ALTER TABLE moods RENAME TO tempers");
    assert_eq!(verified(&mut changing.held, tempers), Ok(()));
    assert_eq!(on_every_connection(&changing.hot, tempers), NOTHING_WRONG);
    changing.run("ALTER TABLE tempers RENAME TO moods");
    let by_the_old_name = on_every_connection(&changing.hot, moods);
    assert_eq!(by_the_old_name.len(), SIZE as usize);
    assert!(by_the_old_name[0].contains("`mood`"), "the error names it: {by_the_old_name:?}");
    assert_eq!(verified(&mut changing.held, moods), Err(Wrong(by_the_old_name[0].clone())));
    // Its connections go on with a name that a new connection does not find.
    assert_eq!(on_every_connection(&changing.stock, moods), NOTHING_WRONG, "the control");
    let fresh = stock_pool(&changing.upgrade.url(), 1, CacheSize::Unbounded);
    assert_eq!(on_every_connection(&fresh, moods), by_the_old_name[..1]);
}

/// The OIDs are the same, so there is nothing to protect from: stock connections are right as well.
#[test]
fn what_leaves_a_type_its_oid_and_its_name_is_no_change() {
    let create = format!("{CREATE_MOODS}; CREATE TYPE temper AS ENUM ('happy')");
    let changing = Changing::start(&create, moods);
    let settled = |conn: &mut PgConnection| match synchronize(conn) {
        Ok(Outcome::Unchanged) => Ok(()),
        outcome => Err(format!("{outcome:?}")),
    };
    for sql in [
        "ALTER TYPE mood ADD VALUE 'giddy'",
        "CREATE ROLE painter; ALTER TYPE mood OWNER TO painter; GRANT USAGE ON TYPE mood TO public",
        "REASSIGN OWNED BY painter TO CURRENT_USER; DROP OWNED BY painter; DROP ROLE painter",
        "ALTER DOMAIN document_code ADD CONSTRAINT short CHECK (length(VALUE) < 30)",
        "CREATE CAST (temper AS mood) WITH INOUT AS ASSIGNMENT",
        "DROP CAST (temper AS mood); CREATE CAST (temper AS mood) WITH INOUT AS IMPLICIT",
        "COMMENT ON TYPE mood IS 'of a person'",
    ] {
        changing.run(sql);
        assert_eq!(on_every_connection(&changing.hot, settled), NOTHING_WRONG, "{sql}");
        for used in [giddy_moods, moods, documents] {
            assert_eq!(on_every_connection(&changing.hot, used), NOTHING_WRONG, "{sql}");
            assert_eq!(on_every_connection(&changing.stock, used), NOTHING_WRONG, "{sql}");
        }
    }
}

#[test]
fn a_temporary_type_hides_another_one() {
    const HIDE: &str = "CREATE TYPE pg_temp.mood AS ENUM ('happy');
        CREATE TEMP TABLE moods (id int8, mood pg_temp.mood)";
    const SHOW: &str = "DROP TABLE pg_temp.moods; DROP TYPE pg_temp.mood";
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, CREATE_MOODS).expect("types");
    let url = upgrade.old.url(&upgrade.database);
    let (hot, stock) = (hot_pool(&url, 1, CacheSize::Unbounded), stock_pool(&url, 1, CacheSize::Unbounded));
    let run =
        |sql: &'static str| move |conn: &mut PgConnection| conn.batch_execute(sql).map_err(|e| e.to_string());
    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, moods), NOTHING_WRONG);
    for sql in [HIDE, SHOW, HIDE] {
        assert_eq!(on_every_connection(&hot, run(sql)), NOTHING_WRONG);
        assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG, "after {sql}");
    }
    assert_eq!(on_every_connection(&stock, run(HIDE)), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, moods).len(), 1, "the control");

    // A temporary type that hides another one is looked up again after each check.
    let recreate = |conn: &mut PgConnection| run(SHOW)(conn).and_then(|()| run(HIDE)(conn));
    assert_eq!(on_every_connection(&hot, recreate), NOTHING_WRONG);
    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG);
}

#[test]
fn a_type_moves_to_another_schema_and_one_of_the_same_name_takes_its_place() {
    let prepare = format!(
        "CREATE SCHEMA archive; CREATE SCHEMA next; CREATE TYPE next.mood AS ENUM ('happy', 'sad'); {CREATE_MOODS}"
    );
    Changing::start(&prepare, moods).survives(
        "ALTER TYPE mood SET SCHEMA archive; ALTER TYPE next.mood SET SCHEMA public;
         ALTER TABLE moods ALTER mood TYPE mood USING mood::text::mood",
    );
}

#[test]
fn two_schemas_swap_their_names() {
    let prepare = format!("{}{}", schema("one"), schema("two"));
    Changing::start(&prepare, moods_of_one).survives(
        "ALTER SCHEMA one RENAME TO outgoing; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA outgoing RENAME TO two",
    );
}

#[test]
fn two_schemas_swap_their_names_of_which_one_is_in_the_path() {
    let prepare = format!(
        "{}{} DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET search_path = one, public'; END $$",
        schema("one"),
        schema("two")
    );
    Changing::start(&prepare, moods).survives(
        "ALTER SCHEMA one RENAME TO outgoing; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA outgoing RENAME TO two",
    );
}

#[test]
fn another_schema_takes_the_name_of_one_that_is_renamed() {
    let one = schema("one");
    Changing::start(&one, moods_of_one).survives(&format!("ALTER SCHEMA one RENAME TO archive; {one}"));
}

#[test]
fn another_kind_of_type_takes_the_name() {
    Changing::start(CREATE_MOODS, moods).survives(
        "DROP TABLE moods; DROP TYPE mood; ALTER TABLE documents ALTER title TYPE text;
         ALTER TYPE citext RENAME TO mood; CREATE TABLE moods (id int8, mood mood)",
    );
}
