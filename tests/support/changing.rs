//! Pools over a database whose types change, and what has to hold after each change.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Upgrade, documents, write_and_read_back};

use crate::support::kinds::Verdict;
use crate::support::pools::{
    HotPool, NOTHING_WRONG, StockPool, hot_pool, on_every_connection, stock_pool, upgrade,
};

pub(crate) const SIZE: u32 = 3;

/// A database whose types change, a protected pool, a connection that is held all the time, and a stock pool.
pub(crate) struct Changing {
    pub(crate) upgrade: Upgrade,
    pub(crate) hot: HotPool,
    pub(crate) held: PgConnection,
    pub(crate) stock: StockPool,
    pub(crate) used: fn(&mut PgConnection) -> Verdict,
}

impl Changing {
    /// Pools that have used the types that `prepare` created.
    pub(crate) fn start(prepare: &str, used: fn(&mut PgConnection) -> Verdict) -> Self {
        let upgrade = upgrade();
        upgrade.run_on(upgrade.old, prepare).expect("types");
        let hot = hot_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
        let stock = stock_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
        assert_eq!(on_every_connection(&hot, used), NOTHING_WRONG);
        assert_eq!(on_every_connection(&stock, used), NOTHING_WRONG);
        let mut held = PgConnection::establish(&upgrade.url()).expect("a connection");
        assert_eq!(verified(&mut held, used), Ok(()));
        Changing { upgrade, hot, held, stock, used }
    }

    pub(crate) fn run(&self, sql: &str) {
        self.upgrade.run_on(self.upgrade.old, sql).expect(sql);
    }

    /// The next checkout of each protected connection is right after `sql`, and so is the next verified transaction of
    /// the one that is held; no stock connection is.
    pub(crate) fn survives(&mut self, sql: &str) {
        self.run(sql);
        assert_eq!(verified(&mut self.held, self.used), Ok(()), "after {sql}");
        assert_eq!(on_every_connection(&self.hot, self.used), NOTHING_WRONG, "after {sql}");
        assert_eq!(on_every_connection(&self.stock, self.used).len(), SIZE as usize, "the control, after {sql}");
    }
}

/// What went wrong in a verified transaction.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong(pub(crate) String);

impl From<diesel::result::Error> for Wrong {
    fn from(error: diesel::result::Error) -> Self {
        Wrong(error.to_string())
    }
}

pub(crate) fn verified(conn: &mut PgConnection, used: fn(&mut PgConnection) -> Verdict) -> Result<(), Wrong> {
    conn.hot_transaction(|conn| used(conn).map_err(Wrong))
}

pub(crate) fn documents(conn: &mut PgConnection) -> Verdict {
    write_and_read_back(conn, 7)?;
    diesel::delete(documents::table).execute(conn).map(drop).map_err(|error| error.to_string())
}

pub(crate) fn schema(name: &str) -> String {
    format!(
        "CREATE SCHEMA {name}; CREATE TYPE {name}.mood AS ENUM ('happy');
         CREATE TABLE {name}.moods (id int8, mood {name}.mood);"
    )
}
