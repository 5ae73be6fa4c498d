//! A load balancer over a primary and two standbys, one of which is of another minor version: each transaction is
//! answered by another one.

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
use crate::shared::servers::{create_database, quiet_cluster};
use crate::shared::{AnyError, subjects, twenty};

const DATABASE: &str = "replicas";
const CHECKOUTS: usize = 200;

pub(crate) fn count() -> Result<Vec<Count>, AnyError> {
    let mut primary = quiet_cluster()?;
    create_database(&primary, DATABASE, twenty::SQL)?;
    primary.stop()?;
    let standbys = [Cluster::standby_of(&primary)?, Cluster::standby_of_another_minor(&primary)?];
    primary.restart()?;
    standbys.iter().try_for_each(|standby| standby.catch_up_with(&primary))?;
    let [one, other] = &standbys;
    let servers = [&primary, one, other];

    let balancer = Forwarder::start_in_turn(&servers.map(Cluster::address))?;
    let pgbouncer = PgBouncer::start(in_turn(servers.len() as u32))?;
    let mut target = primary.target(DATABASE);
    target.address = balancer.address();
    pgbouncer.route(DATABASE, &target)?;
    let url = pgbouncer.url(DATABASE);
    open_one_connection_to_each(&url, servers.len())?;

    let pool = subjects::protected_replicas(&url, 1, CacheSize::Unbounded)?;
    let mut answered = HashSet::new();
    let mut go_on = |times: usize| -> Result<(), AnyError> {
        for number in 0..times {
            let conn: &mut PgConnection = &mut *pool.get()?;
            // Not always as many as would let one server answer every checkout.
            for _ in 0..=number % 3 {
                answered.insert(conn.transaction(start_time)?);
            }
            conn.transaction(twenty::bind_each)?;
        }
        Ok(())
    };
    go_on(20)?;
    let before = stats();
    go_on(CHECKOUTS)?;
    let resets = stats().resets() - before.resets();
    if answered.len() != servers.len() {
        return Err(format!("{} of {} servers answered", answered.len(), servers.len()).into());
    }
    let what = format!("a load balancer over a primary and two standbys, {CHECKOUTS} checkouts: resets");
    Ok(vec![Count::new(Subject::Replicas, what, resets as f64).with_goal(goals::REPLICA_RESETS)])
}

/// A client's next transaction runs on another server connection.
fn in_turn(connections: u32) -> PgBouncerConfig {
    PgBouncerConfig {
        default_pool_size: connections,
        extra: vec![("server_round_robin".to_owned(), "1".to_owned())],
        ..PgBouncerConfig::default()
    }
}

/// As many transactions at once make PgBouncer open as many.
fn open_one_connection_to_each(url: &str, servers: usize) -> Result<(), AnyError> {
    let mut clients = (0..servers).map(|_| PgConnection::establish(url)).collect::<Result<Vec<_>, _>>()?;
    let starts = at_once(&mut clients)?;
    if starts.len() == servers { Ok(()) } else { Err("two server connections go to the same server".into()) }
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
