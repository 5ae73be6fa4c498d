//! The connection for diesel-async beside the stock one, in deadpool, on a runtime of one thread.

use std::time::{Duration, Instant};

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use diesel_postgres_hot_upgrade::Verify;
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::args::Subject;
use crate::paired::{Comparison, compare, timed};
use crate::processor::{self, OneCore, Process};
use crate::recovery::{CONNECTIONS, Stage, loads_once};
use crate::report::Row;
use crate::run::Bench;
use crate::shared::network::Network;
use crate::shared::subjects::WINDOW;
use crate::shared::{AnyError, twenty};

type Stock = AsyncPgConnection;
type Hot = HotUpgradeAsyncPgConnection;

/// Turns between two readings of the processor time.
const BATCH: u32 = 50;

pub(crate) fn measure(bench: &Bench<'_>, subject: Subject, network: Network) -> Result<Row, AnyError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let comparison = match subject {
        Subject::AsyncCheckout => checkouts(bench, &runtime, network),
        Subject::AsyncApplicationTime => application_time(bench, &runtime),
        Subject::AsyncTransaction => transactions(bench, &runtime, network),
        Subject::AsyncNewConnection => new_connections(bench, &runtime, network),
        Subject::AsyncRecovery => recoveries(bench, &runtime, network),
        _ => queries(bench, &runtime, subject),
    };
    bench.servers.delay(Network::LOOPBACK);
    Ok(Row::new(subject, network, comparison?))
}

fn checkouts(bench: &Bench<'_>, runtime: &Runtime, network: Network) -> Result<Comparison, AnyError> {
    let url = bench.servers.url(network, bench.database);
    let stock = stock(&url, 1)?;
    let ours = protected(&url, 1, Verify::EveryCheckout)?;
    runtime.block_on(async {
        twenty::bind_each_async(&mut stock.get().await?).await?;
        twenty::bind_each_async(&mut ours.get().await?).await?;
        Ok::<_, AnyError>(())
    })?;
    bench.servers.delay(network);
    compare(bench.plan, &mut || timed(|| runtime.block_on(stock.get())), &mut || {
        timed(|| runtime.block_on(ours.get()))
    })
}

/// What a checkout costs the application, without a pooler: processor time of the thread that runs pool and connection.
fn application_time(bench: &Bench<'_>, runtime: &Runtime) -> Result<Comparison, AnyError> {
    let url = bench.servers.cluster.url(bench.database);
    let stock = stock(&url, 1)?;
    let ours = protected(&url, 1, Verify::EveryCheckout)?;
    let servers = runtime.block_on(async {
        let (stock, ours) = (&mut stock.get().await?, &mut ours.get().await?);
        twenty::bind_each_async(&mut **stock).await?;
        twenty::bind_each_async(&mut **ours).await?;
        Ok::<_, AnyError>([backend(&mut **stock).await?, backend(&mut **ours).await?].map(Process::numbered))
    })?;
    let _core = OneCore::shared_with(&servers.each_ref())?;
    compare(
        bench.plan.in_blocks_of(5),
        &mut || {
            of_this_thread(runtime, async || {
                drop(stock.get().await?);
                Ok(())
            })
        },
        &mut || {
            of_this_thread(runtime, async || {
                drop(ours.get().await?);
                Ok(())
            })
        },
    )
}

/// The processor time of this thread that one turn takes.
fn of_this_thread(
    runtime: &Runtime,
    mut turn: impl AsyncFnMut() -> Result<(), AnyError>,
) -> Result<Duration, AnyError> {
    let before = processor::time_of_this_thread();
    runtime.block_on(async {
        for _ in 0..BATCH {
            turn().await?;
        }
        Ok::<_, AnyError>(())
    })?;
    Ok((processor::time_of_this_thread() - before) / BATCH)
}

/// As in the blocking row, a checkout within the window.
fn transactions(bench: &Bench<'_>, runtime: &Runtime, network: Network) -> Result<Comparison, AnyError> {
    let url = bench.servers.url(network, bench.database);
    let stock = stock(&url, 1)?;
    let ours = protected(&url, 1, WINDOW)?;
    let plain = async || -> Result<(), AnyError> {
        Ok(stock.get().await?.transaction(async |conn| twenty::insert_async(conn).await).await?)
    };
    let verified = async || -> Result<(), AnyError> {
        Ok(ours.get().await?.hot_transaction(async |conn| twenty::insert_async(conn).await).await?)
    };
    runtime.block_on(async {
        plain().await?;
        verified().await
    })?;
    bench.servers.delay(network);
    compare(bench.plan, &mut || timed(|| runtime.block_on(plain())), &mut || {
        timed(|| runtime.block_on(verified()))
    })
}

fn new_connections(bench: &Bench<'_>, runtime: &Runtime, network: Network) -> Result<Comparison, AnyError> {
    let url = bench.servers.url(network, bench.database);
    bench.servers.delay(network);
    compare(bench.plan.in_blocks_of(2), &mut || timed(|| runtime.block_on(used::<Stock>(&url))), &mut || {
        timed(|| runtime.block_on(used::<Hot>(&url)))
    })
}

async fn used<C: AsyncConnection<Backend = Pg>>(url: &str) -> Result<C, AnyError> {
    let mut conn = C::establish(url).await?;
    twenty::bind_each_async(&mut conn).await?;
    Ok(conn)
}

/// What connections asked the new server about types after a switch.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Asked {
    /// The look-ups of diesel-async, by name.
    pub(crate) look_ups: usize,
    /// The questions of tokio-postgres, about types, labels and columns.
    pub(crate) questions: usize,
}

