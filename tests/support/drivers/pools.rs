//! Connections of either driver, and pools of them.

use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, PooledConnection};
use diesel::{Connection as _, ConnectionResult, PgConnection, QueryResult};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_postgres_hot_upgrade::asynchronous::{HotUpgradeAsyncPgConnection, HotUpgradeAsyncPool};
use diesel_postgres_hot_upgrade::{
    HotTransactionError, HotUpgradeCustomizer, HotUpgradeManager, HotUpgradePool, TargetSessionAttrs, Verify,
};
use futures_util::future::BoxFuture;

use crate::support::drivers::session::{Work, options};
use crate::support::drivers::{Begin, Driver, Kind, RUNTIME, Session, wait};

type Hot = HotUpgradeAsyncPgConnection;
type Stock = AsyncPgConnection;

/// How a connection is made, and when a pool checks it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    pub(crate) cache: CacheSize,
    pub(crate) verify: Verify,
    /// Of a protected pool.
    pub(crate) attrs: TargetSessionAttrs,
}

impl Options {
    pub(crate) const HOT: Options = Options {
        kind: Kind::Hot,
        cache: CacheSize::Unbounded,
        verify: Verify::EveryCheckout,
        attrs: TargetSessionAttrs::Any,
    };
    pub(crate) const STOCK: Options = Options { kind: Kind::Stock, ..Options::HOT };
}

/// A connection that is in no pool.
pub(crate) enum Connection {
    Blocking(Box<PgConnection>, Kind),
    Async(Box<Hot>),
    StockAsync(Box<Stock>),
}

#[derive(Clone)]
pub(crate) enum Pool {
    Blocking(diesel::r2d2::Pool<HotUpgradeManager>),
    StockBlocking(diesel::r2d2::Pool<ConnectionManager<PgConnection>>),
    Async(bb8::Pool<AsyncDieselConnectionManager<Hot>>),
    StockAsync(bb8::Pool<AsyncDieselConnectionManager<Stock>>),
}

/// A connection that was taken out of a pool.
pub(crate) struct Checkout(Option<CheckedOut>);

enum CheckedOut {
    Blocking(PooledConnection<HotUpgradeManager>),
    StockBlocking(PooledConnection<ConnectionManager<PgConnection>>),
    Async(bb8::PooledConnection<'static, AsyncDieselConnectionManager<Hot>>),
    StockAsync(bb8::PooledConnection<'static, AsyncDieselConnectionManager<Stock>>),
}

impl Driver {
    pub(crate) fn try_connect(self, url: &str, options: Options) -> ConnectionResult<Connection> {
        Ok(match (self, options.kind) {
            (Driver::Blocking, kind) => {
                let mut conn = PgConnection::establish(url)?;
                conn.set_prepared_statement_cache_size(options.cache);
                Connection::Blocking(Box::new(conn), kind)
            }
            (Driver::Async, Kind::Hot) => {
                let mut conn = wait(Hot::establish(url))?;
                conn.set_prepared_statement_cache_size(options.cache);
                Connection::Async(Box::new(conn))
            }
            (Driver::Async, Kind::Stock) => {
                let mut conn = wait(Stock::establish(url))?;
                conn.set_prepared_statement_cache_size(options.cache);
                Connection::StockAsync(Box::new(conn))
            }
        })
    }

    pub(crate) fn connect(self, url: &str, options: Options) -> Connection {
        self.try_connect(url, options).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// A pool that waits rather than fails if the machine is busy.
    pub(crate) fn pool(self, url: &str, size: u32, options: Options) -> Pool {
        match (self, options.kind) {
            (Driver::Blocking, Kind::Hot) => {
                let customizer = HotUpgradeCustomizer::wrap(Box::new(StatementCache(options.cache)));
                let manager =
                    HotUpgradeManager::new(url).verify(options.verify).target_session_attrs(options.attrs);
                let builder = fixture::builder(size).connection_customizer(Box::new(customizer));
                Pool::Blocking(builder.build(manager).expect("a pool"))
            }
            (Driver::Blocking, Kind::Stock) => {
                let builder =
                    fixture::builder(size).connection_customizer(Box::new(StatementCache(options.cache)));
                Pool::StockBlocking(builder.build(ConnectionManager::new(url)).expect("a pool"))
            }
            (Driver::Async, Kind::Hot) => {
                let Options { verify, attrs, .. } = options;
                Pool::Async(wait(bb8(url, size, options.cache, move |conn: Hot| {
                    Box::pin(conn.verify(verify).target_session_attrs(attrs))
                })))
            }
            (Driver::Async, Kind::Stock) => {
                let as_it_is = |conn: Stock| -> BoxFuture<'static, _> { Box::pin(async { Ok(conn) }) };
                Pool::StockAsync(wait(bb8(url, size, options.cache, as_it_is)))
            }
        }
    }

    /// Is a new connection of a protected pool refused?
    pub(crate) fn refuses(self, url: &str, attrs: TargetSessionAttrs) -> bool {
        match self {
            Driver::Blocking => {
                diesel::r2d2::ManageConnection::connect(&HotUpgradeManager::new(url).target_session_attrs(attrs))
                    .is_err()
            }
            Driver::Async => wait(async { Hot::establish(url).await?.target_session_attrs(attrs).await }).is_err(),
        }
    }
}

#[derive(Debug)]
struct StatementCache(CacheSize);

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for StatementCache {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        conn.set_prepared_statement_cache_size(self.0);
        Ok(())
    }
}

async fn bb8<C: PoolableConnection + 'static>(
    url: &str,
    size: u32,
    cache: CacheSize,
    prepare: impl Fn(C) -> BoxFuture<'static, ConnectionResult<C>> + Clone + Send + Sync + 'static,
) -> bb8::Pool<AsyncDieselConnectionManager<C>>
where
    AsyncDieselConnectionManager<C>: bb8::ManageConnection<Error: std::fmt::Debug>,
{
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |url| {
        let (url, prepare) = (url.to_owned(), prepare.clone());
        Box::pin(async move {
            let mut conn = prepare(C::establish(&url).await?).await?;
            conn.set_prepared_statement_cache_size(cache);
            Ok(conn)
        })
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    let builder = bb8::Pool::builder().max_size(size).min_idle(size).connection_timeout(Duration::from_secs(60));
    builder.build(manager).await.expect("a pool")
}

impl Connection {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Connection::Blocking(conn, kind) => Session::Blocking(conn, *kind),
            Connection::Async(conn) => Session::Async(conn),
            Connection::StockAsync(conn) => Session::StockAsync(conn),
        }
    }
}

