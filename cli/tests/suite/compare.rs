//! The verdicts on types, each made to happen.

use std::sync::OnceLock;

use insta::assert_snapshot;
use postgres::types::{Kind, Type};
use testbed::Cluster;

use crate::support::{Database, Pair, handmade, stable, started};

/// OIDs come from a counter that a server's databases share: so the tests here use their databases in turn.
static SERVERS: OnceLock<[&'static Cluster; 2]> = OnceLock::new();

fn pair(name: &str) -> Pair {
    let [old, new] = *SERVERS.get_or_init(|| [started(10), started(12)]);
    Pair::on(old, new, name)
}

/// What both servers have, with types of the same OIDs.
fn create_same(pair: &Pair) {
    pair.old.continue_at(20_000);
    pair.new.continue_at(20_000);
    pair.execute(
        "CREATE TYPE kept AS ENUM ('a', 'b');
         CREATE TABLE public.kept_ones (id int4 PRIMARY KEY, kept public.kept)",
    );
}

/// A type that moves, one whose OID becomes that of another type that is like it, and one whose OID becomes an error.
fn create_moving(pair: &Pair) {
    const DOMAIN: u32 = 22_000;
    const ENUM: u32 = 22_200;
    pair.old.continue_at(DOMAIN);
    pair.old.execute("CREATE DOMAIN code AS varchar(20)");
    // From PostgreSQL 11 on, a domain has an array, whose OID comes before its own.
    pair.new.continue_at(DOMAIN - 1);
    pair.new.execute("CREATE DOMAIN shadow AS text");
    pair.old.continue_at(ENUM);
    pair.new.continue_at(ENUM);
    pair.old.execute("CREATE TYPE status AS ENUM ('on', 'off')");
    pair.new.execute("CREATE TYPE stray AS ENUM ('on', 'off')");
    assert_eq!(pair.old.oid_of_type("code"), pair.new.oid_of_type("shadow"));
    assert_eq!(pair.old.oid_of_type("status"), pair.new.oid_of_type("stray"));
    pair.new.continue_at(32_000);
    pair.new.execute("CREATE DOMAIN code AS varchar(20); CREATE TYPE status AS ENUM ('on', 'off')");
    pair.execute(
        "CREATE TYPE mood AS ENUM ('happy', 'sad');
         CREATE TABLE items (id int4 PRIMARY KEY, code code, moods mood[], status status)",
    );
}

/// Every way in which a type can differ, and types that are missing.
fn create_broken(pair: &Pair) {
    pair.new.continue_at(34_000);
    pair.old.execute(
        "CREATE EXTENSION hstore VERSION '1.4';
         CREATE TYPE gone AS ENUM ('x');
         CREATE TYPE \"Unused\" AS (a int4);
         CREATE TYPE fewer AS ENUM ('a', 'b', 'c');
         CREATE TYPE reordered AS ENUM ('a', 'b', 'c');
         CREATE TYPE more AS ENUM ('a');
         CREATE DOMAIN narrower AS varchar(20);
         CREATE DOMAIN positive AS int4 CHECK (VALUE > 0) DEFAULT 1;
         CREATE DOMAIN required AS text COLLATE \"C\";
         CREATE TYPE point3 AS (x float8, y float8, z float8);
         CREATE TYPE span AS RANGE (subtype = int4);
         CREATE TYPE spelled AS RANGE (subtype = text, collation = \"C\");
         CREATE TYPE became AS ENUM ('a')",
    );
    pair.new.execute(
        "CREATE EXTENSION hstore;
         CREATE TYPE fewer AS ENUM ('a', 'b');
         CREATE TYPE reordered AS ENUM ('c', 'b', 'a');
         CREATE TYPE more AS ENUM ('a', 'b');
         CREATE DOMAIN narrower AS varchar(10);
         CREATE DOMAIN positive AS int4 CHECK (VALUE > 1) DEFAULT 2;
         CREATE DOMAIN required AS text NOT NULL;
         CREATE TYPE point3 AS (x float8, z float8, y float4);
         CREATE TYPE span AS RANGE (subtype = int8);
         CREATE TYPE spelled AS RANGE (subtype = text, collation = \"POSIX\");
         CREATE DOMAIN became AS text",
    );
    pair.old.execute(&handmade(", RECEIVE = handmade_recv, SEND = handmade_send", "text"));
    pair.new.execute(&handmade("", "text"));
    pair.old.execute("CREATE TABLE used_by_one (id int4 PRIMARY KEY, gone gone)");
    let columns = "fewer fewer, reordered reordered, more more, narrower narrower, positive positive,
        required required, point3 point3, span span, spelled spelled, became became, handmade handmade, hstore hstore";
    pair.execute(&format!("CREATE TABLE used (id int4 PRIMARY KEY, {columns})"));
}

#[test]
fn verdicts_on_types() {
    let nothing = pair("cli_nothing");
    create_same(&nothing);
    let ran = nothing.compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_nothing_to_do", text));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));

    let handled = pair("cli_handled");
    create_moving(&handled);
    let ran = handled.compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_moves_and_collides", text));
    assert_eq!(ran.code, Some(1));
    assert_eq!(stock(&handled.new, "code"), Ok(()), "called silent");
    assert!(stock(&handled.new, "status").is_err_and(|error| error.contains("operator does not exist")));
    let ran = handled.compare(&["--json"]);
    stable(&ran.out, |text| assert_snapshot!("compare_moves_and_collides_json", text));
    assert_eq!(ran.code, Some(1));

    let broken = pair("cli_broken");
    create_broken(&broken);
    let ran = broken.compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_breaks", text));
    assert_eq!(ran.code, Some(2));
}

/// What the server says to a client that binds the OID of the old server's type.
fn stock(new: &Database, column: &str) -> Result<(), String> {
    let old_oid = if column == "code" { new.oid_of_type("shadow") } else { new.oid_of_type("stray") };
    let bound = Type::new("stale".into(), old_oid, Kind::Simple, "public".into());
    let mut client = new.cluster.client(&new.name).expect("a connection");
    let question = format!("SELECT count(*) FROM items WHERE {column} = $1");
    let prepared = client.prepare_typed(&question, &[bound]);
    prepared.map(drop).map_err(|error| error.as_db_error().expect("an answer").message().to_owned())
}

#[test]
fn an_empty_database_has_nothing_to_say() {
    let ran = Pair::shared(17, 18, "cli_empty").compare(&[]);
    stable(&ran.out, |text| assert_snapshot!("compare_empty", text));
    assert_eq!(ran.code, Some(0));
}
