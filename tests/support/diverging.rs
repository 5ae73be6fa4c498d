//! Servers that were one, and on which a name then means different types: what it means on one is another type on the
//! others.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Oid, Text};
use diesel_postgres_hot_upgrade::synchronize;
use testbed::{Cluster, PgBouncer, PgBouncerConfig};

/// The database of these servers.
pub(crate) const DATABASE: &str = "app";

/// Room for what a type takes besides its OID.
const DISTANCE: u32 = 50;

/// What `label` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Enum,
    /// The type of a table's rows, of which no snapshot knows.
    RowType,
}

impl Kind {
    pub(crate) fn create(self, name: &str) -> String {
        match self {
            Kind::Enum => format!("CREATE TYPE {name} AS ENUM ('x')"),
            Kind::RowType => format!("CREATE TABLE {name} ()"),
        }
    }
}

pub(crate) fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("a connection")
}

pub(crate) fn session(server: &Cluster) -> PgConnection {
    connect(&server.url(DATABASE))
}

/// A server with a database that has a type.
pub(crate) fn original(major: u32) -> Cluster {
    let server = Cluster::start(major).expect("a server of this test's own");
    server.create_database(DATABASE).expect("a database");
    session(&server).batch_execute("CREATE TYPE known AS ENUM ('x')").expect("a type");
    server
}

/// A server and file copies of it.
pub(crate) fn copies<const COUNT: usize>() -> [Cluster; COUNT] {
    let mut original = original(12);
    original.stop().expect("a stop");
    let copies: Vec<_> = (1..COUNT).map(|_| Cluster::copy_of(&original).expect("a copy")).collect();
    original.restart().expect("a restart");
    let servers: Vec<_> = std::iter::once(original).chain(copies).collect();
    servers.try_into().expect("as many as were made")
}

/// A pooler with one server connection, whose clients find a server soon after it is back.
pub(crate) fn pooler(server: &Cluster) -> PgBouncer {
    let extra = vec![("server_login_retry".to_owned(), "0.1".to_owned())];
    let config = PgBouncerConfig { default_pool_size: 1, extra, ..PgBouncerConfig::default() };
    let pgbouncer = PgBouncer::start(config).expect("a pooler");
    pgbouncer.route(DATABASE, &server.target(DATABASE)).expect("a route");
    pgbouncer
}

/// Lets the process know the servers.
pub(crate) fn know(servers: &[&Cluster]) {
    for server in servers {
        synchronize(&mut session(server)).expect("a first look");
    }
}

/// Creates `label` on each of the servers. The OID that it has on one names `other_…` on all others.
pub(crate) fn diverge(sessions: &mut [PgConnection], kind: Kind) {
    let label = kind.create("label");
    diverge_with(sessions, kind, &label);
}

/// The same, where `label` is created by this statement on the first.
pub(crate) fn diverge_with(sessions: &mut [PgConnection], kind: Kind, label_of_the_first: &str) {
    let count = sessions.len() as u32;
    let newest = sessions.iter_mut().map(|conn| draw(conn, 1)).max().expect("a server");
    let place = |of: u32| newest + DISTANCE * (of + 10);
    for (here, conn) in (0..).zip(sessions) {
        for of in 0..count {
            let create = match (here, of) {
                (0, 0) => label_of_the_first.to_owned(),
                _ if here == of => kind.create("label"),
                _ => kind.create(&format!("other_{of}")),
            };
            let name = if here == of { "label".to_owned() } else { format!("other_{of}") };
            create_at(conn, &create, &name, place(of));
        }
    }
}

/// Creates a type that takes this OID.
fn create_at(conn: &mut PgConnection, create: &str, name: &str, wanted: u32) {
    let mut drawn = draw(conn, 1);
    for _ in 0..5 {
        let mut took = 0;
        let created = conn.transaction(|conn| {
            conn.batch_execute(create)?;
            took = oid_of(conn, name)?;
            if took == wanted { Ok(()) } else { Err(Error::RollbackTransaction) }
        });
        if created.is_ok() {
            return;
        }
        assert!(drawn < took && took < wanted, "{create}: {created:?}, {took} in place of {wanted}");
        // What it draws before its own.
        let first = wanted - (took - drawn);
        drawn = draw(conn, 1);
        assert!(drawn <= first, "{create}: {drawn} is beyond {first}");
        if drawn < first {
            drawn = draw(conn, first - drawn);
        }
    }
    panic!("{create}: the OID {wanted} is taken");
}

pub(crate) fn oid_of(conn: &mut PgConnection, name: &str) -> QueryResult<u32> {
    diesel::select(sql::<Oid>("to_regtype(").bind::<Text, _>(name).sql(")::oid")).get_result(conn)
}

/// Draws so many OIDs, and returns the last. What they were drawn for is rolled back; the counter is not.
fn draw(conn: &mut PgConnection, count: u32) -> u32 {
    let mut last = 0;
    let _ = conn.transaction::<(), _, _>(|conn| {
        let sql = format!("SELECT max(lo_create(0)) AS last FROM generate_series(1, {count})");
        last = diesel::sql_query(sql).get_result::<Drawn>(conn)?.last;
        Err(Error::RollbackTransaction)
    });
    assert_ne!(last, 0, "no OID was drawn");
    last
}

#[derive(QueryableByName)]
struct Drawn {
    #[diesel(sql_type = Oid)]
    last: u32,
}