/// The same switch once more, untimed, with the statements of both pools in the servers' logs: this crate's, and stock's.
pub(crate) fn count(bench: &Bench<'_>) -> Result<[Asked; 2], AnyError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut stage = Stage::set(bench.servers)?;
    stage.log_statements(true)?;
    let url = stage.url(Network::LOOPBACK);
    let ours = protected(&url, CONNECTIONS as usize, Verify::EveryCheckout)?;
    runtime.block_on(use_every_connection(&ours))?;
    stage.recover(Network::LOOPBACK, || runtime.block_on(use_every_connection(&ours)))?;
    let by_ours = Asked::of(&stage)?;
    stage.recover(Network::LOOPBACK, || {
        runtime.block_on(use_every_connection(&stock(&url, CONNECTIONS as usize)?))
    })?;
    let by_stock = Asked::of(&stage)?;
    stage.log_statements(false)?;
    Ok([by_ours, by_stock])
}

impl Asked {
    fn of(stage: &Stage<'_>) -> Result<Self, AnyError> {
        const QUESTIONS: [&str; 3] =
            ["SELECT t.typname, t.typtype, t.typelem", "SELECT enumlabel", "SELECT attname, atttypid"];
        let look_ups = stage.logged("SELECT pg_type.oid, pg_type.typarray")?;
        let questions = QUESTIONS.map(|text| stage.logged(text));
        let questions = questions.into_iter().sum::<Result<usize, AnyError>>()?;
        Ok(Asked { look_ups, questions })
    }
}

/// The protected pool goes on, the stock pool is dropped and opened again.
fn recoveries(bench: &Bench<'_>, runtime: &Runtime, network: Network) -> Result<Comparison, AnyError> {
    let mut stage = Stage::set(bench.servers)?;
    let began = Instant::now();
    let mut pairs = Vec::new();
    while pairs.len() < 2 || began.elapsed() < 2 * bench.plan.budget {
        let mut times = [0.0; 2];
        for turn in [pairs.len() % 2, 1 - pairs.len() % 2] {
            let url = stage.url(network);
            let took = if turn == 0 {
                let pool = stock(&url, CONNECTIONS as usize)?;
                runtime.block_on(use_every_connection(&pool))?;
                stage.recover(network, || {
                    drop(pool);
                    runtime.block_on(use_every_connection(&stock(&url, CONNECTIONS as usize)?))
                })
            } else {
                let pool = protected(&url, CONNECTIONS as usize, Verify::EveryCheckout)?;
                runtime.block_on(use_every_connection(&pool))?;
                loads_once(|| stage.recover(network, || runtime.block_on(use_every_connection(&pool))))
            };
            times[turn] = took?.as_secs_f64();
        }
        pairs.push(times);
    }
    Ok(Comparison::of(&pairs, pairs.len()))
}

async fn use_every_connection<C>(pool: &Pool<C>) -> Result<(), AnyError>
where
    C: PoolableConnection + AsyncConnection<Backend = Pg> + 'static,
    AsyncDieselConnectionManager<C>: deadpool::managed::Manager<Type = C>,
    <AsyncDieselConnectionManager<C> as deadpool::managed::Manager>::Error:
        std::error::Error + Send + Sync + 'static,
{
    let use_one = async || -> Result<Object<C>, AnyError> {
        let mut conn = pool.get().await?;
        twenty::bind_each_async(&mut *conn).await?;
        Ok(conn)
    };
    // None goes back before all have answered.
    try_join_all((0..CONNECTIONS).map(|_| use_one())).await.map(drop)
}

/// What a plain query costs the application, if both know the types that it binds: processor time of the thread that
/// runs the query and the connection, without a pooler.
fn queries(bench: &Bench<'_>, runtime: &Runtime, subject: Subject) -> Result<Comparison, AnyError> {
    let url = bench.servers.cluster.url(bench.database);
    let (mut stock, mut ours) =
        runtime.block_on(async { Ok::<_, AnyError>((used::<Stock>(&url).await?, used::<Hot>(&url).await?)) })?;
    let servers = [
        Process::numbered(runtime.block_on(backend(&mut stock))?),
        Process::numbered(runtime.block_on(backend(&mut ours))?),
    ];
    let _core = OneCore::shared_with(&servers.each_ref())?;
    let is_typed = subject == Subject::AsyncTypedQuery;
    compare(
        bench.plan.in_blocks_of(5),
        &mut || of_this_thread(runtime, async || query(&mut stock, is_typed).await),
        &mut || of_this_thread(runtime, async || query(&mut ours, is_typed).await),
    )
}

async fn query<C: AsyncConnection<Backend = Pg>>(conn: &mut C, is_typed: bool) -> Result<(), AnyError> {
    let answer = if is_typed { twenty::select_async(conn).await } else { twenty::select_by_key_async(conn).await };
    Ok(answer?)
}

async fn backend<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<i32> {
    let asked = diesel::select(diesel::dsl::sql::<Integer>("pg_catalog.pg_backend_pid()"));
    RunQueryDsl::get_result(asked, conn).await
}

fn stock(url: &str, size: usize) -> Result<Pool<Stock>, AnyError> {
    Ok(Pool::builder(AsyncDieselConnectionManager::<Stock>::new(url)).max_size(size).build()?)
}

fn protected(url: &str, size: usize, verify: Verify) -> Result<Pool<Hot>, AnyError> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |url| {
        let url = url.to_owned();
        Box::pin(async move { Ok(Hot::establish(&url).await?.verify(verify)) })
    });
    Ok(Pool::builder(AsyncDieselConnectionManager::new_with_config(url, config)).max_size(size).build()?)
}
