use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

use crate::{Error, PgBouncerConfig, Release, Target, fragment::Fragment, ini, port, release, server::Server};

const PORT_ATTEMPTS: u32 = 5;
const LOGIN_DEADLINE: Duration = Duration::from_secs(5);
const LOGIN_POLL: Duration = Duration::from_millis(2);

/// A running PgBouncer. When dropped it is stopped; the same happens when this process ends in whatever way.
#[derive(Debug)]
pub struct PgBouncer {
    kind: Kind,
    config: PgBouncerConfig,
    version: String,
    routes: Mutex<BTreeMap<String, Target>>,
    /// Held by a switch; a route may change meanwhile.
    switching: Mutex<()>,
}

#[derive(Debug)]
enum Kind {
    Own { port: u16, server: Server },
    External(Fragment),
}

impl PgBouncer {
    /// Starts a PgBouncer without databases, whose user and administrator `postgres` needs no password.
    ///
    /// If `TESTBED_PGBOUNCER_URL` and `TESTBED_PGBOUNCER_INI` are set and [`Release::Current`] is asked for, that
    /// PgBouncer is used instead, by one at a time: others wait until it is dropped.
    pub fn start(config: PgBouncerConfig) -> Result<PgBouncer, Error> {
        let fragment = match config.release {
            Release::Current => Fragment::of_environment()?,
            Release::Debian12 => None,
        };
        let kind = match fragment {
            Some(fragment) => Kind::External(fragment),
            None => launch(&config)?,
        };
        let routes = Mutex::default();
        let mut bouncer = PgBouncer { kind, config, version: String::new(), routes, switching: Mutex::default() };
        bouncer.version = bouncer.ask_version()?;
        if let Kind::External(fragment) = &bouncer.kind {
            if !bouncer.config.release.fits(&bouncer.version) {
                let wanted = bouncer.config.release.wanted();
                return Err(fragment
                    .server
                    .refuse(&format!("be used: {wanted} is needed, not {}", bouncer.version)));
            }
            bouncer.publish(&BTreeMap::new())?;
        }
        Ok(bouncer)
    }

    /// Adds a database, or sends its next transactions elsewhere, without a pause.
    pub fn route(&self, database: &str, to: &Target) -> Result<(), Error> {
        refuse_line_breaks(database, to)?;
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = routes.clone();
        changed.insert(database.to_owned(), to.clone());
        self.publish(&changed)?;
        self.check(database, to)?;
        *routes = changed;
        Ok(())
    }

    /// Sends a database elsewhere between two transactions: waits until every transaction on it has ended while new
    /// ones queue up, moves it, and lets them go on. They go on as well, on the old server, if it cannot be moved.
    pub fn switch(&self, database: &str, to: &Target) -> Result<(), Error> {
        let _alone = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        let name = quoted(database);
        self.await_logins(database)?;
        self.console(&format!("PAUSE {name}"))?;
        let moved = self.route(database, to);
        let resumed = self.console(&format!("RESUME {name}"));
        moved.and(resumed.map(drop))
    }

    /// Does PgBouncer hold back what is new on that database, for a switch?
    pub fn is_paused(&self, database: &str) -> Result<bool, Error> {
        let answer = self.console("SHOW DATABASES")?;
        let row = rows(&answer).find(|row| row.get("name") == Some(database));
        Ok(row.is_some_and(|row| row.get("paused") == Some("1")))
    }

    /// A URL of the user `postgres`.
    pub fn url(&self, database: &str) -> String {
        match &self.kind {
            Kind::Own { .. } => self.url_at(self.address(), database),
            Kind::External(fragment) => fragment.server.url(database),
        }
    }

    /// The same URL with another address, such as a [`Forwarder`](crate::Forwarder)'s.
    pub fn url_at(&self, address: SocketAddr, database: &str) -> String {
        match &self.kind {
            Kind::Own { .. } => format!("postgres://postgres@{address}/{database}"),
            Kind::External(fragment) => fragment.server.url_at(address, database),
        }
    }

