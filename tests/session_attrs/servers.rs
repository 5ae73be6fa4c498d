//! A primary, its standby, and a database of the primary in which sessions are read-only by default.

use std::sync::{LazyLock, Mutex};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::TargetSessionAttrs;
use testbed::{Cluster, PgBouncer, Target};

use crate::support::diverging::{DATABASE, original, pooler, session};

pub(crate) const ALL: [TargetSessionAttrs; 5] = [
    TargetSessionAttrs::Any,
    TargetSessionAttrs::ReadWrite,
    TargetSessionAttrs::ReadOnly,
    TargetSessionAttrs::Primary,
    TargetSessionAttrs::Standby,
];

/// Sessions of this database are read-only by default.
const READ_ONLY: &str = "read_only";

/// One of the kinds of servers that a value distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Primary,
    Standby,
    ReadOnlyPrimary,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Primary, Kind::Standby, Kind::ReadOnlyPrimary];

impl Kind {
    pub(crate) fn url(self) -> String {
        self.target().0
    }

    fn target(self) -> (String, Target) {
        let (server, database) = match self {
            Kind::Primary => (&SERVERS.0, DATABASE),
            Kind::Standby => (&SERVERS.1, DATABASE),
            Kind::ReadOnlyPrimary => (&SERVERS.0, READ_ONLY),
        };
        (server.url(database), server.target(database))
    }

    /// What an error says of it.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Kind::Primary => "the server that answered is a primary that takes writes, PostgreSQL 12.",
            Kind::Standby => "the server that answered is in recovery (a standby), PostgreSQL 12.",
            Kind::ReadOnlyPrimary => {
                "the server that answered is a primary with default_transaction_read_only = on, PostgreSQL 12."
            }
        }
    }

    pub(crate) fn fits(self, attrs: TargetSessionAttrs) -> bool {
        match attrs {
            TargetSessionAttrs::ReadWrite => self == Kind::Primary,
            TargetSessionAttrs::ReadOnly => self != Kind::Primary,
            TargetSessionAttrs::Primary => self != Kind::Standby,
            TargetSessionAttrs::Standby => self == Kind::Standby,
            _ => true,
        }
    }
}

/// Shared by the tests that only read.
static SERVERS: LazyLock<(Cluster, Cluster)> = LazyLock::new(|| {
    let (primary, standby) = with_standby(12);
    primary.create_database(READ_ONLY).expect("a database");
    let set = format!("ALTER DATABASE {READ_ONLY} SET default_transaction_read_only = on");
    session(&primary).batch_execute(&set).expect("a setting");
    standby.catch_up_with(&primary).expect("a standby that follows");
    (primary, standby)
});

/// A primary with a table `writes`, and a standby that follows it.
pub(crate) fn with_standby(major: u32) -> (Cluster, Cluster) {
    let mut primary = original(major);
    session(&primary).batch_execute("CREATE TABLE writes (n int)").expect("a table");
    primary.stop().expect("a stop");
    let standby = Cluster::standby_of(&primary).expect("a standby");
    primary.restart().expect("a restart");
    standby.catch_up_with(&primary).expect("a standby that follows");
    (primary, standby)
}

/// An address behind which the kind of server changes, while connections stay open.
pub(crate) struct Address {
    pub(crate) pgbouncer: PgBouncer,
    at: Mutex<Kind>,
}

impl Address {
    pub(crate) fn of(kind: Kind) -> Address {
        let pgbouncer = pooler(&SERVERS.0);
        let address = Address { pgbouncer, at: Mutex::new(Kind::Primary) };
        address.lead_to(kind);
        address
    }

    pub(crate) fn lead_to(&self, kind: Kind) {
        let mut at = self.at.lock().expect("no panic");
        if *at != kind {
            self.pgbouncer.switch(DATABASE, &kind.target().1).expect("a switch");
            *at = kind;
        }
    }

    pub(crate) fn url(&self) -> String {
        self.pgbouncer.url(DATABASE)
    }
}

pub(crate) fn write(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO writes VALUES (1)").execute(conn).map(drop)
}

/// Checks out and writes. What went wrong comes back as text.
pub(crate) fn checkout_and_write<M>(pool: &Pool<M>) -> Result<(), String>
where
    M: ManageConnection<Connection = PgConnection>,
{
    let mut conn = pool.get().map_err(|error| format!("checkout: {error}"))?;
    write(&mut conn).map_err(|error| error.to_string())
}
