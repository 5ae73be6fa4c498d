//! The servers that are measured: PostgreSQL 17, a PgBouncer in front of it, and a forwarder that is the network.

use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig};

use super::AnyError;
use super::network::Network;

/// The major version that is measured.
pub(crate) const MAJOR: u32 = 17;

/// They stop when this is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) cluster: Cluster,
    pub(crate) pgbouncer: PgBouncer,
    forwarder: Forwarder,
    is_direct: bool,
}

impl Servers {
    /// Starts them; `is_direct` leaves PgBouncer out of the way of every connection.
    pub(crate) fn start(is_direct: bool) -> Result<Self, AnyError> {
        let cluster = quiet_cluster()?;
        let pgbouncer = PgBouncer::start(PgBouncerConfig::default())?;
        let target = if is_direct { cluster.address() } else { pgbouncer.address() };
        Ok(Servers { forwarder: Forwarder::start(target)?, cluster, pgbouncer, is_direct })
    }

    /// Creates a database from SQL, and lets PgBouncer know it.
    pub(crate) fn create_database(&self, name: &str, sql: &str) -> Result<(), AnyError> {
        create_database(&self.cluster, name, sql)?;
        Ok(self.pgbouncer.route(name, &self.cluster.target(name))?)
    }

    /// What the application connects to. The forwarder delays nothing before it is [told to](Servers::delay).
    pub(crate) fn url(&self, network: Network, database: &str) -> String {
        match (network, self.is_direct) {
            (Network::LOOPBACK, true) => self.cluster.url(database),
            (Network::LOOPBACK, false) => self.pgbouncer.url(database),
            (_, true) => self.cluster.url_at(self.forwarder.address(), database),
            (_, false) => self.pgbouncer.url_at(self.forwarder.address(), database),
        }
    }

    /// Makes the network that slow for every connection that goes through the forwarder.
    pub(crate) fn delay(&self, network: Network) {
        self.forwarder.delay(network.each_way);
    }
}

/// A cluster that does not log every statement with its binds, as the testbed's clusters do for the tests: nobody's
/// server does, and it would cost a long probe more than a short ping.
pub(crate) fn quiet_cluster() -> Result<Cluster, AnyError> {
    let cluster = Cluster::start(MAJOR)?;
    log_statements(&cluster, false)?;
    Ok(cluster)
}

pub(crate) fn log_statements(cluster: &Cluster, is_on: bool) -> Result<(), AnyError> {
    let mut client = cluster.client("postgres")?;
    let setting = if is_on { "all" } else { "none" };
    client.batch_execute(&format!("ALTER SYSTEM SET log_statement = '{setting}'"))?;
    client.batch_execute("SELECT pg_catalog.pg_reload_conf()")?;
    Ok(())
}

pub(crate) fn create_database(cluster: &Cluster, name: &str, sql: &str) -> Result<(), AnyError> {
    cluster.create_database(name)?;
    cluster.client(name)?.batch_execute(sql)?;
    Ok(())
}
