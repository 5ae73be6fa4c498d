//! A catalog of 10,000 tables: errors cost as many round trips and reruns as on a small one. The time is printed.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::counting::{Counting, FAILURES, Failure, PREPARE};
use crate::site::{Site, Way};

const TABLES: usize = 10_000;

/// A transaction may lock a few thousand tables.
const AT_ONCE: usize = 500;

fn create_tables(site: &mut Site) {
    for first in (0..TABLES).step_by(AT_ONCE) {
        site.run(&format!(
            "DO $$BEGIN FOR i IN {first}..{} LOOP
                 EXECUTE format('CREATE TABLE t_%s (id int8, a int4, b bool, c timestamptz)', i);
             END LOOP; END$$",
            first + AT_ONCE - 1
        ));
    }
    site.run("ANALYZE pg_class; ANALYZE pg_attribute; ANALYZE pg_type; ANALYZE pg_proc");
}

/// The median of a failed transaction's time.
fn median(counting: &mut Counting) -> Duration {
    let mut times: Vec<_> = (0..51)
        .map(|_| {
            let start = Instant::now();
            counting.fail(Failure::DivisionByZero);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    text: String,
}

/// How long the server takes to look for recent rows, if there is none.
fn explain(site: &mut Site) -> String {
    let recent = |table: &str| {
        format!(
            "EXISTS (SELECT FROM pg_catalog.{table} t WHERE age(t.xmin) <= age((txid_current() % 4294967296)::text::xid))"
        )
    };
    let any = ["pg_type", "pg_attribute", "pg_class", "pg_proc"].map(recent).join(" OR ");
    let plan: Vec<Line> =
        diesel::sql_query(format!("EXPLAIN ANALYZE SELECT {any}")).load(site.owner()).expect("a plan");
    plan.last().expect("a last line").text.clone()
}

#[test]
fn errors_on_a_large_catalog_cost_as_many_round_trips_and_reruns() {
    let mut site = Site::start(Way::Direct);
    site.run(PREPARE);
    let mut counting = Counting::connect(&site);
    println!(
        "small catalog: {:?} a failed transaction; a look at xmin: {}",
        median(&mut counting),
        explain(&mut site)
    );

    create_tables(&mut site);
    let mut counting = Counting::connect(&site);
    println!(
        "{TABLES} tables: {:?} a failed transaction; a look at xmin: {}",
        median(&mut counting),
        explain(&mut site)
    );
    counting.closures = 0;
    let before = counting.round_trips();
    for time in 0..200 {
        counting.fail(FAILURES[time % FAILURES.len()]);
    }
    let round_trips = counting.round_trips() - before;
    assert!(counting.closures <= 200 + 8, "{} closures", counting.closures);
    assert!(round_trips <= 200 * 4 + 80, "{round_trips} round trips");
}
