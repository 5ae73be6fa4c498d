//! Every version of PostgreSQL understands this crate's statements.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::{migrate, write_and_read_back};
use testbed::{Cluster, MAJORS};

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
        conn.batch_execute("CREATE TYPE \"Odd, \"\"na.me\" AS (\"A\" int, b text)").expect("a composite");
        let outcome = synchronize(&mut conn);
        let Ok(Outcome::Changed(change)) = outcome else { panic!("{major}: a new type: {outcome:?}") };
        assert_eq!(change.to().version() / 10_000, i32::try_from(major).expect("small"));
        assert_eq!(write_and_read_back(&mut conn, 1), Ok(()), "{major}");
    }
}

#[test]
fn the_server_plans_the_question_of_a_checkout_only_a_few_times() {
    for major in MAJORS {
        let server = Cluster::start(major).expect("a server");
        server.create_database("app").expect("a database");
        migrate(&server.url("app")).expect("migrations");
        let mut conn = PgConnection::establish(&server.url("app")).expect("a connection");
        conn.batch_execute("LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0")
            .expect("plans in the log");
        for _ in 0..20 {
            synchronize(&mut conn).expect("nothing changed");
        }
        let log = server.log().expect("a log");
        let plans = log.split("Query Text: ").skip(1).filter(|plan| plan.contains("probe */ SELECT 1 WHERE"));
        let (kept, made): (Vec<_>, Vec<_>) = plans.partition(|plan| plan.contains("$4"));
        assert!(made.len() <= 5 && kept.len() >= 13, "{major}: {} made, {} kept", made.len(), kept.len());
    }
}
