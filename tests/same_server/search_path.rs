//! The search path of a connection changes, or what stands in it.

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error, ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, synchronize};
use fixture::Upgrade;

use crate::support::kinds::moods::moods;
use crate::support::meaning::{Label, plain, verified};
use crate::support::pools::{NOTHING_WRONG, builder, hot_pool, on_every_connection, stock_pool, upgrade};

const SIZE: u32 = 2;

/// A schema with a type and a table that others have as well.
fn create(schema: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TYPE {schema}.mood AS ENUM ('happy');
         CREATE TABLE {schema}.moods (id int8, mood {schema}.mood);"
    )
}

fn upgrade_with(schemas: &[&str]) -> Upgrade {
    let upgrade = upgrade();
    let sql: String = schemas.iter().map(|schema| create(schema)).collect();
    upgrade.run_on(upgrade.old, &sql).expect("types");
    upgrade
}

#[derive(Debug, Clone, Copy)]
struct SetPath(&'static str);

impl CustomizeConnection<PgConnection, Error> for SetPath {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.batch_execute(&format!("SET search_path = {}", self.0)).map_err(Error::QueryError)
    }
}

#[test]
fn pools_whose_customizers_set_other_paths_find_each_their_own_type() {
    let upgrade = upgrade_with(&["one", "two"]);
    let url = upgrade.old.url(&upgrade.database);
    let paths = ["one, public", "two, public"].map(SetPath);
    let hot = paths.map(|path| {
        builder(SIZE)
            .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(path))))
            .build(HotUpgradeManager::new(url.as_str()))
            .expect("a protected pool")
    });
    let stock = builder(SIZE)
        .connection_customizer(Box::new(paths[1]))
        .build(ConnectionManager::<PgConnection>::new(url.as_str()))
        .expect("a stock pool");
    assert_eq!(hot.each_ref().map(|pool| on_every_connection(pool, moods)), [NOTHING_WRONG; 2]);
    assert_eq!(on_every_connection(&stock, moods), NOTHING_WRONG);

    let recreate = format!("DROP TABLE two.moods; DROP TYPE two.mood; {}", create("two"));
    upgrade.run_on(upgrade.old, &recreate).expect("another type in one of them");

    assert_eq!(hot.each_ref().map(|pool| on_every_connection(pool, moods)), [NOTHING_WRONG; 2]);
    assert_eq!(on_every_connection(&stock, moods).len(), SIZE as usize, "the control");
}

/// Lets every connection of a pool use another path, and gives it back.
fn set_path<M: ManageConnection<Connection = PgConnection>>(pool: &Pool<M>, path: &str) {
    let set = |conn: &mut PgConnection| {
        conn.batch_execute(&format!("SET search_path = {path}")).map_err(|error| error.to_string())
    };
    assert_eq!(on_every_connection(pool, set), NOTHING_WRONG);
}

#[test]
fn a_path_that_was_set_during_a_checkout_holds_for_the_next_one() {
    let upgrade = upgrade_with(&["one", "two"]);
    let url = upgrade.old.url(&upgrade.database);
    let hot = hot_pool(&url, SIZE, CacheSize::Unbounded);
    let stock = stock_pool(&url, SIZE, CacheSize::Unbounded);
    for (round, path) in ["one, public", "two, public", "one, public"].into_iter().enumerate() {
        set_path(&hot, path);
        set_path(&stock, path);
        assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG, "{path}");
        let control = on_every_connection(&stock, moods);
        // On the way back the first OIDs fit again.
        assert_eq!(control.len(), if round == 1 { SIZE as usize } else { 0 }, "the control, {path}: {control:?}");
    }
}

/// The pools' server connections are of a path that `scope`, a role or a database, is given meanwhile.
fn follows(scope: fn(&Upgrade) -> String) {
    let upgrade = upgrade_with(&["one", "two"]);
    let set = |path: &str| {
        let sql = format!("ALTER {} SET search_path = {path}", scope(&upgrade));
        upgrade.run_on(upgrade.old, &sql).expect("a path");
        upgrade.pgbouncer.console(&format!("RECONNECT {}", upgrade.database)).expect("new server connections");
    };
    set("one, public");
    let hot = hot_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, moods), NOTHING_WRONG);

    set("two, public");

    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, moods).len(), SIZE as usize, "the control");
}

#[test]
fn a_path_that_a_role_was_given_is_followed() {
    follows(|upgrade| format!("ROLE CURRENT_USER IN DATABASE {}", upgrade.database));
}

#[test]
fn a_path_that_a_database_was_given_is_followed() {
    follows(|upgrade| format!("DATABASE {}", upgrade.database));
}

/// A type in `public`, and then one of the same name in a schema that comes earlier in the path.
fn is_found_in_an_earlier_schema(path: &str, schema: &str) {
    let upgrade = upgrade_with(&["public"]);
    let database = &upgrade.database;
    let give_path = format!("ALTER DATABASE {database} SET search_path = {path}; CREATE SCHEMA there_already");
    upgrade.run_on(upgrade.old, &give_path).expect("a path");
    let hot = hot_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, moods), NOTHING_WRONG);

    let change_column =
        |to: &str| format!("ALTER TABLE moods ALTER mood TYPE {to}.mood USING mood::text::{to}.mood;");
    let shadow = format!(
        "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TYPE {schema}.mood AS ENUM ('happy'); {}",
        change_column(schema)
    );
    upgrade.run_on(upgrade.old, &shadow).expect("a type that shadows the other one");
    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG, "{path}");
    assert_eq!(on_every_connection(&stock, moods).len(), SIZE as usize, "the control, {path}");

    let unshadow = format!("{} DROP TYPE {schema}.mood", change_column("public"));
    upgrade.run_on(upgrade.old, &unshadow).expect("the other one can be seen again");
    assert_eq!(on_every_connection(&hot, moods), NOTHING_WRONG, "{path}");
}

#[test]
fn a_type_that_appears_in_an_earlier_schema_of_the_path_is_found() {
    is_found_in_an_earlier_schema("there_already, public", "there_already");
}

#[test]
fn a_type_that_appears_in_a_schema_of_the_path_that_was_not_there_is_found() {
    is_found_in_an_earlier_schema("nowhere, \"To, come\", there_already, there_already, public", "\"To, come\"");
}

#[test]
fn a_type_that_appears_in_the_schema_of_the_user_is_found() {
    is_found_in_an_earlier_schema("\"$user\", public", "postgres");
}

/// `"$user"` is another schema then, although the setting is the same.
#[test]
fn a_role_that_has_a_schema_of_its_own_binds_the_row_types_in_it() {
    let upgrade = upgrade();
    let role = format!("own_schema_{}", std::process::id());
    let create = format!(
        "CREATE TABLE label (); CREATE ROLE {role}; CREATE SCHEMA {role} AUTHORIZATION {role};
        CREATE TABLE {role}.label ()"
    );
    upgrade.run_on(upgrade.old, &create).expect("two row types of a name");
    let [mut held, mut looked] = [(); 2].map(|()| {
        let mut conn = diesel::PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
        assert_eq!(verified::<Label>(&mut conn), Ok(()));
        conn.batch_execute(&format!("SET ROLE {role}")).expect("a role");
        conn
    });
    synchronize(&mut looked).expect("a look");
    assert_eq!((verified::<Label>(&mut held), plain::<Label>(&mut looked)), (Ok(()), Ok(())));
}
