//! Types that move without an upgrade: they are created anew, renamed or moved on one server, under an open pool.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::{Upgrade, documents, write_and_read_back};

use crate::kinds::moods::{CREATE_MOODS, moods, moods_of_one, read_moods, tempers};
use crate::kinds::{Verdict, citizens};
use crate::pools::{HotPool, NOTHING_WRONG, StockPool, hot_pool, on_every_connection, stock_pool, upgrade};
use fixture::RECREATE_ENUM;

const SIZE: u32 = 3;

/// A database whose types change, a protected pool and a stock one.
struct Changing {
    upgrade: Upgrade,
    hot: HotPool,
    stock: StockPool,
    used: fn(&mut PgConnection) -> Verdict,
}

impl Changing {
    /// Pools that have used the types that `prepare` created.
    fn start(prepare: &str, used: fn(&mut PgConnection) -> Verdict) -> Self {
        let upgrade = upgrade();
        upgrade.run_on(upgrade.old, prepare).expect("types");
        let hot = hot_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
        let stock = stock_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
        assert_eq!(on_every_connection(&hot, used), NOTHING_WRONG);
        assert_eq!(on_every_connection(&stock, used), NOTHING_WRONG);
        Changing { upgrade, hot, stock, used }
    }

    fn run(&self, sql: &str) {
        self.upgrade.run_on(self.upgrade.old, sql).expect(sql);
    }

    /// The next checkout of each protected connection is right after `sql`, and that of no stock one.
    fn survives(&self, sql: &str) {
        self.run(sql);
        assert_eq!(on_every_connection(&self.hot, self.used), NOTHING_WRONG, "after {sql}");
        assert_eq!(on_every_connection(&self.stock, self.used).len(), SIZE as usize, "the control, after {sql}");
    }
}

fn documents(conn: &mut PgConnection) -> Verdict {
    write_and_read_back(conn, 7)?;
    diesel::delete(documents::table).execute(conn).map(drop).map_err(|error| error.to_string())
}

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
    changing.survives(&format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}"));
}

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
    let changing = Changing::start(CREATE_MOODS, moods);
    changing.run("ALTER TYPE mood RENAME TO temper; ALTER TABLE moods RENAME TO tempers");
    assert_eq!(on_every_connection(&changing.hot, tempers), NOTHING_WRONG);
    changing.run("ALTER TABLE tempers RENAME TO moods");
    let by_the_old_name = on_every_connection(&changing.hot, moods);
    assert_eq!(by_the_old_name.len(), SIZE as usize);
    assert!(by_the_old_name[0].contains("`mood`"), "the error names it: {by_the_old_name:?}");
    // Its connections go on with a name that a new connection does not find.
    assert_eq!(on_every_connection(&changing.stock, moods), NOTHING_WRONG, "the control");
    let fresh = stock_pool(&changing.upgrade.url(), 1, CacheSize::Unbounded);
    assert_eq!(on_every_connection(&fresh, moods), by_the_old_name[..1]);
}

#[test]
fn another_value_of_an_enum_is_no_change() {
    let changing = Changing::start(CREATE_MOODS, moods);
    let settled = |conn: &mut PgConnection| match synchronize(conn) {
        Ok(Outcome::Unchanged) => Ok(()),
        outcome => Err(format!("{outcome:?}")),
    };
    changing.run("ALTER TYPE mood ADD VALUE 'giddy'");
    assert_eq!(on_every_connection(&changing.hot, settled), NOTHING_WRONG);
    assert_eq!(on_every_connection(&changing.hot, moods), NOTHING_WRONG);
    // The OID is the same, so there is nothing to protect from.
    assert_eq!(on_every_connection(&changing.stock, moods), NOTHING_WRONG);
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
    let schema = |name: &str| {
        format!(
            "CREATE SCHEMA {name}; CREATE TYPE {name}.mood AS ENUM ('happy');
             CREATE TABLE {name}.moods (id int8, mood {name}.mood);"
        )
    };
    let prepare = format!("{}{}", schema("one"), schema("two"));
    let changing = Changing::start(&prepare, moods_of_one);
    changing.survives(
        "ALTER SCHEMA one RENAME TO outgoing; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA outgoing RENAME TO two",
    );
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
