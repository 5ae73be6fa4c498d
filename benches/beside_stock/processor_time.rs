//! What a checkout or a transaction costs in processor time, without a pooler: of the server's process, of the
//! application's thread, or of both.

use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradePool, Verify};

use crate::args::Subject;
use crate::paired::compare;
use crate::processor::{self, OneCore, Process};
use crate::report::Row;
use crate::run::Bench;
use crate::shared::network::Network;
use crate::shared::{AnyError, subjects, twenty};

/// Checkouts between two readings, which themselves cost a microsecond or two.
const BATCH: u32 = 50;

/// Pairs of batches in a block.
const BLOCK: usize = 5;

pub(crate) fn measure(bench: &Bench<'_>, subject: Subject) -> Result<Row, AnyError> {
    let url = bench.servers.cluster.url(bench.database);
    let stock = subjects::stock(&url, 1, CacheSize::Unbounded)?;
    let ours = subjects::protected(&url, 1, CacheSize::Unbounded, Verify::EveryCheckout)?;
    let servers = [used(&stock)?, used(&ours)?];
    let _core = OneCore::shared_with(&servers.each_ref())?;
    let [of_stock, of_ours] = servers.map(|server| match subject {
        Subject::ServerTime => Clock::Server(server),
        _ => Clock::Application,
    });
    let plan = bench.plan.in_blocks_of(BLOCK);
    let comparison = compare(plan, &mut || a_checkout(&stock, &of_stock), &mut || a_checkout(&ours, &of_ours))?;
    Ok(Row::new(subject, Network::LOOPBACK, comparison))
}

/// What it costs that a transaction could run again: nothing is cut. The one side has the connection's verified
/// transaction, the other one the pool's.
pub(crate) fn measure_pool_transaction(bench: &Bench<'_>) -> Result<Row, AnyError> {
    let url = bench.servers.cluster.url(bench.database);
    let pools = [(); 2].map(|()| subjects::protected(&url, 1, CacheSize::Unbounded, Verify::EveryCheckout));
    let [one, other] = pools;
    let (one, other) = (one?, other?);
    let servers = [used(&one)?, used(&other)?];
    let _core = OneCore::shared_with(&servers.each_ref())?;
    let of_connection = || -> Result<(), AnyError> { Ok(one.get()?.hot_transaction(twenty::insert)?) };
    let of_pool = || -> Result<(), AnyError> { Ok(other.hot_transaction(twenty::insert)?) };
    let plan = bench.plan.in_blocks_of(BLOCK);
    let comparison =
        compare(plan, &mut || both_sides(&servers[0], of_connection), &mut || both_sides(&servers[1], of_pool))?;
    Ok(Row::new(Subject::PoolTransaction, Network::LOOPBACK, comparison))
}

/// The processor time of the server's process and of this thread together.
fn both_sides(server: &Process, transact: impl Fn() -> Result<(), AnyError>) -> Result<Duration, AnyError> {
    let time = || -> Result<Duration, AnyError> { Ok(server.time()? + processor::time_of_this_thread()) };
    let before = time()?;
    for _ in 0..BATCH {
        transact()?;
    }
    Ok((time()? - before) / BATCH)
}

/// The process that serves a pool of one, whose connection knows the types from here on.
pub(crate) fn used<M>(pool: &Pool<M>) -> Result<Process, AnyError>
where
    M: ManageConnection<Connection = PgConnection>,
{
    let mut conn = pool.get()?;
    twenty::bind_each(&mut conn)?;
    Process::that_serves(&mut conn)
}

/// Whose time is read.
enum Clock {
    Server(Process),
    Application,
}

impl Clock {
    fn time(&self) -> Result<Duration, AnyError> {
        match self {
            Clock::Server(process) => process.time(),
            Clock::Application => Ok(processor::time_of_this_thread()),
        }
    }
}

fn a_checkout<M: ManageConnection>(pool: &Pool<M>, clock: &Clock) -> Result<Duration, AnyError> {
    let before = clock.time()?;
    for _ in 0..BATCH {
        drop(pool.get()?);
    }
    Ok((clock.time()? - before) / BATCH)
}