impl Pool {
    pub(crate) fn size(&self) -> u32 {
        match self {
            Pool::Blocking(pool) => pool.max_size(),
            Pool::StockBlocking(pool) => pool.max_size(),
            Pool::Async(pool) => pool.state().connections,
            Pool::StockAsync(pool) => pool.state().connections,
        }
    }

    pub(crate) fn get(&self) -> Result<Checkout, String> {
        let checked_out = match self {
            Pool::Blocking(pool) => pool.get().map(CheckedOut::Blocking).map_err(|error| error.to_string()),
            Pool::StockBlocking(pool) => {
                pool.get().map(CheckedOut::StockBlocking).map_err(|error| error.to_string())
            }
            Pool::Async(pool) => wait(pool.get_owned()).map(CheckedOut::Async).map_err(|error| error.to_string()),
            Pool::StockAsync(pool) => {
                wait(pool.get_owned()).map(CheckedOut::StockAsync).map_err(|error| error.to_string())
            }
        };
        checked_out.map(|conn| Checkout(Some(conn))).map_err(|error| format!("checkout: {error}"))
    }

    /// A transaction of a protected pool, which survives a lost connection.
    pub(crate) fn hot_transaction<T: Send>(
        &self,
        how: &Begin<'_>,
        mut work: impl FnMut(&mut Session<'_>) -> QueryResult<T> + Send,
    ) -> Result<T, HotTransactionError> {
        let work = &Work::new(&mut work);
        match self {
            Pool::Blocking(pool) => {
                pool.hot_transaction_with(options!(how), |conn| work.run(Session::Blocking(conn, Kind::Hot)))
            }
            Pool::Async(pool) => {
                wait(pool.hot_transaction_with(options!(how), async move |conn| work.block(Session::Async(conn))))
            }
            Pool::StockBlocking(_) | Pool::StockAsync(_) => panic!("a stock pool has no transactions"),
        }
    }

    /// Checks out every connection of the pool at once, uses each, and returns what went wrong.
    pub(crate) fn on_every_connection(
        &self,
        used: impl Fn(&mut Session<'_>) -> Result<(), String>,
    ) -> Vec<String> {
        let checkouts: Vec<_> = (0..self.size()).map(|_| self.get()).collect();
        let used = checkouts.into_iter().map(|checkout| checkout.and_then(|mut conn| used(&mut conn.session())));
        used.filter_map(Result::err).collect()
    }
}

impl Checkout {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self.0.as_mut().expect("it is checked out") {
            CheckedOut::Blocking(conn) => Session::Blocking(conn, Kind::Hot),
            CheckedOut::StockBlocking(conn) => Session::Blocking(conn, Kind::Stock),
            CheckedOut::Async(conn) => Session::Async(conn),
            CheckedOut::StockAsync(conn) => Session::StockAsync(conn),
        }
    }
}

impl Drop for Checkout {
    /// bb8 opens another connection in place of a broken one, for which it needs a runtime.
    fn drop(&mut self) {
        let _entered = RUNTIME.enter();
        drop(self.0.take());
    }
}
