//! `types`.

use insta::assert_snapshot;
use testbed::Cluster;

use crate::support::{Database, run, stable};

#[test]
fn the_catalog_is_shown_as_the_library_sees_it() {
    let database = Database::create(Cluster::shared(17), "cli_types");
    let empty = run(&["types", &database.url()]);
    stable(&empty.out, |text| assert_snapshot!("types_none", text));
    // OIDs of five digits, as in the snapshot.
    database.execute(
        "CREATE EXTENSION citext;
         CREATE EXTENSION hstore;
         CREATE SCHEMA shop;
         CREATE TYPE order_state AS ENUM ('open', 'done');
         CREATE TYPE shop.\"Size\" AS (width int4, height int4);
         CREATE DOMAIN code AS varchar(3);
         CREATE TYPE unused AS RANGE (subtype = int4);
         CREATE TABLE shop.orders (id int4 PRIMARY KEY, state order_state, states order_state[], size shop.\"Size\",
             name citext, attributes hstore, code code)",
    );
    let ran = run(&["types", &database.url()]);
    stable(&ran.out, |text| assert_snapshot!("types", text));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let ran = run(&["types", "--json", &database.url()]);
    stable(&ran.out, |text| assert_snapshot!("types_json", text));
    assert_eq!(ran.code, Some(0));
}
