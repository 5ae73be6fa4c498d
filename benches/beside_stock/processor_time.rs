//! What a checkout costs in processor time, without a pooler: of the server's process, or of the application's thread.

use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::Verify;

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
