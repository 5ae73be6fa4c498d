//! As many threads as connections, and more than cores.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::Verify;

use crate::args::Subject;
use crate::paired::Comparison;
use crate::report::Row;
use crate::run::Bench;
use crate::shared::network::Network;
use crate::shared::{AnyError, subjects};

pub(crate) const THREADS: u32 = 64;

/// Long enough to start so many threads in; in a short run hardly.
const PERIODS: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(200)];

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Row, AnyError> {
    let url = bench.servers.url(Network::LOOPBACK, bench.database);
    let stock = subjects::stock(&url, THREADS, CacheSize::Unbounded)?;
    let ours = subjects::protected(&url, THREADS, CacheSize::Unbounded, Verify::EveryCheckout)?;
    let period = bench.plan.pick(PERIODS[0], PERIODS[1]);
    checkouts_a_second(&stock, period)?;
    checkouts_a_second(&ours, period)?;
    let began = Instant::now();
    let mut blocks = Vec::new();
    while blocks.len() < 2 || began.elapsed() < 3 * bench.plan.budget {
        let first = checkouts_a_second(&stock, period)?;
        let both = [checkouts_a_second(&ours, period)?, checkouts_a_second(&ours, period)?];
        let last = checkouts_a_second(&stock, period)?;
        blocks.push([(first + last) / 2.0, (both[0] + both[1]) / 2.0]);
    }
    Ok(Row::new(Subject::Threads, Network::LOOPBACK, Comparison::of(&blocks, 2 * blocks.len())))
}

fn checkouts_a_second<M: ManageConnection<Connection = PgConnection>>(
    pool: &Pool<M>,
    period: Duration,
) -> Result<f64, AnyError> {
    let began = Instant::now();
    let counts = thread::scope(|scope| {
        let check_out = || -> Result<usize, AnyError> {
            let mut count = 0;
            while began.elapsed() < period {
                drop(pool.get()?);
                count += 1;
            }
            Ok(count)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(check_out)).collect();
        let counts =
            threads.into_iter().map(|thread| thread.join().expect("no panic in a thread that checks out"));
        counts.sum::<Result<usize, AnyError>>()
    });
    Ok(counts? as f64 / began.elapsed().as_secs_f64())
}
