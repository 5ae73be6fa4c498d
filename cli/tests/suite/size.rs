//! A thousand tables and ten thousand types.

use std::time::{Duration, Instant};

use testbed::Cluster;

use crate::support::{Database, Pair};

#[test]
fn a_large_catalog_takes_a_few_seconds() {
    let cluster = Cluster::shared(18);
    let old = Database::create(cluster, "cli_large");
    // In turns: each statement of a block takes locks, of which a transaction can't have that many.
    for some in 0..10 {
        old.execute(&format!(
            "DO $$ BEGIN FOR i IN {some}000..{some}999 LOOP
                EXECUTE format('CREATE TYPE type_%s AS ENUM (''a'', ''b'')', i);
             END LOOP; END $$"
        ));
        old.execute(&format!(
            "DO $$ BEGIN FOR i IN {some}00..{some}99 LOOP
                EXECUTE format('CREATE TABLE table_%s (id serial PRIMARY KEY, a type_%s, b type_1%s[], c text)', i, i, i);
             END LOOP; END $$"
        ));
    }
    let mut client = cluster.client("postgres").expect("a connection");
    client.batch_execute("CREATE DATABASE cli_large_copy TEMPLATE cli_large").expect("a copy");
    let pair = Pair { old, new: Database { cluster, name: "cli_large_copy".to_owned() } };
    pair.new.execute("DROP TYPE type_9999; CREATE TYPE type_9999 AS ENUM ('a', 'b')");

    let began = Instant::now();
    let ran = pair.compare(&[]);
    let took = began.elapsed();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.out.contains("Types: 9999 same, 1 move"), "{}", ran.out);
    // Two seconds on an idle machine. This one may be shared, and the command is not optimised.
    assert!(took < Duration::from_secs(30), "{took:?}");
    println!("a comparison of 10,000 types and 1,000 tables took {took:?}");
}
