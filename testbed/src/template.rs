//! Fresh data folders: `initdb` runs once, and clusters copy what it made.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{Error, account::Account, cache, command, installation::Installation};

/// Durability is not what is tested; the logged statements are what tests look for.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = on
log_statement = 'all'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %d %a '
log_timezone = 'UTC'
timezone = 'UTC'
lc_messages = 'C'
";

static TAKEN: Mutex<BTreeSet<(u32, u32)>> = Mutex::new(BTreeSet::new());

/// A template that no other live cluster of this process is a copy of, so that no two have the same system identifier.
#[derive(Debug)]
pub(crate) struct Template {
    major: u32,
    index: u32,
}

impl Template {
    pub(crate) fn take(major: u32) -> Template {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let index = (0..).find(|index| taken.insert((major, *index))).expect("indexes without end");
        Template { major, index }
    }

    /// Makes `data` a data folder.
    pub(crate) fn copy(&self, installation: &Installation, account: Account, data: &Path) -> Result<(), Error> {
        let from = self.folder(installation, account)?.join("data");
        command::output(account.command("cp").arg("-a").arg(from).arg(data))?;
        let configuration = data.join("postgresql.conf");
        let file = File::options().append(true).open(&configuration);
        file.and_then(|mut file| file.write_all(SETTINGS.as_bytes())).map_err(Error::file("write", configuration))
    }

    fn folder(&self, installation: &Installation, account: Account) -> Result<PathBuf, Error> {
        let hash = cache::short_hash(installation.to_string());
        let name = format!("template-{}-{hash}-{}-{}", self.major, account.user(), self.index);
        cache::install(&name, |folder| {
            account.own(folder)?;
            let mut initdb = account.command(installation.program("initdb"));
            initdb.args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]);
            command::output(initdb.env("LC_ALL", "C").arg("-D").arg(folder.join("data"))).map(drop)
        })
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&(self.major, self.index));
    }
}
