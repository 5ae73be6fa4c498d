//! Every version of PostgreSQL understands this crate's statements.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::{migrate, write_and_read_back};
use testbed::{Cluster, MAJORS};

use crate::support::freshness::wait_until_stale;

#[test]
fn every_major_version_is_understood() {
    for major in MAJORS {
        let server = Cluster::start(major).expect("a server");
        server.create_database("app").expect("a database");
        migrate(&server.url("app")).expect("migrations");
        let mut conn = PgConnection::establish(&server.url("app")).expect("a connection");

        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)), "{major}: a new connection");
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "{major}: nothing changed");
        conn.batch_execute("CREATE TABLE some_table (id int)").expect("a table");
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "{major}: a table");
        let create = "CREATE TYPE \"Odd, \"\"na.me\" AS (\"A\" int, b text)";
        conn.batch_execute(create).expect("a composite");
        wait_until_stale();
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "{major}: a new type");
        conn.batch_execute(&format!("DROP TYPE \"Odd, \"\"na.me\"; {create}")).expect("another one");
        let outcome = synchronize(&mut conn);
        let Ok(Outcome::Changed(change)) = outcome else { panic!("{major}: another type: {outcome:?}") };
        let moved: Vec<_> = change.moved().iter().map(|moved| moved.name().name()).collect();
        assert_eq!(moved, ["Odd, \"na.me"], "{major}");
        assert_eq!(change.to().version() / 10_000, i32::try_from(major).expect("small"));
        assert_eq!(write_and_read_back(&mut conn, 1), Ok(()), "{major}");
    }
}

/// The constants that a check compares with are decoded when it is planned, which is once for each preparation. (They
/// are converted to text each time: that function is immutable on no version.)
#[test]
fn the_server_plans_a_check_once_and_decodes_its_constants_then() {
    const CHECKS: usize = 20;
    for major in MAJORS {
        let server = Cluster::start(major).expect("a server");
        server.create_database("app").expect("a database");
        migrate(&server.url("app")).expect("migrations");
        let mut conn = PgConnection::establish(&server.url("app")).expect("a connection");
        synchronize(&mut conn).expect("a first look");
        conn.batch_execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_verbose = on",
        )
        .expect("plans in the log");
        for _ in 0..CHECKS {
            synchronize(&mut conn).expect("nothing changed");
        }
        let plans = plans(&server, "hot-upgrade: check */");
        assert!(plans.len() >= CHECKS - 2, "{major}: {} of {CHECKS}", plans.len());
        for plan in plans {
            assert!(plan.contains("pg_postmaster_start_time"), "{major}: a condition is left to compute: {plan}");
            let is_computed = ["decode(", "to_timestamp"].iter().any(|name| plan.contains(name));
            assert!(!is_computed, "{major}: {plan}");
        }

        if major >= 14 {
            let custom =
                "(SELECT max(custom_plans) FROM pg_prepared_statements WHERE statement LIKE '%: check */%')";
            let custom = diesel::select(sql::<Nullable<BigInt>>(custom)).get_result(&mut conn);
            assert_eq!(custom, Ok(Some(0_i64)), "{major}: it has no parameters");
        }

        // The control: the plan shows what is computed when it is executed.
        let control = "/* control */ SELECT 1 WHERE current_setting('search_path') =
            convert_from(decode(left(current_setting('server_version_num'), 0), 'hex'), 'UTF8')";
        conn.batch_execute(control).expect("a query");
        let [control] = &self::plans(&server, "/* control */")[..] else { panic!("{major}: not one plan") };
        assert!(control.contains("convert_from") && control.contains("decode("), "{major}: {control}");
    }
}

/// What `auto_explain` logged of queries whose text has that in it: the plans without the queries.
fn plans(server: &Cluster, tag: &str) -> Vec<String> {
    let log = server.log().expect("a log");
    let explained =
        log.split("Query Text: ").skip(1).filter_map(|explained| explained.split_once("Result  (cost="));
    let plans = explained.filter(|(query, _)| query.contains(tag)).map(|(_, plan)| plan);
    // A line that goes on begins with a tabulator.
    plans.map(|plan| plan.split("\n\t").map(|line| line.lines().next().unwrap_or_default()).collect()).collect()
}
