//! What the other modules share.

use std::future::Future;

use diesel::connection::CacheSize;
use diesel::pg::Pg;
use diesel::sql_types::HasSqlType;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
use futures_util::future::BoxFuture;

use crate::support::meaning::{Meaning, Named, Question, Verdict, judge};

pub(crate) type Hot = HotUpgradeAsyncPgConnection;
pub(crate) type Stock = AsyncPgConnection;
pub(crate) type Bb8<C> = diesel_async::pooled_connection::bb8::Pool<C>;
pub(crate) type Deadpool<C> = diesel_async::pooled_connection::deadpool::Pool<C>;

/// Runs a test on several threads.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// What blocks, such as the testbed.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

pub(crate) async fn connect<C: AsyncConnection>(url: &str) -> C {
    C::establish(url).await.expect("a connection")
}

/// A manager whose connections have this statement cache.
pub(crate) fn manager<C: AsyncConnection + 'static>(
    url: &str,
    cache: CacheSize,
) -> AsyncDieselConnectionManager<C> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |url| {
        let url = url.to_owned();
        Box::pin(async move {
            let mut conn = C::establish(&url).await?;
            conn.set_prepared_statement_cache_size(cache);
            Ok(conn)
        })
    });
    AsyncDieselConnectionManager::new_with_config(url, config)
}

pub(crate) async fn bb8<C: PoolableConnection + 'static>(url: &str, size: u32, cache: CacheSize) -> Bb8<C>
where
    AsyncDieselConnectionManager<C>: bb8::ManageConnection,
    <AsyncDieselConnectionManager<C> as bb8::ManageConnection>::Error: std::fmt::Debug,
{
    bb8::Pool::builder()
        .max_size(size)
        .min_idle(size)
        .connection_timeout(std::time::Duration::from_secs(60))
        .build(manager(url, cache))
        .await
        .expect("a pool")
}

pub(crate) fn deadpool<C>(url: &str, size: usize, cache: CacheSize) -> Deadpool<C>
where
    C: AsyncConnection + 'static,
    AsyncDieselConnectionManager<C>: deadpool::managed::Manager<Type = C>,
{
    deadpool::managed::Pool::builder(manager(url, cache)).max_size(size).build().expect("a pool")
}

/// Inserts a document and reads it back, by all types of the fixture. What went wrong comes back as text.
macro_rules! write_and_read_back {
    ($conn:expr) => {{
        use diesel::prelude::{ExpressionMethods, QueryDsl, SelectableHelper};
        use diesel_async::RunQueryDsl;
        use fixture::{Document, documents};
        let document = Document::numbered($crate::tools::number());
        let inserted = RunQueryDsl::execute(diesel::insert_into(documents::table).values(&document), $conn).await;
        let query = documents::table
            .filter(documents::title.eq(document.title.to_uppercase()))
            .filter(documents::attributes.eq(&document.attributes))
            .filter(documents::status.eq(document.status))
            .filter(documents::code.eq(&document.code))
            .select(Document::as_select());
        let found = match inserted {
            Ok(_) => RunQueryDsl::load::<Document>(query, $conn).await,
            Err(error) => Err(error),
        };
        found.map(|found| assert_eq!(found, [document], "a wrong answer"))
    }};
}
pub(crate) use write_and_read_back;

/// Another one each time, and none of those of the blocking tools.
pub(crate) fn number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(1_000_001);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// All connections of a pool, checked out at once, and what went wrong on each.
macro_rules! use_every_connection {
    ($pool:expr, $size:expr) => {{
        let checkouts = futures_util::future::join_all((0..$size).map(|_| $pool.get())).await;
        let mut wrong: Vec<String> = Vec::new();
        for checkout in checkouts {
            match checkout {
                Err(error) => wrong.push(format!("checkout: {error}")),
                Ok(mut conn) => {
                    let used: diesel::QueryResult<()> = $crate::tools::write_and_read_back!(&mut *conn);
                    wrong.extend(used.err().map(|error| error.to_string()));
                }
            }
        }
        wrong
    }};
}
pub(crate) use use_every_connection;

/// What a bound type means, and what its name means, asked by both kinds of connections.
pub(crate) trait Asks {
    async fn meaning<ST: Named>(&mut self) -> diesel::QueryResult<Meaning>
    where
        Pg: HasSqlType<ST>;

    async fn plain<ST: Named>(&mut self) -> Verdict
    where
        Pg: HasSqlType<ST>,
    {
        judge(self.meaning::<ST>().await)
    }
}

macro_rules! asks {
    ($conn:ty) => {
        impl Asks for $conn {
            async fn meaning<ST: Named>(&mut self) -> diesel::QueryResult<Meaning>
            where
                Pg: HasSqlType<ST>,
            {
                let fresh: Meaning = RunQueryDsl::get_result(Question::<ST>::new(false), self).await?;
                if judge(Ok(fresh.clone())).is_err() {
                    return Ok(fresh);
                }
                RunQueryDsl::get_result(Question::<ST>::new(true), self).await
            }
        }
    };
}
asks!(Hot);
asks!(Stock);

/// In a verified transaction.
pub(crate) async fn verified<ST: Named + Send>(conn: &mut Hot) -> Verdict
where
    Pg: HasSqlType<ST>,
{
    judge(conn.hot_transaction(async |conn| conn_meaning::<ST>(conn).await).await)
}

/// With a future that is `Send`, which a trait's is not known to be.
pub(crate) fn conn_meaning<ST: Named>(conn: &mut Hot) -> BoxFuture<'_, diesel::QueryResult<Meaning>>
where
    Pg: HasSqlType<ST>,
{
    Box::pin(async move {
        let fresh: Meaning = RunQueryDsl::get_result(Question::<ST>::new(false), conn).await?;
        if judge(Ok(fresh.clone())).is_err() {
            return Ok(fresh);
        }
        RunQueryDsl::get_result(Question::<ST>::new(true), conn).await
    })
}
