//! A primary and two standbys behind one address, one of them of another minor version. They take turns: at each
//! transaction, as behind a pooler whose connections a load balancer has spread, or after some.

use std::collections::HashSet;

use diesel::QueryResult;
use diesel::connection::{CacheSize, Connection};
use diesel::pg::PgConnection;
use diesel_postgres_hot_upgrade::stats;
use fixture::start_time;
use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig};

use super::Count;
use crate::args::Subject;
use crate::goals;
use crate::run::Bench;
use crate::shared::servers::{create_database, quiet_cluster};
use crate::shared::subjects::{self, ProtectedPool};
use crate::shared::{AnyError, twenty};

const DATABASE: &str = "replicas";
const CHECKOUTS: usize = 200;

/// Between two flips.
const CHECKOUTS_A_TURN: usize = 3;

pub(crate) fn count(bench: &Bench<'_>) -> Result<Vec<Count>, AnyError> {
    let mut primary = quiet_cluster()?;
    create_database(&primary, DATABASE, twenty::SQL)?;
    primary.stop()?;
    let standbys = [Cluster::standby_of(&primary)?, Cluster::standby_of_another_minor(&primary)?];
    primary.restart()?;
    standbys.iter().try_for_each(|standby| standby.catch_up_with(&primary))?;
    let [one, other] = &standbys;
    let servers = [&primary, one, other];

    let count = |what: &str, resets: u64| {
        let what = format!("a primary and two standbys {what}: resets");
        Count::new(Subject::Replicas, what, resets as f64).with_goal(goals::REPLICA_RESETS)
    };
    let flips = bench.plan.pick(60, 6);
    let in_turn = format!("that take turns at each transaction, {CHECKOUTS} checkouts");
    let in_shifts = format!("that take turns after each {CHECKOUTS_A_TURN} checkouts, {flips} flips");
    Ok(vec![count(&in_turn, take_turns(servers)?), count(&in_shifts, flip(servers, flips)?)])
}

/// Each transaction is answered by another one. Returns the resets.
fn take_turns(servers: [&Cluster; 3]) -> Result<u64, AnyError> {
    let balancer = Forwarder::start_in_turn(&servers.map(Cluster::address))?;
    let pgbouncer = PgBouncer::start(PgBouncerConfig {
        default_pool_size: servers.len() as u32,
        extra: vec![("server_round_robin".to_owned(), "1".to_owned())],
        ..PgBouncerConfig::default()
    })?;
    let mut target = servers[0].target(DATABASE);
    target.address = balancer.address();
    pgbouncer.route(DATABASE, &target)?;
    let url = pgbouncer.url(DATABASE);
    // As many transactions at once make PgBouncer open as many connections, each to the next server.
    let mut clients = servers.iter().map(|_| PgConnection::establish(&url)).collect::<Result<Vec<_>, _>>()?;
    if at_once(&mut clients)?.len() < servers.len() {
        return Err("two server connections go to the same server".into());
    }
    let pool = subjects::protected_replicas(&url, 1, CacheSize::Unbounded)?;
    let mut answered = use_pool(&pool, 20)?;
    let before = stats();
    answered.extend(use_pool(&pool, CHECKOUTS)?);
    let resets = stats().resets() - before.resets();
    if answered.len() == servers.len() { Ok(resets) } else { Err("not all of the servers answered".into()) }
}

/// One of them answers for some time, and then another one. Returns the resets.
fn flip(servers: [&Cluster; 3], flips: usize) -> Result<u64, AnyError> {
    let pgbouncer = PgBouncer::start(PgBouncerConfig::default())?;
    pgbouncer.route(DATABASE, &servers[0].target(DATABASE))?;
    let pool = subjects::protected_replicas(&pgbouncer.url(DATABASE), 1, CacheSize::Unbounded)?;
    use_pool(&pool, CHECKOUTS_A_TURN)?;
    let mut before = stats();
    // In the first round they are met.
    for turn in 1..=servers.len() + flips {
        pgbouncer.switch(DATABASE, &servers[turn % servers.len()].target(DATABASE))?;
        if use_pool(&pool, CHECKOUTS_A_TURN)?.len() > 1 {
            return Err("several servers answered between two flips".into());
        }
        if turn == servers.len() {
            before = stats();
        }
    }
    Ok(stats().resets() - before.resets())
}

/// Checks a connection out that often, and returns when the servers started that answered.
fn use_pool(pool: &ProtectedPool, checkouts: usize) -> Result<HashSet<String>, AnyError> {
    let mut answered = HashSet::new();
    for number in 0..checkouts {
        let conn: &mut PgConnection = &mut *pool.get()?;
        // Three or four transactions with the checkout's: else the same servers would answer every checkout.
        for _ in 0..=number % 2 {
            answered.insert(conn.transaction(start_time)?);
        }
        conn.transaction(twenty::bind_each)?;
    }
    Ok(answered)
}

/// When the servers started that answer transactions which are open at the same time.
fn at_once(clients: &mut [PgConnection]) -> QueryResult<HashSet<String>> {
    let Some((first, others)) = clients.split_first_mut() else { return Ok(HashSet::new()) };
    first.transaction(|conn| {
        let start = start_time(conn)?;
        let mut starts = at_once(others)?;
        starts.insert(start);
        Ok(starts)
    })
}
