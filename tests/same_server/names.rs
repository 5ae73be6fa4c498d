//! Names of types that need quoting, in any encoding, and whatever the settings that change how they are shown.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::sql_types::{SingleValue, SqlType};
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Upgrade, drop_database};
use testbed::{Cluster, Forwarder};

use crate::support::kinds::sql_types::{Wire, sql_types};
use crate::support::pools::{NOTHING_WRONG, hot_pool, on_every_connection, stock_pool, upgrade};
use crate::support::round_trips::{connect, round_trips};

const SIZE: u32 = 2;

sql_types! {
    Quoted = "it's a \"quoted\" name";
    Dotted = "public.dotted";
    Upper = "UpperCase";
    Longest = "a_name_of_63_bytes_which_is_as_long_as_a_name_in_PostgreSQL_can";
    LongestForeign = "größe_eines_Namens_mit_63_Bytes_und_einem_Zeichen_am_Ende🙂";
    Foreign = "größe_und_絵文字_🙂";
    Keyword = "select";
    Escaped = "\\ \\' $1 %s {a,b} NULL\t\n ";
    Null = "NULL";
    Array = "moods[]";
    Umlaut = "größe";
}

/// In a schema that needs quoting as well.
#[derive(Debug, Clone, Copy, PartialEq, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "Odd.\"Type\"", schema = "Odd.\"Schema\""))]
struct OddEverywhere;

const ODD_NAMES: [&str; 11] = [
    "\"it's a \"\"quoted\"\" name\"",
    "\"public.dotted\"",
    "\"UpperCase\"",
    "\"a_name_of_63_bytes_which_is_as_long_as_a_name_in_PostgreSQL_can\"",
    "\"größe_eines_Namens_mit_63_Bytes_und_einem_Zeichen_am_Ende🙂\"",
    "\"größe_und_絵文字_🙂\"",
    "\"select\"",
    "\"\\ \\' $1 %s {a,b} NULL\t\n \"",
    "\"NULL\"",
    "\"moods[]\"",
    "\"Odd.\"\"Schema\"\"\".\"Odd.\"\"Type\"\"\"",
];

diesel::define_sql_function! {
    /// The type of a value.
    fn pg_typeof<T: SqlType + SingleValue>(value: T) -> Oid;
}

diesel::define_sql_function! {
    /// What any value looks like.
    #[sql_name = "concat"]
    fn shown<T: SqlType + SingleValue>(value: T) -> Text;
}

macro_rules! names_of {
    ($conn:ident: $($sql_type:ident),*) => {
        [$(
            diesel::select(shown(pg_typeof(Wire::<$sql_type>::new("happy").into_sql::<$sql_type>())))
                .get_result::<String>($conn)
                .map_err(|error| error.to_string())
        ),*]
    };
}

/// Names that are not what the server takes the bound value for.
fn wrong_names(conn: &mut PgConnection) -> Vec<String> {
    let names = names_of!(
        conn: Quoted, Dotted, Upper, Longest, LongestForeign, Foreign, Keyword, Escaped, Null, Array, OddEverywhere
    );
    let wrong = names.into_iter().zip(ODD_NAMES).filter(|(found, wanted)| found.as_deref() != Ok(*wanted));
    wrong.map(|(found, wanted)| format!("{found:?} for {wanted}")).collect()
}

/// The types of those names, in one order on the old server and in the other one on the new.
fn upgrade_with_odd_names() -> Upgrade {
    assert_eq!(ODD_NAMES[4].len(), 63 + 2, "with its quotes");
    let upgrade = upgrade();
    let types: Vec<_> = ODD_NAMES.iter().map(|name| format!("CREATE TYPE {name} AS ENUM ('happy');")).collect();
    let create = |types: String| format!("CREATE SCHEMA \"Odd.\"\"Schema\"\"\"; {types}");
    upgrade.run_on(upgrade.old, &create(types.concat())).expect("types");
    upgrade
        .run_on(upgrade.new, &create(types.into_iter().rev().collect::<String>()))
        .expect("the same in another order");
    upgrade
}

