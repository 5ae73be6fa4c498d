//! The three pools that are compared, and how each runs a transaction.

use std::ops::DerefMut;
use std::time::Duration;

use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, ManageConnection, NopErrorHandler, Pool};
use diesel::result::QueryResult;
use diesel_postgres_hot_upgrade::{
    HotTransactionError, HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, HotUpgradePool, Verify,
};

use crate::args::Pooler;

/// How often a connection of `verified` is asked at checkout. Its transactions ask for themselves.
const WINDOW: Duration = Duration::from_secs(10);

/// Longer than any switch, shorter than anybody's patience.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Stock,
    Checkout,
    Verified,
}

impl Subject {
    /// In the order of the table's columns.
    pub(crate) const ALL: [Subject; 3] = [Subject::Stock, Subject::Checkout, Subject::Verified];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Stock => "stock",
            Subject::Checkout => "checkout",
            Subject::Verified => "verified",
        }
    }

    /// What the application is made of.
    pub(crate) fn description(self, pooler: Pooler) -> &'static str {
        match self {
            Subject::Verified if pooler.is_cut() => "HotUpgradeManager asks every 10 s, pool.hot_transaction",
            Subject::Stock => "ConnectionManager, conn.transaction",
            Subject::Checkout => "HotUpgradeManager asks at every checkout, conn.transaction",
            Subject::Verified => "HotUpgradeManager asks every 10 s, conn.hot_transaction",
        }
    }
}

/// A pool of one of them.
pub(crate) struct SubjectPool {
    pub(crate) subject: Subject,
    /// Does a switch cut connections?
    is_cut: bool,
    pool: Kind,
}

enum Kind {
    Stock(Pool<ConnectionManager<PgConnection>>),
    Protected(Pool<HotUpgradeManager>),
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A connection that goes back to its pool when dropped.
pub(crate) type Checkout = Box<dyn DerefMut<Target = PgConnection>>;

impl SubjectPool {
    pub(crate) fn connect(
        subject: Subject,
        url: &str,
        size: u32,
        pooler: Pooler,
    ) -> Result<Self, diesel::r2d2::PoolError> {
        let pool = match subject {
            Subject::Stock => Kind::Stock(builder(size).build(ConnectionManager::new(url))?),
            Subject::Checkout => Kind::Protected(protected(size, HotUpgradeManager::new(url))?),
            Subject::Verified => {
                let manager = HotUpgradeManager::new(url).verify(Verify::AtMostEvery(WINDOW));
                Kind::Protected(protected(size, manager)?)
            }
        };
        Ok(SubjectPool { subject, is_cut: pooler.is_cut(), pool })
    }

    /// Does the pool run transactions, and not one connection of it?
    pub(crate) fn is_whole(&self) -> bool {
        self.subject == Subject::Verified && self.is_cut
    }

    /// Runs `work` in a transaction of the pool, again on another connection if its own is lost.
    pub(crate) fn transact_on_pool<T>(
        &self,
        work: impl FnMut(&mut PgConnection) -> QueryResult<T>,
    ) -> Result<T, HotTransactionError> {
        match &self.pool {
            Kind::Stock(pool) => pool.hot_transaction(work),
            Kind::Protected(pool) => pool.hot_transaction(work),
        }
    }

    /// Lets every connection look up its types and prepare its statements, as those of a running application have.
    pub(crate) fn warm_up(
        &self,
        mut use_once: impl FnMut(&mut PgConnection) -> QueryResult<bool>,
    ) -> Result<(), AnyError> {
        let size = match &self.pool {
            Kind::Stock(pool) => pool.max_size(),
            Kind::Protected(pool) => pool.max_size(),
        };
        let mut checked_out = (0..size).map(|_| self.checkout()).collect::<Result<Vec<_>, _>>()?;
        for conn in &mut checked_out {
            self.transact(conn, &mut use_once)?;
        }
        Ok(())
    }

    pub(crate) fn checkout(&self) -> Result<Checkout, diesel::r2d2::PoolError> {
        match &self.pool {
            Kind::Stock(pool) => Ok(Box::new(pool.get()?)),
            Kind::Protected(pool) => Ok(Box::new(pool.get()?)),
        }
    }

    /// Runs `work` in the subject's kind of transaction: once, or again where the subject sees fit.
    pub(crate) fn transact<T>(
        &self,
        conn: &mut PgConnection,
        work: impl FnMut(&mut PgConnection) -> QueryResult<T>,
    ) -> QueryResult<T> {
        match self.subject {
            Subject::Stock | Subject::Checkout => conn.transaction(work),
            Subject::Verified => conn.hot_transaction(work),
        }
    }
}

fn protected(size: u32, manager: HotUpgradeManager) -> Result<Pool<HotUpgradeManager>, diesel::r2d2::PoolError> {
    builder(size).connection_customizer(Box::new(HotUpgradeCustomizer::new())).build(manager)
}

fn builder<M: ManageConnection>(size: u32) -> diesel::r2d2::Builder<M> {
    Pool::builder().max_size(size).connection_timeout(CHECKOUT_TIMEOUT).error_handler(Box::new(NopErrorHandler))
}
