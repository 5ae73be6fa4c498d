//! A server process with its folder, log and guard.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Error,
    account::Account,
    command,
    guard::{RunFolder, read_if_there},
};

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// Writes its own number where the guard looks for it, and only then becomes the server: no server is unguarded.
const LAUNCHER: &str = r#"echo $$ >"$1/pid" || exit 1; shift; exec "$@""#;

#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    account: Account,
    folder: RunFolder,
    child: Option<Child>,
    /// Where in the log the present run begins.
    log_start: usize,
}

impl Server {
    /// `signal` is the one by which the server stops at once.
    pub(crate) fn new(name: &str, signal: &str) -> Result<Server, Error> {
        let account = Account::of_servers()?;
        let folder = RunFolder::new(account, signal)?;
        Ok(Server { name: name.to_owned(), account, folder, child: None, log_start: 0 })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }

    pub(crate) fn spawn(&mut self, program: &Path, arguments: &[OsString]) -> Result<(), Error> {
        let path = self.log_path();
        let log = File::options().create(true).append(true).open(&path).map_err(Error::file("open", &path))?;
        let errors = log.try_clone().map_err(Error::file("open", &path))?;
        self.log_start = log.metadata().map_err(Error::file("read", &path))?.len() as usize;
        let mut command = self.account.command("sh");
        command.args(["-c", LAUNCHER, "server"]).arg(self.folder()).arg(program).args(arguments);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        // A group of its own: the terminal's Ctrl-C is for us, and the guard sees to the server.
        command.env("LC_ALL", "C").process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(Error::file("start", program))?);
        Ok(())
    }

    /// The number of the running process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns once `ready` is true; an error if the server ends before, or the time is up.
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut(&Server) -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + DEADLINE;
        while !ready(self) {
            if !self.is_running()? {
                return Err(self.failure("did not start"));
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("did not become ready within {} seconds", DEADLINE.as_secs())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// As `pg_ctl` does: the first line of `postmaster.pid` is the process, the eighth its status.
    pub(crate) fn is_postgres_ready(&self, status: &Path) -> bool {
        let Some(text) = read_if_there(status) else {
            return false;
        };
        let mut lines = text.lines();
        let same = lines.next().and_then(|line| line.trim().parse().ok()) == self.pid();
        same && self.pid().is_some() && lines.nth(6).is_some_and(|line| line.trim() == "ready")
    }

    /// Whether there is a server process; reaps one that has ended.
    pub(crate) fn is_running(&mut self) -> Result<bool, Error> {
        let Some(child) = &mut self.child else {
            return Ok(false);
        };
        if child.try_wait().map_err(Error::file("wait for", self.folder.path()))?.is_none() {
            return Ok(true);
        }
        self.child = None;
        // The number may soon be another process's.
        let _ = fs::remove_file(self.folder.pid_file());
        Ok(false)
    }

    /// Sends the signal and returns when the process has ended.
    pub(crate) fn stop(&mut self, signal: Signal) -> Result<(), Error> {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid as i32)) {
            kill_process(pid, signal).map_err(|error| Error::file("stop", self.folder())(error.into()))?;
        }
        let deadline = Instant::now() + DEADLINE;
        while self.is_running()? {
            if Instant::now() > deadline {
                return Err(self.failure(&format!("did not stop within {} seconds", DEADLINE.as_secs())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Everything that was logged.
    pub(crate) fn log(&self) -> Result<String, Error> {
        let path = self.log_path();
        let bytes = fs::read(&path).map_err(Error::file("read", path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the present run logged that its port is taken.
    pub(crate) fn port_was_taken(&self) -> bool {
        let log = self.log().unwrap_or_default();
        log.get(self.log_start..).unwrap_or_default().contains("Address already in use")
    }

    /// An error with the end of the log.
    pub(crate) fn failure(&self, problem: &str) -> Error {
        let log = command::tail(&self.log().unwrap_or_default());
        Error::Server { what: self.name.clone(), problem: problem.to_owned(), log }
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.folder.release();
        let deadline = Instant::now() + DEADLINE;
        while self.is_running().unwrap_or(false) {
            if Instant::now() > deadline {
                // Only if the guard itself was killed.
                let _ = self.child.as_mut().map(Child::kill);
            }
            thread::sleep(POLL);
        }
        self.folder.wait();
    }
}
