//! A pool after a switch, until each of its connections has answered a statement that binds twenty types.
//!
//! The protected pool goes on as it is. The stock pool gets what an application does for it: all connections are
//! dropped and opened again. Each switch goes to a database that this process has never seen.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{Verify, on_change, stats};
use fixture::drop_database;
use serde::Serialize;
use testbed::Cluster;

use crate::args::Subject;
use crate::paired::Comparison;
use crate::report::Row;
use crate::run::Bench;
use crate::shared::network::Network;
use crate::shared::servers::{Servers, create_database, log_statements, quiet_cluster};
use crate::shared::{AnyError, subjects, twenty};

pub(crate) const CONNECTIONS: u32 = 64;

/// What PgBouncer calls the database, whichever it is.
const ALIAS: &str = "recovery";

/// What one switch made the two ask of the new server's catalog.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) connections: u32,
    /// Those that moved, in the words of this crate.
    pub(crate) types: usize,
    pub(crate) catalog_loads: usize,
    /// Of single types, by Diesel: on the protected pool, and on the stock pool.
    pub(crate) look_ups: usize,
    pub(crate) stock_look_ups: usize,
    pub(crate) verdict: &'static str,
}

pub(crate) fn measure(bench: &Bench<'_>, network: Network) -> Result<Row, AnyError> {
    let mut stage = Stage::set(bench.servers)?;
    let began = Instant::now();
    let mut pairs = Vec::new();
    while pairs.len() < 2 || began.elapsed() < 2 * bench.plan.budget {
        let pair = if pairs.len() % 2 == 0 {
            let stock = stage.recover_stock(network)?;
            [stock, stage.recover_ours(network)?]
        } else {
            let ours = stage.recover_ours(network)?;
            [stage.recover_stock(network)?, ours]
        };
        pairs.push(pair.map(|took| took.as_secs_f64()));
    }
    Ok(Row::new(Subject::Recovery, network, Comparison::of(&pairs, pairs.len())))
}

/// The same once more, untimed, with the statements of both in the servers' logs.
pub(crate) fn count(bench: &Bench<'_>) -> Result<Counts, AnyError> {
    let mut stage = Stage::set(bench.servers)?;
    let moved = Arc::new(AtomicUsize::new(0));
    on_change({
        let moved = Arc::clone(&moved);
        move |change| moved.store(change.moved().len(), Ordering::SeqCst)
    });
    stage.log_statements(true)?;
    stage.recover_ours(Network::LOOPBACK)?;
    let catalog_loads = stage.logged("diesel-postgres-hot-upgrade: load")?;
    let look_ups = stage.logged(LOOK_UP)?;
    stage.recover_stock(Network::LOOPBACK)?;
    let stock_look_ups = stage.logged(LOOK_UP)?;
    stage.log_statements(false)?;
    let types = moved.load(Ordering::SeqCst);
    let is_as_promised = (catalog_loads, look_ups, stock_look_ups) == (1, 0, CONNECTIONS as usize * types);
    let verdict = if is_as_promised { "met" } else { "not met" };
    Ok(Counts { connections: CONNECTIONS, types, catalog_loads, look_ups, stock_look_ups, verdict })
}

/// Fails if more was read than one catalog.
pub(crate) fn loads_once<T>(work: impl FnOnce() -> Result<T, AnyError>) -> Result<T, AnyError> {
    let before = stats().catalog_loads();
    let done = work()?;
    match stats().catalog_loads() - before {
        1 => Ok(done),
        loads => Err(format!("a switch to an unseen server cost {loads} catalog loads, not one").into()),
    }
}

/// What Diesel asks for a type's OID.
const LOOK_UP: &str = r#""pg_type"."typarray""#;

/// Two clusters, one of them answering.
pub(crate) struct Stage<'a> {
    servers: &'a Servers,
    other: Cluster,
    /// Answers next.
    is_others_turn: bool,
    database: String,
}

impl<'a> Stage<'a> {
    pub(crate) fn set(servers: &'a Servers) -> Result<Self, AnyError> {
        let database = unseen_database(&servers.cluster)?;
        servers.pgbouncer.route(ALIAS, &servers.cluster.target(&database))?;
        Ok(Stage { servers, other: quiet_cluster()?, is_others_turn: true, database })
    }

    /// Of whichever server answers.
    pub(crate) fn url(&self, network: Network) -> String {
        self.servers.url(network, ALIAS)
    }

    fn recover_ours(&mut self, network: Network) -> Result<Duration, AnyError> {
        let url = self.servers.url(network, ALIAS);
        let pool = subjects::protected(&url, CONNECTIONS, CacheSize::Unbounded, Verify::EveryCheckout)?;
        use_every_connection(&pool)?;
        loads_once(|| self.recover(network, || use_every_connection(&pool)))
    }

    fn recover_stock(&mut self, network: Network) -> Result<Duration, AnyError> {
        let url = self.servers.url(network, ALIAS);
        let connect = || subjects::stock(&url, CONNECTIONS, CacheSize::Unbounded);
        let pool = connect()?;
        use_every_connection(&pool)?;
        self.recover(network, || {
            drop(pool);
            use_every_connection(&connect()?)
        })
    }

    /// Switches, and times what follows `RESUME`.
    pub(crate) fn recover(
        &mut self,
        network: Network,
        work: impl FnOnce() -> Result<(), AnyError>,
    ) -> Result<Duration, AnyError> {
        let [from, to] = self.sides();
        let next = unseen_database(to)?;
        self.servers.delay(network);
        self.servers.pgbouncer.switch(ALIAS, &to.target(&next))?;
        let began = Instant::now();
        let done = work();
        let took = began.elapsed();
        self.servers.delay(Network::LOOPBACK);
        drop_database(from, &self.database);
        self.database = next;
        self.is_others_turn = !self.is_others_turn;
        done.map(|()| took)
    }

    /// The one that answers, and the one that answers next.
    fn sides(&self) -> [&Cluster; 2] {
        let (main, other) = (&self.servers.cluster, &self.other);
        if self.is_others_turn { [main, other] } else { [other, main] }
    }

    pub(crate) fn log_statements(&self, is_on: bool) -> Result<(), AnyError> {
        self.sides().into_iter().try_for_each(|cluster| log_statements(cluster, is_on))
    }

    /// How often the database that answers now was asked something with that text in it.
    pub(crate) fn logged(&self, text: &str) -> Result<usize, AnyError> {
        let [answering, _] = self.sides();
        let database = format!(" {} ", self.database);
        let log = answering.log()?;
        Ok(log.lines().filter(|line| line.contains(&database) && line.contains(text)).count())
    }
}

/// A name that no server had: so nothing that this crate remembers can be of use.
fn unseen_database(cluster: &Cluster) -> Result<String, AnyError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("recovery_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    create_database(cluster, &name, twenty::SQL)?;
    Ok(name)
}

/// Lets each connection answer, on a thread of its own.
fn use_every_connection<M>(pool: &Pool<M>) -> Result<(), AnyError>
where
    M: ManageConnection<Connection = PgConnection>,
{
    let barrier = Barrier::new(pool.max_size() as usize);
    let use_one = || -> Result<(), AnyError> {
        let mut conn = pool.get();
        let used = match &mut conn {
            Ok(conn) => twenty::bind_each(conn).map_err(AnyError::from),
            Err(error) => Err(error.to_string().into()),
        };
        // Nobody gives back before all have one.
        barrier.wait();
        used
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..pool.max_size()).map(|_| scope.spawn(use_one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic in a thread that uses a connection"))
    })
}
