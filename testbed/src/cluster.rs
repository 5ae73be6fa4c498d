use std::{
    env,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use postgres::{Client, NoTls, error::SqlState};
use rustix::process::Signal;

use crate::{
    Error, Target, command, external::External, installation::Installation, port, server::Server,
    template::Template,
};

/// The major versions of PostgreSQL that the testbed can start.
pub const MAJORS: std::ops::RangeInclusive<u32> = 10..=18;
const PORT_ATTEMPTS: u32 = 5;
const RETRY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// One running PostgreSQL. When dropped it is stopped and its data is deleted; the same happens when this process ends
/// in whatever way.
#[derive(Debug)]
pub struct Cluster {
    major: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Own(Box<Own>),
    External(External),
}

#[derive(Debug)]
struct Own {
    installation: Installation,
    port: u16,
    server: Server,
    /// Nobody else's as long as a copy lives.
    template: Arc<Template>,
}

impl Cluster {
    /// Starts a fresh cluster with an empty database `postgres`, whose superuser `postgres` needs no password. No two
    /// live clusters of one process have the same system identifier.
    pub fn start(major: u32) -> Result<Cluster, Error> {
        Self::start_in(Installation::find(major)?)
    }

    /// The same, of a major of its own choice that has the extensions PostGIS and pgvector: 17.
    pub fn start_with_postgis_and_pgvector() -> Result<Cluster, Error> {
        Self::start_in(Installation::with_postgis_and_pgvector()?)
    }

    fn start_in(installation: Installation) -> Result<Cluster, Error> {
        let major = installation.major();
        let template = Template::take(major);
        let server = Server::new(&format!("PostgreSQL {major}"), "QUIT")?;
        template.copy(&installation, server.account(), &server.folder().join("data"))?;
        Self::launched(major, Own { installation, port: 0, server, template: Arc::new(template) })
    }

    /// Starts a copy of a cluster that is [stopped](Cluster::stop): with its data, its system identifier and its OIDs,
    /// on another port. From there on the two go their own ways.
    pub fn copy_of(stopped: &Cluster) -> Result<Cluster, Error> {
        let installation = stopped.installation()?.clone();
        Self::copied(stopped, installation, "a copy", |_| Ok(()))
    }

    /// The same, for an installation of the same major. `prepare` is given the data folder before the server starts.
    pub(crate) fn copied(
        stopped: &Cluster,
        installation: Installation,
        what: &str,
        prepare: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Cluster, Error> {
        let original = stopped.own("be copied")?;
        if original.server.pid().is_some() {
            return Err(original.server.failure("cannot be copied while it runs"));
        }
        let server = Server::new(&format!("PostgreSQL {}, {what}", stopped.major), "QUIT")?;
        let data = server.folder().join("data");
        let mut copying = server.account().command("cp");
        command::output(copying.arg("-a").arg(original.data()).arg(&data))?;
        prepare(&data)?;
        let template = Arc::clone(&original.template);
        Self::launched(stopped.major, Own { installation, port: 0, server, template })
    }

    fn launched(major: u32, mut own: Own) -> Result<Cluster, Error> {
        own.launch_anywhere()?;
        Ok(Cluster { major, kind: Kind::Own(Box::new(own)) })
    }

    /// The cluster of a major that everybody in this process may use: the server that `TESTBED_POSTGRES<major>_URL`
    /// names (a URL of a superuser), or one that is started when first asked for.
    ///
    /// # Panics
    ///
    /// If it cannot be had, with the text of the [`Error`].
    #[track_caller]
    pub fn shared(major: u32) -> &'static Cluster {
        Self::try_shared(major).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, with an error where it cannot be had.
    ///
    /// # Panics
    ///
    /// If the major is not one of [`MAJORS`].
    #[track_caller]
    pub fn try_shared(major: u32) -> Result<&'static Cluster, &'static Error> {
        const COUNT: usize = (*MAJORS.end() - *MAJORS.start() + 1) as usize;
        static SHARED: [OnceLock<Result<Cluster, Error>>; COUNT] = [const { OnceLock::new() }; COUNT];
        assert!(MAJORS.contains(&major), "the testbed knows the majors {MAJORS:?} of PostgreSQL, not {major}");
        SHARED[(major - MAJORS.start()) as usize].get_or_init(|| Self::external_or_started(major)).as_ref()
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::Own(own) => (Ipv4Addr::LOCALHOST, own.port).into(),
            Kind::External(external) => external.address(),
        }
    }

    /// A URL of the superuser.
    pub fn url(&self, database: &str) -> String {
        match &self.kind {
            Kind::Own(_) => self.url_at(self.address(), database),
            Kind::External(external) => external.url(database),
        }
    }

    /// The same URL with another address, such as a [`Forwarder`](crate::Forwarder)'s.
    pub fn url_at(&self, address: SocketAddr, database: &str) -> String {
        match &self.kind {
            Kind::Own(_) => format!("postgres://postgres@{address}/{database}"),
            Kind::External(external) => external.url_at(address, database),
        }
    }

    /// Connects as superuser.
    pub fn client(&self, database: &str) -> Result<Client, Error> {
        let action =
            || format!("connect to the database `{database}` of PostgreSQL {} at {}", self.major, self.address());
        Client::connect(&self.url(database), NoTls).map_err(|error| Error::sql(action())(error))
    }

    /// The database as a target for PgBouncer.
    pub fn target(&self, database: &str) -> Target {
        let login = match &self.kind {
            Kind::Own(_) => None,
            Kind::External(external) => Some(external.login().clone()),
        };
        Target::new(self.address(), database).with_login(login)
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        let mut client = self.client("postgres")?;
        let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        let deadline = Instant::now() + RETRY;
        loop {
            match client.batch_execute(&statement) {
                // Somebody is connected to template1, autovacuum for instance.
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && Instant::now() < deadline => {
                    thread::sleep(PAUSE);
                }
                outcome => return outcome.map_err(Error::sql(format!("create the database `{name}`"))),
            }
        }
    }

    /// What the server has logged so far: every statement, among others.
    pub fn log(&self) -> Result<String, Error> {
        self.own("show its log")?.server.log()
    }

    /// Stops the server as `pg_ctl stop -m fast` does. The data is kept.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.own_mut("be stopped")?.server.stop(Signal::INT)
    }

    /// Stops the server at once, as a crash does. The data is kept.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.own_mut("be stopped")?.server.stop(Signal::QUIT)
    }

    /// Starts the server again on the same port, with the same data; stops it before if it runs.
    pub fn restart(&mut self) -> Result<(), Error> {
        let own = self.own_mut("be restarted")?;
        own.server.stop(Signal::INT)?;
        own.launch_again()
    }

    /// Starts the server again on the port of another one, which is stopped: what connects to that address finds this
    /// server from now on.
    pub fn restart_in_place_of(&mut self, stopped: &Cluster) -> Result<(), Error> {
        let other = stopped.own("be replaced")?;
        if other.server.pid().is_some() {
            return Err(other.server.failure("cannot be replaced while it runs"));
        }
        self.own_mut("be restarted")?.port = other.port;
        self.restart()
    }

    /// The installation that the server was started from.
    pub fn installation(&self) -> Result<&Installation, Error> {
        Ok(&self.own("show its programs")?.installation)
    }

    /// The data folder and the number of the running process.
    pub(crate) fn process(&self, action: &str) -> Result<(PathBuf, Option<u32>), Error> {
        self.own(action).map(|own| (own.data(), own.server.pid()))
    }

    /// An error with the end of the server's log.
    pub(crate) fn failure(&self, problem: &str) -> Error {
        match &self.kind {
            Kind::Own(own) => own.server.failure(problem),
            Kind::External(external) => external.refuse(problem),
        }
    }

    fn own(&self, action: &str) -> Result<&Own, Error> {
        match &self.kind {
            Kind::Own(own) => Ok(own),
            Kind::External(external) => Err(external.refuse(action)),
        }
    }

    fn own_mut(&mut self, action: &str) -> Result<&mut Own, Error> {
        match &mut self.kind {
            Kind::Own(own) => Ok(own),
            Kind::External(external) => Err(external.refuse(action)),
        }
    }

    fn external_or_started(major: u32) -> Result<Cluster, Error> {
        let variable = format!("TESTBED_POSTGRES{major}_URL");
        match env::var(&variable) {
            Ok(url) => Self::external(major, External::parse(&variable, &url)?),
            Err(env::VarError::NotPresent) => Self::start(major),
            Err(error) => Err(Error::setting(&variable, "?", error.to_string())),
        }
    }

    fn external(major: u32, external: External) -> Result<Cluster, Error> {
        let cluster = Cluster { major, kind: Kind::External(external.clone()) };
        let client = cluster.client("postgres").map_err(|error| external.refuse(&format!("be used ({error})")));
        let asked = client?.query_one("SELECT current_setting('server_version_num')::int", &[]);
        let number: i32 = asked.map_err(Error::sql("ask the server for its version"))?.get(0);
        if number / 10_000 == major as i32 {
            return Ok(cluster);
        }
        Err(external.refuse(&format!("be used as PostgreSQL {major}: its version number is {number}")))
    }
}

impl Own {
    fn data(&self) -> PathBuf {
        self.server.folder().join("data")
    }

    fn launch_anywhere(&mut self) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            self.port = port::free()?;
            match self.launch() {
                Err(_) if attempt < PORT_ATTEMPTS && self.server.port_was_taken() => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    fn launch_again(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + RETRY;
        loop {
            match self.launch() {
                Err(_) if Instant::now() < deadline && self.server.port_was_taken() => thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    fn launch(&mut self) -> Result<(), Error> {
        let data = self.data();
        let arguments: [OsString; 4] =
            ["-D".into(), data.clone().into(), "-p".into(), self.port.to_string().into()];
        self.server.spawn(&self.installation.program("postgres"), &arguments)?;
        let status = data.join("postmaster.pid");
        self.server.wait_until(|server| server.is_postgres_ready(&status))
    }
}