fn names_are_found_on_the_new_server(upgrade: &Upgrade) {
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let mut held = PgConnection::establish(&upgrade.url()).expect("a connection");
    let verified = |conn: &mut PgConnection| conn.hot_transaction(|conn| QueryResult::Ok(wrong_names(conn)));
    assert_eq!(wrong_names(&mut hot.get().expect("a connection")), NOTHING_WRONG);
    assert_eq!(wrong_names(&mut stock.get().expect("a connection")), NOTHING_WRONG);
    assert_eq!(verified(&mut held).expect("a transaction"), NOTHING_WRONG);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(wrong_names(&mut hot.get().expect("a connection")), NOTHING_WRONG, "on {}", server.major());
        for _ in 0..2 {
            assert_eq!(verified(&mut held).expect("a transaction"), NOTHING_WRONG, "on {}", server.major());
        }
    }
    assert_eq!(wrong_names(&mut stock.get().expect("a connection")).len(), ODD_NAMES.len(), "the control");
}

#[test]
fn names_that_need_quoting_are_found_on_the_new_server() {
    names_are_found_on_the_new_server(&upgrade_with_odd_names());
}

/// A name that is as many characters in each, and other bytes.
fn umlaut(conn: &mut PgConnection) -> Result<(), String> {
    let [found] = names_of!(conn: Umlaut);
    if found.as_deref() == Ok("\"größe\"") { Ok(()) } else { Err(format!("{found:?}")) }
}

#[test]
fn names_are_found_in_a_database_of_another_encoding() {
    const CREATE: &str = "CREATE TYPE \"größe\" AS ENUM ('happy')";
    let server = Cluster::shared(12);
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = format!("upgrade_{}_{}", std::process::id(), encoding.to_lowercase());
        let create = format!(
            "CREATE DATABASE {database} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        server.client("postgres").expect("a connection").batch_execute(&create).expect("a database");
        let mut client = server.client(&database).expect("a connection");
        client.batch_execute(CREATE).expect("a type");
        let url = server.url(&database);
        let (hot, stock) =
            (hot_pool(&url, SIZE, CacheSize::Unbounded), stock_pool(&url, SIZE, CacheSize::Unbounded));
        let mut held = PgConnection::establish(&url).expect("a connection");
        let mut verified = || held.hot_transaction(|conn| QueryResult::Ok(umlaut(conn)));
        assert_eq!(on_every_connection(&hot, umlaut), NOTHING_WRONG, "{encoding}");
        assert_eq!(on_every_connection(&stock, umlaut), NOTHING_WRONG);
        assert_eq!(verified(), Ok(Ok(())));

        client.batch_execute(&format!("DROP TYPE \"größe\"; {CREATE}")).expect("another type");

        assert_eq!(on_every_connection(&hot, umlaut), NOTHING_WRONG, "{encoding}");
        assert_eq!(verified(), Ok(Ok(())), "{encoding}");
        assert_eq!(on_every_connection(&stock, umlaut).len(), SIZE as usize, "the control");
        drop_database(server, &database);
    }
}

/// The same, where each server has settings that change how text is read and shown.
fn upgrade_with_odd_settings() -> Upgrade {
    let upgrade = upgrade_with_odd_names();
    for server in [upgrade.old, upgrade.new] {
        for setting in [
            "standard_conforming_strings = off",
            "escape_string_warning = off",
            "quote_all_identifiers = on",
            "array_nulls = off",
            "bytea_output = escape",
            "datestyle = 'German, DMY'",
            "intervalstyle = 'sql_standard'",
            "timezone = 'Asia/Kathmandu'",
            "extra_float_digits = -15",
            "plan_cache_mode = force_generic_plan",
            "default_transaction_isolation = serializable",
            "statement_timeout = '59s'",
        ] {
            let is_known = server.major() >= 12 || !setting.starts_with("plan_cache_mode");
            if is_known {
                let sql = format!("ALTER DATABASE {} SET {setting}", upgrade.database);
                upgrade.run_on(server, &sql).expect(setting);
            }
        }
    }
    upgrade
}

#[test]
fn names_are_found_whatever_the_settings_that_change_how_text_is_read_and_shown() {
    names_are_found_on_the_new_server(&upgrade_with_odd_settings());
}

#[test]
fn a_check_holds_whatever_the_settings_that_change_how_text_is_read_and_shown() {
    let upgrade = upgrade_with_odd_settings();
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let mut conn = connect(&upgrade, &forwarder);
    let empty = round_trips(&forwarder, &mut conn, |conn| conn.hot_transaction(|_| Ok(())));
    assert_eq!(empty, 2, "the probe does not hold, and transactions begin the long way");
}
