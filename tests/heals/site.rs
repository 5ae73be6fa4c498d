//! The ways to a server, each with a database of the test's own.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::{AnsiTransactionManager, CacheSize, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use fixture::drop_database;
use testbed::{Cluster, PgBouncer, PgBouncerConfig, Release};

/// How an application reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Without a pooler.
    Direct,
    /// Through PgBouncer in transaction mode. It prepares statements itself, on each of its server connections.
    Transactions,
    /// Through PgBouncer 1.18 in transaction mode, with Diesel's statement cache disabled.
    WithoutStatementCache,
    /// Through PgBouncer in session mode.
    Sessions,
}

/// So many server connections become stale, and clients meet all of them.
const BACKENDS: usize = 4;

impl Way {
    pub(crate) fn cache(self) -> CacheSize {
        if self == Way::WithoutStatementCache { CacheSize::Disabled } else { CacheSize::Unbounded }
    }

    /// The server connections that a client's statements run on, one after the other.
    pub(crate) fn backends(self) -> usize {
        if self == Way::Transactions { BACKENDS } else { 1 }
    }

    /// Different ones, so that the tests run on old and new versions.
    fn major(self) -> u32 {
        match self {
            Way::Direct => 10,
            Way::Transactions => 18,
            Way::WithoutStatementCache => 12,
            Way::Sessions => 16,
        }
    }

    fn pooler(self) -> Option<PgBouncer> {
        let config = match self {
            Way::Direct => return None,
            Way::Transactions => PgBouncerConfig {
                default_pool_size: BACKENDS as u32,
                extra: vec![("server_round_robin".to_owned(), "1".to_owned())],
                ..PgBouncerConfig::default()
            },
            Way::WithoutStatementCache => {
                PgBouncerConfig { release: Release::Debian12, ..PgBouncerConfig::default() }
            }
            Way::Sessions => PgBouncerConfig { pool_mode: "session", ..PgBouncerConfig::default() },
        };
        Some(PgBouncer::start(config).expect("a pooler"))
    }
}

/// A database, and a way to it.
pub(crate) struct Site {
    pub(crate) way: Way,
    pub(crate) server: &'static Cluster,
    pub(crate) database: String,
    pooler: Option<PgBouncer>,
    /// Past any pooler.
    owner: PgConnection,
}

impl Site {
    pub(crate) fn start(way: Way) -> Self {
        Site::on(Cluster::shared(way.major()), way)
    }

    pub(crate) fn on(server: &'static Cluster, way: Way) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let database = format!("heals_{}_{number}", std::process::id());
        server.create_database(&database).expect("a database");
        let pooler = way.pooler();
        if let Some(pooler) = &pooler {
            pooler.route(&database, &server.target(&database)).expect("a route");
        }
        let owner = connect(&server.url(&database));
        Site { way, server, database, pooler, owner }
    }

    /// The pooler reaches the server through something else.
    pub(crate) fn reroute(&self, through: std::net::SocketAddr) {
        let mut target = self.server.target(&self.database);
        target.address = through;
        let pooler = self.pooler.as_ref().expect("a pooler");
        pooler.route(&self.database, &target).expect("a route");
    }

    /// What the application connects to.
    pub(crate) fn url(&self) -> String {
        match &self.pooler {
            Some(pooler) => pooler.url(&self.database),
            None => self.server.url(&self.database),
        }
    }

    /// As an application would, with stock Diesel.
    pub(crate) fn connect(&self) -> PgConnection {
        let mut conn = connect(&self.url());
        conn.set_prepared_statement_cache_size(self.way.cache());
        conn
    }

    /// A stock connection past any pooler.
    pub(crate) fn server_session(&self) -> PgConnection {
        connect(&self.server.url(&self.database))
    }

    /// Another session runs this, past any pooler.
    pub(crate) fn run(&mut self, sql: &str) {
        if !sql.is_empty() {
            self.owner.batch_execute(sql).expect(sql);
        }
    }

    pub(crate) fn owner(&mut self) -> &mut PgConnection {
        &mut self.owner
    }

    /// Uses every server connection that there may be.
    pub(crate) fn on_every_backend(&self, used: impl Fn(&mut PgConnection) -> QueryResult<()>) {
        let count = self.way.backends();
        let mut clients: Vec<_> = (0..count).map(|_| self.connect()).collect();
        for client in &mut clients {
            AnsiTransactionManager::begin_transaction(client).expect("a server connection");
            used(client).expect("it works");
        }
        for mut client in clients {
            AnsiTransactionManager::commit_transaction(&mut client).expect("a commit");
        }
        if let Some(pooler) = self.pooler.as_ref().filter(|_| count > 1) {
            let servers = pooler.show("SERVERS").expect("its server connections");
            assert_eq!(servers.iter().filter(|row| row["database"] == self.database).count(), count);
        }
    }
}

impl Drop for Site {
    /// Servers that somebody else runs are left as they were found.
    fn drop(&mut self) {
        if std::env::var_os(format!("TESTBED_POSTGRES{}_URL", self.server.major())).is_some() {
            drop_database(self.server, &self.database);
        }
    }
}

pub(crate) fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("a connection")
}
