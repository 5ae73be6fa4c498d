//! Did a change make it slower? Each subject by itself, compared with the last run or a saved baseline.
//!
//! For this crate beside stock Diesel, see `beside_stock`.

mod shared;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use diesel::connection::{CacheSize, Connection};
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Verify};

use crate::shared::network::Network;
use crate::shared::servers::Servers;
use crate::shared::subjects::{self, WINDOW};
use crate::shared::twenty;

const DATABASE: &str = "twenty";

fn benchmarks(criterion: &mut Criterion) {
    let servers = Servers::start(false).expect("PostgreSQL and PgBouncer");
    servers.create_database(DATABASE, twenty::SQL).expect("a database with twenty types");
    for (name, cache) in [("checkout", CacheSize::Unbounded), ("checkout-uncached", CacheSize::Disabled)] {
        let mut group = criterion.benchmark_group(name);
        for network in Network::ALL {
            checkouts(&mut group, &servers, network, cache);
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("transaction");
    for network in Network::ALL {
        transactions(&mut group, &servers, network);
    }
    group.finish();
}

fn checkouts(group: &mut BenchmarkGroup<'_, WallTime>, servers: &Servers, network: Network, cache: CacheSize) {
    let url = servers.url(network, DATABASE);
    let stock = subjects::stock(&url, 1, cache).expect("a stock pool");
    let every = subjects::protected(&url, 1, cache, Verify::EveryCheckout).expect("a protected pool");
    let window = subjects::protected(&url, 1, cache, WINDOW).expect("a protected pool");
    servers.delay(network);
    let id = |subject: &str| BenchmarkId::new(subject, network);
    group.bench_function(id("stock"), |bencher| bencher.iter(|| stock.get().expect("a connection")));
    group.bench_function(id("every"), |bencher| bencher.iter(|| every.get().expect("a connection")));
    group.bench_function(id("window"), |bencher| bencher.iter(|| window.get().expect("a connection")));
    servers.delay(Network::LOOPBACK);
}

fn transactions(group: &mut BenchmarkGroup<'_, WallTime>, servers: &Servers, network: Network) {
    let url = servers.url(network, DATABASE);
    let stock = subjects::stock(&url, 1, CacheSize::Unbounded).expect("a stock pool");
    let window = subjects::protected(&url, 1, CacheSize::Unbounded, WINDOW).expect("a protected pool");
    with_connection(&stock, |conn| twenty::bind_each(conn).expect("it works"));
    with_connection(&window, |conn| twenty::bind_each(conn).expect("it works"));
    servers.delay(network);
    group.bench_function(BenchmarkId::new("plain", network), |bencher| {
        bencher.iter(|| with_connection(&stock, |conn| conn.transaction(twenty::insert).expect("an insert")));
    });
    group.bench_function(BenchmarkId::new("verified", network), |bencher| {
        bencher.iter(|| with_connection(&window, |conn| conn.hot_transaction(twenty::insert).expect("an insert")));
    });
    servers.delay(Network::LOOPBACK);
}

fn with_connection<M>(pool: &Pool<M>, work: impl FnOnce(&mut PgConnection))
where
    M: ManageConnection<Connection = PgConnection>,
{
    work(&mut pool.get().expect("a connection"));
}

/// What criterion's macros expand to, without a public function.
fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    benchmarks(&mut criterion);
    criterion.final_summary();
}
