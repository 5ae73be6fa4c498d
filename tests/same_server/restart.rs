//! The server restarts and is the same one as before.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::{migrate, write_and_read_back};
use testbed::{Cluster, PgBouncer, PgBouncerConfig};

#[test]
fn a_restart_of_the_same_server_resets_nothing() {
    let mut server = Cluster::start(12).expect("a server of this test's own");
    server.create_database("app").expect("a database");
    migrate(&server.url("app")).expect("migrations");
    let pgbouncer = PgBouncer::start(PgBouncerConfig::default()).expect("a pooler");
    pgbouncer.route("app", &server.target("app")).expect("a route");
    let mut conn = PgConnection::establish(&pgbouncer.url("app")).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));

    server.restart().expect("a restart");

    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert_eq!(write_and_read_back(&mut conn, 2), Ok(()));
}
