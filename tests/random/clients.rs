//! Who uses the servers: pools that ask at checkouts, pools with a window, connections that are held, and the control.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{
    ConnectionManager, CustomizeConnection, Error, NopConnectionCustomizer, Pool, PooledConnection,
};
use diesel::sql_types::Integer;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, Verify};
use fixture::builder;

use crate::model::{Catalog, DEFAULT_PATH, Path};
use crate::promises::Use;
use crate::sites::{AnyError, DATABASE, Sites};
use crate::steps::Findings;

const WINDOW: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) by: Use,
    /// The server that it is connected to without a pooler.
    pub(crate) direct: Option<usize>,
    pub(crate) memory: Memory,
    pub(crate) source: Source,
}

/// What the model knows of a client.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The session's path and its temporary types, if it has a session of its own.
    pub(crate) path: Path,
    pub(crate) temporary: Catalog,
    /// Which OIDs were right for a key.
    pub(crate) seen: BTreeMap<(usize, u32), Seen>,
    /// Names that were used in a transaction that created them and was rolled back.
    pub(crate) rolled_back: BTreeSet<&'static str>,
    session: Option<i32>,
    /// The server that answered when it was last asked, and the keys that were looked up on others since, unasked.
    asked_on: Option<usize>,
    pub(crate) strayed: BTreeSet<usize>,
}

/// Where and when a bind was right: its server, its path, and the action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) site: usize,
    pub(crate) path: Path,
    pub(crate) action: u64,
}

pub(crate) enum Source {
    Hot(Pool<HotUpgradeManager>),
    Stock(Pool<ConnectionManager<PgConnection>>),
    Held(Box<PgConnection>),
}

/// A connection in use.
pub(crate) enum Checkout<'a> {
    Hot(PooledConnection<HotUpgradeManager>),
    Stock(PooledConnection<ConnectionManager<PgConnection>>),
    Held(&'a mut PgConnection),
}

impl Client {
    /// One of each kind.
    pub(crate) fn all(sites: &Sites) -> Result<Vec<Client>, AnyError> {
        let (cached, uncached) = (CacheSize::Unbounded, CacheSize::Disabled);
        let pooler = sites.pgbouncer.url(DATABASE);
        let direct = sites.all[0].cluster.url(DATABASE);
        Ok(vec![
            Self::new("checkouts", Use::Verified, None, &pooler, cached)?,
            Self::new("checkouts without a statement cache", Use::Verified, None, &pooler, uncached)?,
            Self::new("window", Use::Window, None, &pooler, cached)?,
            Self::new("held", Use::Held, None, &pooler, cached)?,
            Self::new("held without a statement cache", Use::Held, None, &pooler, uncached)?,
            Self::new("checkouts, directly", Use::Verified, Some(0), &direct, cached)?,
            Self::new("window, directly", Use::Window, Some(0), &direct, cached)?,
            Self::new("held, directly", Use::Held, Some(0), &direct, cached)?,
            Self::new("stock", Use::Stock, None, &pooler, cached)?,
        ])
    }

    fn new(
        name: &'static str,
        by: Use,
        direct: Option<usize>,
        url: &str,
        cache: CacheSize,
    ) -> Result<Client, AnyError> {
        let source = match by {
            Use::Stock => Source::Stock(builder(1).build(ConnectionManager::new(url))?),
            Use::Held => {
                let mut conn = PgConnection::establish(url)?;
                conn.set_prepared_statement_cache_size(cache);
                Source::Held(Box::new(conn))
            }
            Use::Window => Source::Hot(hot_pool(url, Verify::AtMostEvery(WINDOW), cache)?),
            _ => Source::Hot(hot_pool(url, Verify::EveryCheckout, cache)?),
        };
        let memory = Memory {
            path: DEFAULT_PATH,
            temporary: Catalog::default(),
            seen: BTreeMap::new(),
            rolled_back: BTreeSet::new(),
            session: None,
            asked_on: None,
            strayed: BTreeSet::new(),
        };
        Ok(Client { name, by, direct, memory, source })
    }
}

fn hot_pool(url: &str, verify: Verify, cache: CacheSize) -> Result<Pool<HotUpgradeManager>, AnyError> {
    let inner: Box<dyn CustomizeConnection<PgConnection, Error>> = match cache {
        CacheSize::Disabled => Box::new(DisableStatementCache),
        _ => Box::new(NopConnectionCustomizer),
    };
    let customizer = Box::new(HotUpgradeCustomizer::wrap(inner));
    Ok(builder(1).connection_customizer(customizer).build(HotUpgradeManager::new(url).verify(verify))?)
}

#[derive(Debug)]
struct DisableStatementCache;

impl CustomizeConnection<PgConnection, Error> for DisableStatementCache {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(())
    }
}

impl Source {
    pub(crate) fn check_out(&mut self) -> Result<Checkout<'_>, String> {
        let failed = |error| format!("checkout: {error}");
        Ok(match self {
            Source::Hot(pool) => Checkout::Hot(pool.get().map_err(failed)?),
            Source::Stock(pool) => Checkout::Stock(pool.get().map_err(failed)?),
            Source::Held(conn) => Checkout::Held(conn),
        })
    }
}

impl Deref for Checkout<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Checkout::Hot(conn) => conn,
            Checkout::Stock(conn) => conn,
            Checkout::Held(conn) => conn,
        }
    }
}

impl DerefMut for Checkout<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Checkout::Hot(conn) => conn,
            Checkout::Stock(conn) => conn,
            Checkout::Held(conn) => conn,
        }
    }
}

impl Memory {
    /// The keys that were bound.
    pub(crate) fn used(&self) -> BTreeSet<usize> {
        self.seen.keys().map(|(key, _)| *key).collect()
    }

    /// Notes which server was asked, or which keys were bound on another one without a question.
    pub(crate) fn notice_use(&mut self, site: usize, findings: &Findings, is_asked: bool) {
        if is_asked {
            if self.asked_on.replace(site) != Some(site) {
                self.strayed.clear();
            }
        } else if self.asked_on.is_some_and(|asked_on| asked_on != site) {
            self.strayed.extend(findings.answers.iter().map(|found| found.ask.key));
        }
    }

    /// A pool may have replaced a connection, and with it what was the session's own.
    pub(crate) fn notice_session(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let now = diesel::select(sql::<Integer>("pg_catalog.pg_backend_pid()")).get_result(conn)?;
        if self.session.replace(now) != Some(now) {
            self.path = DEFAULT_PATH;
            self.temporary = Catalog::default();
        }
        Ok(())
    }
}
