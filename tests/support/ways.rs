//! The ways in which an application keeps its connections, side by side on one address.

use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::r2d2::Pool;
use diesel::sql_types::HasSqlType;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, Verify, synchronize};
use testbed::{Cluster, PgBouncer};

use crate::support::diverging::{DATABASE, connect};
use crate::support::meaning::{Label, Named, Verdict, is_wrong, plain, verified};

pub(crate) type HotPool = Pool<HotUpgradeManager>;

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

/// A pool of one connection.
fn pool(url: &str, verify: Verify) -> HotPool {
    pool_of(1, HotUpgradeManager::new(url).verify(verify))
}

/// A pool that waits rather than fails if the machine is busy.
pub(crate) fn pool_of(size: u32, manager: HotUpgradeManager) -> HotPool {
    Pool::builder()
        .max_size(size)
        .connection_timeout(Duration::from_secs(60))
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(manager)
        .expect("a pool")
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Verified transactions on a connection that is in no pool.
    Held,
    /// Verified transactions, each after a checkout that asks nothing.
    InAWindow,
    /// Verified transactions, each after a checkout that asks.
    Verified,
    /// Plain statements, each after a checkout that asks.
    Plain,
}

pub(crate) const ALL: [Way; 4] = [Way::Held, Way::InAWindow, Way::Verified, Way::Plain];

/// Who uses a database in one way.
pub(crate) struct Client {
    way: Way,
    connection: Connection,
}

enum Connection {
    Own(Box<PgConnection>),
    Pooled(HotPool),
}

impl Client {
    /// Knows the server that answers.
    pub(crate) fn connect(way: Way, url: &str) -> Self {
        let connection = match way {
            Way::Held => {
                let mut conn = connect(url);
                synchronize(&mut conn).expect("a first look");
                Connection::Own(Box::new(conn))
            }
            Way::InAWindow => Connection::Pooled(pool(url, Verify::AtMostEvery(HOUR))),
            Way::Verified | Way::Plain => Connection::Pooled(pool(url, Verify::EveryCheckout)),
        };
        let mut client = Client { way, connection };
        // The first transaction may find out more than those that follow.
        let begun = client.with(|conn| conn.hot_transaction(|_| QueryResult::Ok(())));
        assert_eq!(begun, Ok(Ok(())));
        client
    }

    pub(crate) fn ask<ST: Named>(&mut self) -> Verdict
    where
        Pg: HasSqlType<ST>,
    {
        let ask = if self.way == Way::Plain { plain::<ST> } else { verified::<ST> };
        self.with(ask)?
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut PgConnection) -> T) -> Result<T, String> {
        match &mut self.connection {
            Connection::Own(conn) => Ok(work(conn)),
            Connection::Pooled(pool) => {
                let mut conn = pool.get().map_err(|error| format!("checkout: {error}"))?;
                Ok(work(&mut conn))
            }
        }
    }
}

/// All of them. Each has its own connection: what heals one helps no other.
pub(crate) struct Ways {
    clients: [Client; 4],
    stock: PgConnection,
}

impl Ways {
    /// All of them know the server that answers.
    pub(crate) fn connect(url: &str) -> Self {
        Ways { clients: ALL.map(|way| Client::connect(way, url)), stock: connect(url) }
    }

    /// What is wrong, each with the way in which it went wrong.
    pub(crate) fn wrong<ST: Named>(&mut self) -> Vec<String>
    where
        Pg: HasSqlType<ST>,
    {
        let clients = self.clients.iter_mut();
        let wrong = clients.filter_map(|client| {
            let problem = client.ask::<ST>().err()?;
            Some(format!("{:?}: {problem}", client.way))
        });
        wrong.collect()
    }

    /// The control: a stock connection that stays open.
    pub(crate) fn stock<ST: Named>(&mut self) -> Verdict
    where
        Pg: HasSqlType<ST>,
    {
        plain::<ST>(&mut self.stock)
    }

    /// Switches from one server to the next. Each time all ways are right, and the stock connection is wrong unless it
    /// is back on the first.
    pub(crate) fn visit(&mut self, pgbouncer: &PgBouncer, first: &Cluster, next: &[&Cluster]) {
        assert_eq!(self.wrong::<Label>(), [""; 0], "before the switch");
        assert_eq!(self.stock::<Label>(), Ok(()), "before the switch");
        for (number, server) in next.iter().enumerate() {
            pgbouncer.switch(DATABASE, &server.target(DATABASE)).expect("a switch");
            let control = self.stock::<Label>();
            assert_eq!(is_wrong(&control), server.address() != first.address(), "{control:?}");
            assert_eq!(self.wrong::<Label>(), [""; 0], "after switch {number}");
            assert_eq!(self.wrong::<Label>(), [""; 0], "again after switch {number}");
        }
    }
}
