//! Standbys: they replay what their primary does until they are promoted.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Cluster, Error, account::Account, installation::Installation};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The primary is still stopped when the standby first looks for it.
const RETRY: &str = "wal_retrieve_retry_interval = '100ms'\n";

/// The major that replaced `recovery.conf` by `standby.signal`.
const FIRST_WITH_SIGNAL: u32 = 12;

impl Cluster {
    /// Starts a standby of a cluster that is [stopped](Cluster::stop), on another port. It follows as soon as that one
    /// is [started again](Cluster::restart).
    pub fn standby_of(stopped: &Cluster) -> Result<Cluster, Error> {
        let installation = stopped.installation()?.clone();
        Self::standby(stopped, installation)
    }

    /// The same, with the programs of another minor version. PostgreSQL 17 always has two.
    pub fn standby_of_another_minor(stopped: &Cluster) -> Result<Cluster, Error> {
        let installation = stopped.installation()?.of_another_minor()?;
        Self::standby(stopped, installation)
    }

    fn standby(stopped: &Cluster, installation: Installation) -> Result<Cluster, Error> {
        let primary = conninfo(stopped);
        Self::copied(stopped, installation, "a standby", |data| follow(data, stopped.major(), &primary))
    }

    /// Demotes a server: restarts it on the same port as a standby of `primary`, which was its own standby until it was
    /// [promoted](Cluster::promote).
    pub fn restart_as_standby_of(&mut self, primary: &Cluster) -> Result<(), Error> {
        self.stop()?;
        let (data, _) = self.process("be demoted")?;
        follow(&data, self.major(), &conninfo(primary))?;
        self.restart()
    }

    /// Makes a standby a server of its own, without a restart, and returns once it can be written to.
    pub fn promote(&mut self) -> Result<(), Error> {
        let (data, pid) = self.process("be promoted")?;
        if !self.is_standby()? {
            return Err(self.failure("cannot be promoted: it is no standby"));
        }
        // What `pg_ctl promote` does, in every major.
        let file = data.join("promote");
        File::create(&file).map_err(Error::file("create", &file))?;
        let pid = pid.and_then(|pid| Pid::from_raw(pid as i32)).ok_or_else(|| self.failure("does not run"))?;
        kill_process(pid, Signal::USR1).map_err(|error| Error::file("signal", &data)(error.into()))?;
        self.wait_for("end its recovery", |cluster| Ok(!cluster.is_standby()?))
    }

    /// Returns once this standby has replayed everything that `primary` has done so far.
    pub fn catch_up_with(&self, primary: &Cluster) -> Result<(), Error> {
        let mut client = primary.client("postgres")?;
        let mark = "SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'testbed', 'mark')";
        let failed = || Error::sql("mark a place in the primary's log");
        client.batch_execute(mark).map_err(failed())?;
        let place = client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).map_err(failed())?;
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", place.get::<_, String>(0));
        self.wait_for("catch up", |cluster| cluster.holds(&question))
    }

    fn is_standby(&self) -> Result<bool, Error> {
        self.holds("SELECT pg_is_in_recovery()")
    }

    fn holds(&self, question: &str) -> Result<bool, Error> {
        let answer = self.client("postgres")?.query_one(question, &[]);
        Ok(answer.map_err(Error::sql("ask a standby how far it is"))?.get::<_, Option<bool>>(0) == Some(true))
    }

    fn wait_for(&self, what: &str, ready: impl Fn(&Cluster) -> Result<bool, Error>) -> Result<(), Error> {
        let deadline = Instant::now() + DEADLINE;
        while !ready(self)? {
            if Instant::now() > deadline {
                return Err(self.failure(&format!("did not {what} within {} seconds", DEADLINE.as_secs())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn conninfo(primary: &Cluster) -> String {
    let address = primary.address();
    format!("host={} port={} user=postgres", address.ip(), address.port())
}

/// Makes a data folder that of a standby.
fn follow(data: &Path, major: u32, primary: &str) -> Result<(), Error> {
    let mut settings = format!("primary_conninfo = '{primary}'\n");
    let configuration = data.join("postgresql.conf");
    let written = if major < FIRST_WITH_SIGNAL {
        settings.push_str("standby_mode = 'on'\nrecovery_target_timeline = 'latest'\n");
        let recovery = data.join("recovery.conf");
        let written = fs::write(&recovery, &settings).and_then(|()| append(&configuration, RETRY));
        // A promotion opens it for writing.
        Account::of_servers()?.own(&recovery)?;
        written
    } else {
        settings.push_str(RETRY);
        File::create(data.join("standby.signal")).and_then(|_| append(&configuration, &settings))
    };
    written.map_err(Error::file("write", configuration))
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    File::options().append(true).open(file)?.write_all(text.as_bytes())
}
