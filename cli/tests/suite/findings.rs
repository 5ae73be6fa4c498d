//! What else applications trip over, each made to happen.

use insta::assert_snapshot;
use testbed::Cluster;

use crate::support::{Database, Pair, handmade, stable, started};

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

const EARLIER: &str = "
    CREATE ROLE cli_admin LOGIN SUPERUSER;
    CREATE ROLE cli_user LOGIN;
    ALTER ROLE cli_admin SET work_mem TO '8MB';
    ALTER DATABASE cli_older SET DateStyle TO 'ISO, DMY';
    CREATE EXTENSION adminpack;
    CREATE EXTENSION pg_trgm;
    CREATE SCHEMA app;
    CREATE DOMAIN app.required AS text NOT NULL;
    CREATE TABLE app.\"dotted.name\" (id int4 PRIMARY KEY, required app.required, handmade handmade, \"a.b\" int4);
    CREATE TABLE app.doubled AS SELECT 1 AS a FROM generate_series(1, 2);
    GRANT USAGE ON SCHEMA app TO cli_user;
    GRANT UPDATE (\"a.b\") ON app.\"dotted.name\" TO cli_user;
    CREATE FUNCTION app.open() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION app.closed() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION app.\"Sent\"(a app.required) RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    CREATE COLLATION app.german (provider = icu, locale = 'de');
    CREATE COLLATION app.french (provider = icu, locale = 'fr');
    UPDATE pg_catalog.pg_collation SET collversion = '1.0' WHERE collname = 'french';
";

const LATER: &str = "
    CREATE ROLE cli_admin LOGIN;
    CREATE ROLE cli_user LOGIN;
    ALTER ROLE cli_admin SET work_mem TO '8MB';
    ALTER DATABASE cli_older SET DateStyle TO 'SQL, MDY';
    ALTER DATABASE cli_older SET default_transaction_read_only TO on;
    CREATE EXTENSION pg_trgm VERSION '1.5';
    CREATE SCHEMA app;
    CREATE DOMAIN app.required AS text;
    CREATE TABLE app.\"dotted.name\" (id int4 PRIMARY KEY, required app.required, handmade handmade, \"a.b\" int4);
    CREATE TABLE app.doubled (a int4);
    CREATE FUNCTION app.open() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION app.closed() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION app.\"Sent\"(a app.required) RETURNS int4 LANGUAGE sql AS 'SELECT 1';
    REVOKE CONNECT ON DATABASE cli_older FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION app.open, app.\"Sent\" FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION app.closed FROM PUBLIC, postgres;
    REVOKE USAGE ON TYPE app.required FROM PUBLIC;
    REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
    CREATE COLLATION app.german (provider = icu, locale = 'de');
    CREATE COLLATION app.french (provider = icu, locale = 'fr');
    UPDATE pg_catalog.pg_collation SET collversion = '1.0' WHERE collname = 'german';
";

#[test]
fn what_is_older_another_default_or_taken_from_everybody() {
    let (old, new) = (started(16), started(17));
    let old = Database::create(old, "cli_older");
    let creation = "CREATE DATABASE cli_older TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'
        LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'";
    new.client("postgres").expect("a connection").batch_execute(creation).expect("a database");
    let pair = Pair { old, new: Database { cluster: new, name: "cli_older".to_owned() } };
    pair.new.continue_at(30_000);
    pair.old.execute(&handmade(", RECEIVE = handmade_recv, SEND = handmade_send", "text"));
    pair.new.execute(&handmade(", RECEIVE = handmade_recv, SEND = handmade_send", "bytea"));
    pair.old.execute(EARLIER);
    pair.new.execute(LATER);
    let mut client = pair.old.cluster.client("cli_older").expect("a connection");
    let index = client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY doubled_a ON app.doubled (a)");
    index.expect_err("what leaves an index invalid");
    for (name, value) in
        [("TimeZone", "'Asia/Tokyo'"), ("IntervalStyle", "'iso_8601'"), ("search_path", "'app', 'public'")]
    {
        pair.new.set_for_all(name, value);
    }

    let ran = pair.compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_what_is_older", text));
    assert_eq!(ran.code, Some(2));
}

/// Two builds of one major, each with the ICU of its own packages.
#[test]
fn a_collation_of_another_version_is_a_remark() {
    let other = Cluster::start_with_postgis_and_pgvector().expect("a server");
    let pair = Pair::on(Cluster::shared(17), Box::leak(Box::new(other)), "cli_collation");
    pair.execute(
        "CREATE COLLATION german (provider = icu, locale = 'de');
         CREATE TABLE words (word text COLLATE german PRIMARY KEY)",
    );
    let versions = [&pair.old, &pair.new].map(|database| -> String {
        let mut client = database.cluster.client(&database.name).expect("a connection");
        let question = "SELECT collversion FROM pg_collation WHERE collname = 'german'";
        client.query_one(question, &[]).expect("a collation").get(0)
    });
    assert_ne!(versions[0], versions[1], "both servers have one ICU");
    let ran = pair.compare(&["--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let text = format!("public.german: version {} → {}: text may be sorted otherwise", versions[0], versions[1]);
    let mut findings = json["findings"].as_array().expect("findings").iter();
    assert!(findings.any(|found| found["severity"] == "remark" && found["text"] == text.as_str()), "{}", ran.out);
}
