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
