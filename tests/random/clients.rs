//! Who uses the servers: pools that ask at checkouts, pools with a window, connections that are held, and the control.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_postgres_hot_upgrade::Verify;

use crate::model::{Catalog, DEFAULT_PATH, Path};
use crate::promises::Use;
use crate::sites::{AnyError, DATABASE, Sites};
use crate::steps::Findings;
use crate::support::drivers::{self, Driver, Kind, Options, Session};

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
    Pooled(drivers::Pool),
    Held(drivers::Connection),
}

/// A connection in use.
pub(crate) enum Checkout<'a> {
    Pooled(Box<drivers::Checkout>),
    Held(&'a mut drivers::Connection),
}

impl Client {
    /// One of each kind.
    pub(crate) fn all(driver: Driver, sites: &Sites) -> Result<Vec<Client>, AnyError> {
        let (cached, uncached) = (CacheSize::Unbounded, CacheSize::Disabled);
        let new = |name, by, direct, url: &_, cache| Self::new(driver, name, by, direct, url, cache);
        let pooler = sites.pgbouncer.url(DATABASE);
        let direct = sites.all[0].cluster.url(DATABASE);
        Ok(vec![
            new("checkouts", Use::Verified, None, &pooler, cached)?,
            new("checkouts without a statement cache", Use::Verified, None, &pooler, uncached)?,
            new("window", Use::Window, None, &pooler, cached)?,
            new("held", Use::Held, None, &pooler, cached)?,
            new("held without a statement cache", Use::Held, None, &pooler, uncached)?,
            new("checkouts, directly", Use::Verified, Some(0), &direct, cached)?,
            new("window, directly", Use::Window, Some(0), &direct, cached)?,
            new("held, directly", Use::Held, Some(0), &direct, cached)?,
            new("stock", Use::Stock, None, &pooler, cached)?,
        ])
    }

    fn new(
        driver: Driver,
        name: &'static str,
        by: Use,
        direct: Option<usize>,
        url: &str,
        cache: CacheSize,
    ) -> Result<Client, AnyError> {
        let verify = if by == Use::Window { Verify::AtMostEvery(WINDOW) } else { Verify::EveryCheckout };
        let kind = if by == Use::Stock { Kind::Stock } else { Kind::Hot };
        let options = Options { kind, cache, verify, ..Options::HOT };
        let source = match by {
            Use::Held => Source::Held(driver.try_connect(url, options)?),
            _ => Source::Pooled(driver.pool(url, 1, options)),
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

impl Source {
    pub(crate) fn check_out(&mut self) -> Result<Checkout<'_>, String> {
        Ok(match self {
            Source::Pooled(pool) => Checkout::Pooled(Box::new(pool.get()?)),
            Source::Held(conn) => Checkout::Held(conn),
        })
    }
}

impl Checkout<'_> {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Checkout::Pooled(conn) => conn.session(),
            Checkout::Held(conn) => conn.session(),
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
    pub(crate) fn notice_session(&mut self, conn: &mut Session<'_>) -> QueryResult<()> {
        let now = conn.get(diesel::select(sql::<Integer>("pg_catalog.pg_backend_pid()")))?;
        if self.session.replace(now) != Some(now) {
            self.path = DEFAULT_PATH;
            self.temporary = Catalog::default();
        }
        Ok(())
    }
}