    /// Where PgBouncer listens.
    pub fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::Own { port, .. } => (Ipv4Addr::LOCALHOST, *port).into(),
            Kind::External(fragment) => fragment.server.address(),
        }
    }

    /// The version that the running PgBouncer reports, such as `1.24.1`.
    pub fn version(&self) -> String {
        self.version.strip_prefix(release::NAME).unwrap_or(&self.version).to_owned()
    }

    /// Runs a command of the administrator, such as `SHOW POOLS`.
    pub fn console(&self, command: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        ask(&self.url("pgbouncer"), command)
    }

    /// The rows of a `SHOW` command, such as `CLIENTS`, by the names of their columns.
    pub fn show(&self, what: &str) -> Result<Vec<BTreeMap<String, String>>, Error> {
        let answer = self.console(&format!("SHOW {what}"))?;
        let named = |row: &SimpleQueryRow| {
            let columns = row.columns().iter().enumerate();
            columns
                .map(|(index, column)| (column.name().to_owned(), row.get(index).unwrap_or_default().to_owned()))
                .collect()
        };
        Ok(rows(&answer).map(named).collect())
    }

    /// What PgBouncer has logged so far.
    pub fn log(&self) -> Result<String, Error> {
        match &self.kind {
            Kind::Own { server, .. } => server.log(),
            Kind::External(fragment) => Err(fragment.server.refuse("show its log")),
        }
    }

    fn ask_version(&self) -> Result<String, Error> {
        let answer = self.console("SHOW VERSION")?;
        let version = rows(&answer).next().and_then(|row| row.get(0)).unwrap_or_default();
        Ok(version.to_owned())
    }

    /// Makes these the databases.
    fn publish(&self, routes: &BTreeMap<String, Target>) -> Result<(), Error> {
        let databases = ini::databases(routes);
        match &self.kind {
            Kind::Own { port, server } => {
                write_ini(server, &self.config, *port, &databases)?;
                self.console("RELOAD")?;
            }
            Kind::External(fragment) => {
                fragment.write(&databases)?;
                self.console("RELOAD")?;
                // The reload has undone what was set before.
                for (name, value) in self.config.settings() {
                    self.console(&format!("SET {name} = '{}'", value.replace('\'', "''")))?;
                }
            }
        }
        Ok(())
    }

    /// Waits until no server connection of the database is logging in, nor about to: PAUSE cuts such a login off and
    /// takes it for a failed one, and then no other is tried for `server_login_retry` (15 s), and clients are dropped.
    fn await_logins(&self, database: &str) -> Result<(), Error> {
        let deadline = Instant::now() + LOGIN_DEADLINE;
        loop {
            let answer = self.console("SHOW POOLS")?;
            let mut pools = rows(&answer).filter(|row| row.get("database") == Some(database));
            if pools.all(|row| self.is_settled(row)) || Instant::now() > deadline {
                return Ok(());
            }
            thread::sleep(LOGIN_POLL);
        }
    }

    /// A client that waits while there is room for another server connection lets PgBouncer open one.
    fn is_settled(&self, pool: &SimpleQueryRow) -> bool {
        let count = |name| pool.get(name).and_then(|count| count.parse().ok()).unwrap_or(0_u32);
        let servers: u32 = ["sv_active", "sv_idle", "sv_used", "sv_tested"].into_iter().map(count).sum();
        count("sv_login") == 0 && (count("cl_waiting") == 0 || servers >= self.config.default_pool_size)
    }

    /// PgBouncer does not answer RELOAD with what it could not read.
    fn check(&self, database: &str, to: &Target) -> Result<(), Error> {
        let answer = self.console("SHOW DATABASES")?;
        let row = rows(&answer).find(|row| row.get("name") == Some(database));
        let found = row.map(|row| ["host", "port", "database"].map(|name| row.get(name).unwrap_or_default()));
        let (host, port) = (to.hosts(), to.address.port().to_string());
        if found == Some([&host, &port, &to.database]) {
            return Ok(());
        }
        let problem = format!("was told that `{database}` is `{}`, but has {found:?} after RELOAD", to.render());
        Err(match &self.kind {
            Kind::Own { server, .. } => server.failure(&problem),
            Kind::External(fragment) => {
                let path = fragment.path().display();
                fragment.server.refuse(&format!("be routed: it {problem}. Its ini has to have `%include {path}`"))
            }
        })
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Kind::External(fragment) = &self.kind {
            let _ = fragment.restore();
            let _ = self.console("RELOAD");
        }
    }
}

fn launch(config: &PgBouncerConfig) -> Result<Kind, Error> {
    let program = config.release.program()?;
    // It has nothing to save.
    let mut server = Server::new("PgBouncer", "KILL")?;
    let users = server.folder().join("users");
    fs::write(&users, config.auth_file()).map_err(Error::file("write", users))?;
    let mut attempt = 1;
    loop {
        let port = port::free()?;
        write_ini(&server, config, port, &ini::databases(&BTreeMap::new()))?;
        server.spawn(&program, &[server.folder().join("ini").into()])?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/pgbouncer");
        match server.wait_until(|_| ask(&url, "SHOW VERSION").is_ok()) {
            Err(_) if attempt < PORT_ATTEMPTS && server.port_was_taken() => attempt += 1,
            outcome => return outcome.map(|()| Kind::Own { port, server }),
        }
    }
}

fn write_ini(server: &Server, config: &PgBouncerConfig, port: u16, databases: &str) -> Result<(), Error> {
    let users = server.folder().join("users");
    let path = server.folder().join("ini");
    let text = format!("{databases}\n{}", config.render(port, &users.to_string_lossy()));
    fs::write(&path, text).map_err(Error::file("write", path))
}

/// They would end the entry in the ini, and begin another.
fn refuse_line_breaks(database: &str, to: &Target) -> Result<(), Error> {
    if !database.contains('\n') && !to.database.contains('\n') {
        return Ok(());
    }
    Err(Error::Server {
        what: "PgBouncer".to_owned(),
        problem: format!("cannot have {database:?} for {:?}: a name has a line break", to.database),
        log: String::new(),
    })
}

fn ask(url: &str, command: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
    let answer = Client::connect(url, NoTls).and_then(|mut client| client.simple_query(command));
    answer.map_err(Error::sql(format!("run `{command}` on the console of PgBouncer")))
}

fn rows(answer: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
