//! A PgBouncer that somebody else runs, whose databases are ours to change.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, external::External};

const URL: &str = "TESTBED_PGBOUNCER_URL";
const INI: &str = "TESTBED_PGBOUNCER_INI";
const DEADLINE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);

/// The file that such a PgBouncer includes; locked against other processes and threads.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) server: External,
    path: PathBuf,
    original: String,
    _lock: File,
}

impl Fragment {
    /// The one that the environment names, if it names one.
    pub(crate) fn of_environment() -> Result<Option<Fragment>, Error> {
        match named(env::var(URL).ok(), env::var(INI).ok())? {
            Some((url, ini)) => Self::open(External::parse(URL, &url)?, Path::new(&ini)).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn write(&self, text: &str) -> Result<(), Error> {
        // In place: the file may be mounted into a container, where a renamed one would not be seen.
        fs::write(&self.path, text).map_err(Error::file("write", &self.path))
    }

    /// Brings back what was in the file before.
    pub(crate) fn restore(&self) -> Result<(), Error> {
        self.write(&self.original)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn open(server: External, path: &Path) -> Result<Fragment, Error> {
        let file = File::options().read(true).write(true).open(path).map_err(|error| {
            let problem =
                format!("it has to name a file, writable from here, that this PgBouncer includes: {error}");
            Error::setting(INI, path.display(), problem)
        })?;
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error.kind() != io::ErrorKind::WouldBlock || Instant::now() > deadline {
                return Err(Error::file("lock (another PgBouncer of the testbed may be using it)", path)(
                    error.into(),
                ));
            }
            thread::sleep(POLL);
        }
        let original = fs::read_to_string(path).map_err(Error::file("read", path))?;
        Ok(Fragment { server, path: path.to_owned(), original, _lock: file })
    }
}

fn named(url: Option<String>, ini: Option<String>) -> Result<Option<(String, String)>, Error> {
    let alone = |set: &str, value: String, other: &str| {
        Error::setting(set, value, format!("{other} is not set: a PgBouncer that already runs needs both"))
    };
    match (url, ini) {
        (Some(url), Some(ini)) => Ok(Some((url, ini))),
        (Some(url), None) => Err(alone(URL, url, INI)),
        (None, Some(ini)) => Err(alone(INI, ini, URL)),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn both_or_none() {
        assert!(named(None, None).unwrap().is_none());
        assert!(named(Some("u".to_owned()), Some("i".to_owned())).unwrap().is_some());
        let error = named(Some("u".to_owned()), None).unwrap_err().to_string();
        assert!(error.contains("TESTBED_PGBOUNCER_INI is not set"), "{error}");
        let error = named(None, Some("i".to_owned())).unwrap_err().to_string();
        assert!(error.contains("TESTBED_PGBOUNCER_URL is not set"), "{error}");
    }
}
