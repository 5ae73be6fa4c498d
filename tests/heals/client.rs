//! Who uses a database: connections that are protected in three ways, and the control.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

use crate::scenarios::Scenario;
use crate::site::Site;
use crate::support::pools::{HotPool, hot_pool};
use crate::uses::How;

/// What an application of this crate wraps its work in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    HotTransaction,
    HotQuery,
}

impl In {
    pub(crate) fn run(self, conn: &mut PgConnection, scenario: &Scenario) -> QueryResult<()> {
        match self {
            In::HotTransaction => conn.hot_transaction(|conn| (scenario.used)(conn, How::Plain)),
            In::HotQuery => (scenario.used)(conn, How::HotQuery),
        }
    }
}

/// A protected connection.
pub(crate) enum Client {
    /// It is in no pool, and was asked once.
    Held(Box<PgConnection>),
    /// It is in no pool, and was only used by plain statements so far.
    NeverAsked(Box<PgConnection>),
    /// A pool of one.
    Pooled(HotPool),
    /// It was opened after the change. Behind a pooler that prepares statements, it meets plans that are older.
    Newcomer(Box<PgConnection>),
}

impl Client {
    pub(crate) fn held(site: &Site) -> Client {
        let mut conn = site.connect();
        synchronize(&mut conn).expect("a first look");
        Client::Held(Box::new(conn))
    }

    /// Those that are there before the change.
    pub(crate) fn all(site: &Site) -> Vec<Client> {
        vec![
            Client::held(site),
            Client::NeverAsked(Box::new(site.connect())),
            Client::Pooled(hot_pool(&site.url(), 1, site.way.cache())),
        ]
    }

    pub(crate) fn newcomer(site: &Site) -> Client {
        Client::Newcomer(Box::new(site.connect()))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Client::Held(_) => "held",
            Client::NeverAsked(_) => "never asked",
            Client::Pooled(_) => "pooled",
            Client::Newcomer(_) => "newcomer",
        }
    }

    /// Uses the connection, within a checkout of its own if it is in a pool.
    pub(crate) fn with<T>(&mut self, work: impl FnOnce(&mut PgConnection) -> T) -> T {
        match self {
            Client::Held(conn) | Client::NeverAsked(conn) | Client::Newcomer(conn) => work(conn),
            Client::Pooled(pool) => work(&mut pool.get().expect("a checkout")),
        }
    }
}
