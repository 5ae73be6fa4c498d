//! What else applications trip over, each made to happen.

use insta::assert_snapshot;

use crate::support::{Database, Pair, stable, started};

const OLD: &str = "
    CREATE ROLE cli_missing LOGIN;
    CREATE ROLE cli_app LOGIN BYPASSRLS;
    CREATE ROLE cli_group;
    GRANT cli_group TO cli_app;
    ALTER DATABASE cli_else SET search_path TO app, public;
    ALTER DATABASE cli_else SET TimeZone TO 'Europe/Berlin';
    ALTER DATABASE cli_else SET work_mem TO '8MB';
    ALTER ROLE cli_app IN DATABASE cli_else SET search_path TO app;
    CREATE EXTENSION citext;
    CREATE EXTENSION hstore;
    CREATE EXTENSION pg_trgm VERSION '1.5';
    CREATE SCHEMA app;
    CREATE SCHEMA lost;
    CREATE SCHEMA \"Empty\";
    CREATE TABLE lost.things (id int4 PRIMARY KEY);
    CREATE TABLE app.orders (id bigserial PRIMARY KEY, number int4, note text, dropped text);
    CREATE TABLE app.gone (id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
    CREATE TABLE app.without_key (a int4);
    CREATE TABLE app.published (a int4);
    CREATE PUBLICATION cli_else FOR TABLE app.published;
    INSERT INTO app.orders (note) SELECT 'x' FROM generate_series(1, 10);
    CREATE SEQUENCE app.ahead;
    SELECT nextval('app.ahead');
    CREATE SEQUENCE app.vanished;
    GRANT USAGE ON SCHEMA app TO cli_app;
    GRANT SELECT, INSERT ON app.orders TO cli_group;
    GRANT UPDATE (note) ON app.orders TO cli_app;
    GRANT USAGE ON SEQUENCE app.orders_id_seq TO cli_app;
    GRANT SELECT ON app.orders TO cli_missing;
    CREATE FUNCTION app.secret() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    REVOKE EXECUTE ON FUNCTION app.secret FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION app.secret TO cli_app;
    CREATE COLLATION app.german FROM \"C\";
    SELECT lo_create(0), lo_create(0);
";

const NEW: &str = "
    CREATE ROLE cli_app;
    CREATE ROLE cli_group;
    ALTER DATABASE cli_else SET search_path TO public;
    CREATE EXTENSION citext;
    CREATE SCHEMA app;
    CREATE EXTENSION pg_trgm SCHEMA app;
    CREATE TABLE app.orders (id bigserial PRIMARY KEY, number int8, note text);
    CREATE TABLE app.without_key (a int4);
    CREATE TABLE app.published (a int4);
    INSERT INTO app.orders (id, note) SELECT number, 'x' FROM generate_series(1, 12) number;
    CREATE SEQUENCE app.ahead;
    SELECT setval('app.ahead', 1000);
    GRANT USAGE ON SCHEMA app TO cli_app;
    GRANT SELECT ON app.orders TO cli_group;
    CREATE FUNCTION app.secret() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    REVOKE EXECUTE ON FUNCTION app.secret FROM PUBLIC;
    UPDATE pg_catalog.pg_database SET datcollversion = '1.0' WHERE datname = 'cli_else';
    SELECT lo_create(0);
    CREATE TABLE app.doubled AS SELECT 1 AS a FROM generate_series(1, 2);
";

#[test]
fn everything_else_that_applications_trip_over() {
    let (old, new) = (started(15), started(17));
    let old = Database::create(old, "cli_else");
    let mut server = new.client("postgres").expect("a connection");
    let creation = "CREATE DATABASE cli_else TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    server.batch_execute(creation).expect("a database");
    let pair = Pair { old, new: Database { cluster: new, name: "cli_else".to_owned() } };
    // So that no OID means something on both.
    pair.new.continue_at(30_000);
    pair.old.execute(OLD);
    pair.new.execute(NEW);
    let mut client = new.client("cli_else").expect("a connection");
    let index = client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY doubled_a ON app.doubled (a)");
    index.expect_err("what leaves an index invalid");

    let ran = pair.compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_everything_else", text));
    assert_eq!(ran.code, Some(2));

    let ran = pair.compare(&["--schema", "app", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(json["exit_code"], 2);
    assert!(!ran.out.contains("lost"), "{}", ran.out);
    assert!(json["types"].as_array().expect("types").is_empty(), "citext is in another schema");
}

#[test]
fn a_setting_that_a_pooler_tracks_and_an_older_server_does_not_know() {
    let ran = Pair::shared(16, 15, "cli_back").compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_back_to_15", text));
    assert_eq!(ran.code, Some(2));
    let ran = Pair::shared(18, 17, "cli_back_to_17").compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_back_to_17", text));
    assert_eq!(ran.code, Some(0));
}

/// What PostgreSQL 15 changed for everybody is a remark.
#[test]
fn a_schema_in_which_not_everybody_may_create_any_more() {
    let ran = Pair::shared(14, 17, "cli_from_14").compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_from_14", text));
    assert_eq!(ran.code, Some(0));
}
