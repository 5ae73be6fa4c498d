//! A table in a database of a test's own, and an address at which its connections can be cut. What is counted and logged
//! belongs to the process, so one of these tests at a time.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool};
use diesel::result::Error;
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{HotTransactionError, HotUpgradeManager, HotUpgradePool};
use fixture::builder;
use testbed::{Cluster, Cutter};

use crate::support::events::record_log;

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    record_log();
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table `items` in a database of the test's own, whose key is unique at COMMIT.
pub(crate) struct Setting {
    pub(crate) server: &'static Cluster,
    pub(crate) database: String,
    pub(crate) cutter: Cutter,
}

impl Setting {
    pub(crate) fn start(name: &str) -> Self {
        Setting::on(Cluster::shared(12), name)
    }

    pub(crate) fn on(server: &'static Cluster, name: &str) -> Self {
        let database = format!("{name}_{}", std::process::id());
        server.create_database(&database).expect("a database");
        let cutter = Cutter::start(server.address()).expect("a cutter");
        let setting = Setting { server, database, cutter };
        setting.administer("CREATE TABLE items (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
        setting
    }

    pub(crate) fn administer(&self, sql: &str) {
        self.server.client(&self.database).expect("a server").batch_execute(sql).expect("SQL");
    }

    pub(crate) fn count(&self) -> i64 {
        let mut client = self.server.client(&self.database).expect("a server");
        client.query_one("SELECT count(*) FROM items", &[]).expect("a count").get(0)
    }

    pub(crate) fn url(&self) -> String {
        self.server.url_at(self.cutter.address(), &self.database)
    }

    pub(crate) fn pool(&self, size: u32) -> Pool<HotUpgradeManager> {
        builder(size).build(HotUpgradeManager::new(self.url())).expect("a pool")
    }
}

pub(crate) fn add(conn: &mut PgConnection, id: i32) -> QueryResult<usize> {
    sql_query(format!("INSERT INTO items VALUES ({id})")).execute(conn)
}

/// An error type that says nothing of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    ByRule,
    ByDatabase,
}

impl From<Error> for Refused {
    fn from(_: Error) -> Self {
        Refused::ByDatabase
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

pub(crate) fn runs_of<T, E: From<Error>, M: ManageConnection<Connection = PgConnection>>(
    pool: &Pool<M>,
    mut closure: impl FnMut(&mut PgConnection, usize) -> Result<T, E>,
) -> (Result<T, HotTransactionError<E>>, usize) {
    let mut runs = 0;
    let result = pool.hot_transaction(|conn| {
        runs += 1;
        closure(conn, runs)
    });
    (result, runs)
}
