//! A thousand tables and ten thousand types.

use std::time::{Duration, Instant};

use testbed::{Cluster, Forwarder};

use crate::support::{Database, Pair, run};

/// Ten types for each table.
fn create(name: &str, tables: u32) -> Pair {
    let cluster = Cluster::shared(18);
    let old = Database::create(cluster, name);
    // In turns: each statement of a block takes locks, of which a transaction can't have that many.
    for first in (0..tables).step_by(100) {
        let last = (first + 100).min(tables) - 1;
        old.execute(&format!(
            "DO $$ BEGIN FOR i IN {first}0..{last}9 LOOP
                EXECUTE format('CREATE TYPE type_%s AS ENUM (''a'', ''b'')', i);
             END LOOP; END $$"
        ));
        old.execute(&format!(
            "DO $$ BEGIN FOR i IN {first}..{last} LOOP
                EXECUTE format('CREATE TABLE table_%s (id serial PRIMARY KEY, a type_%s, b type_%s[], c text)', i, i, 10 * i);
             END LOOP; END $$"
        ));
    }
    let mut client = cluster.client("postgres").expect("a connection");
    client.batch_execute(&format!("CREATE DATABASE {name}_copy TEMPLATE {name}")).expect("a copy");
    let pair = Pair { old, new: Database { cluster, name: format!("{name}_copy") } };
    let last = 10 * tables - 1;
    pair.new.execute(&format!("DROP TYPE type_{last}; CREATE TYPE type_{last} AS ENUM ('a', 'b')"));
    pair
}

#[test]
fn a_large_catalog_takes_a_few_seconds() {
    let (small, large) = (create("cli_small", 100), create("cli_large", 1000));
    // The best of several: the machine may be shared.
    let took = |pair: &Pair, same: &str| -> Duration {
        let times = (0..3).map(|_| {
            let began = Instant::now();
            let ran = pair.compare(&[]);
            assert_eq!(ran.code, Some(1), "{}", ran.err);
            assert!(ran.out.contains(&format!("Types: {same} same, 1 move")), "{}", ran.out);
            began.elapsed()
        });
        times.min().expect("three times")
    };
    let [of_small, of_large] = [took(&small, "999"), took(&large, "9999")];
    println!("1,000 types and 100 tables took {of_small:?}, 10,000 types and 1,000 tables {of_large:?}");
    // What grows with the square takes a hundred times as long.
    assert!(of_large < 30 * of_small, "{of_small:?} and {of_large:?}");
}

/// However large the catalog: over a slow network, the round trips are what takes the time.
#[test]
fn a_large_catalog_takes_few_round_trips_and_shows_its_progress() {
    let asked = |pair: &Pair| {
        let forwarder = Forwarder::start(pair.old.cluster.address()).expect("a forwarder");
        forwarder.delay(Duration::from_millis(60));
        let [old, new] = [&pair.old, &pair.new].map(|one| one.cluster.url_at(forwarder.address(), &one.name));
        let ran = run(&["compare", &old, &new]);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        (forwarder.round_trips(), ran.err)
    };
    let ((of_small, _), (of_large, progress)) =
        (asked(&create("cli_few", 10)), asked(&create("cli_few_large", 200)));
    // The values behind sequences are asked for a hundred tables at once.
    assert!(of_large <= of_small + 2, "{of_small} and {of_large}");
    let is_progress =
        |line: &str| line.contains(" s: reading the ") && line.ends_with(" …") && line.chars().count() <= 80;
    assert!(!progress.is_empty() && progress.lines().all(is_progress), "{progress}");
}
