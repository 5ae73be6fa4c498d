//! Every statement, on every major version.

use testbed::{Cluster, MAJORS};

use crate::support::{Database, run};

#[test]
fn every_major_version_can_be_asked() {
    let databases: Vec<_> = MAJORS.map(|major| Database::create(Cluster::shared(major), "cli_majors")).collect();
    for database in &databases {
        database.execute(
            "CREATE TYPE mood AS ENUM ('happy');
             CREATE TYPE pair AS (a mood, b text COLLATE \"C\");
             CREATE TYPE span AS RANGE (subtype = int4);
             CREATE DOMAIN code AS varchar(3) CHECK (VALUE <> '');
             CREATE TABLE t (id serial PRIMARY KEY, pair pair, span span, code code);
             INSERT INTO t (code) VALUES ('a');
             SELECT lo_create(0)",
        );
    }
    for two in databases.windows(2) {
        let ran = run(&["compare", "--json", &two[0].url(), &two[1].url()]);
        let majors = [two[0].cluster.major(), two[1].cluster.major()];
        let json: serde_json::Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{majors:?}: {ran:?}"));
        assert_eq!(json["unseen"], serde_json::json!([]), "{majors:?}");
        // From 14 on, a range has a multirange.
        let count = if majors[0] >= 14 { 5 } else { 4 };
        let types = json["types"].as_array().expect("types");
        assert_eq!(types.len(), count, "{majors:?}");
        assert!(types.iter().all(|ty| ty["differences"] == serde_json::json!([])), "{majors:?}: {types:#?}");
        assert!(ran.code < Some(2), "{majors:?}: {}", ran.out);
        let ran = run(&["types", "--json", &two[1].url()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}
