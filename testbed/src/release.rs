use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, command, debian};

/// Which PgBouncer to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 1.21 or later, which knows prepared statements in transaction pooling; Debian 13's if none is installed.
    Current,
    /// 1.18, as in Debian 12, which does not.
    Debian12,
}

/// What PgBouncer puts before its version.
pub(crate) const NAME: &str = "PgBouncer ";

type Version = (u32, u32);

impl Release {
    /// Returns the executable: the named one, else an installed one, else a fetched one.
    pub fn program(self) -> Result<PathBuf, Error> {
        self.locate(env::var_os(self.variable()))
    }

    /// The environment variable that names the executable.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Release::Current => "TESTBED_PGBOUNCER_BIN",
            Release::Debian12 => "TESTBED_PGBOUNCER_1_18_BIN",
        }
    }

    /// The versions that fit, for people.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Release::Current => "1.21 or later",
            Release::Debian12 => "1.18",
        }
    }

    /// Whether what PgBouncer says of its version (`PgBouncer 1.18.0`) fits.
    pub(crate) fn fits(self, said: &str) -> bool {
        match (self, version(said)) {
            (Release::Current, Some(version)) => version >= (1, 21),
            (Release::Debian12, Some(version)) => version == (1, 18),
            (_, None) => false,
        }
    }

    fn locate(self, named: Option<OsString>) -> Result<PathBuf, Error> {
        if let Some(named) = named {
            return self.check(PathBuf::from(named));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let mut installed = folders.map(|folder| folder.join("pgbouncer")).filter(|program| program.is_file());
        let fitting = installed.find(|program| said_by(program).is_ok_and(|said| self.fits(&said)));
        fitting.map_or_else(|| debian::pgbouncer(self), Ok)
    }

    fn check(self, named: PathBuf) -> Result<PathBuf, Error> {
        let wrong = |problem| Error::setting(self.variable(), named.display(), problem);
        let wanted = self.wanted();
        let said = said_by(&named).map_err(|error| {
            wrong(format!("it has to name the executable of a PgBouncer {wanted}; asked for its version, {error}"))
        })?;
        if self.fits(&said) {
            return Ok(named);
        }
        Err(wrong(format!("a PgBouncer {wanted} is needed, and this one is `{said}`")))
    }
}

fn said_by(program: &Path) -> Result<String, Error> {
    let said = command::output(Command::new(program).arg("--version"))?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

fn version(said: &str) -> Option<Version> {
    let number = said.strip_prefix(NAME)?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn versions() {
        assert!(Release::Current.fits("PgBouncer 1.24.1"));
        assert!(Release::Current.fits("PgBouncer 1.21.0"));
        assert!(!Release::Current.fits("PgBouncer 1.18.0"));
        assert!(Release::Debian12.fits("PgBouncer 1.18.0"));
        assert!(!Release::Debian12.fits("PgBouncer 1.19.1"));
        assert!(!Release::Debian12.fits(""));
        assert!(!Release::Current.fits("true (GNU coreutils) 9.1"));
    }

    #[test]
    fn a_wrongly_named_executable_is_an_error() {
        let error = Release::Debian12.locate(Some("/nowhere/pgbouncer".into())).unwrap_err().to_string();
        assert!(error.contains("TESTBED_PGBOUNCER_1_18_BIN is `/nowhere/pgbouncer`"), "{error}");
        let error = Release::Current.locate(Some("/bin/true".into())).unwrap_err().to_string();
        assert!(error.contains("a PgBouncer 1.21 or later is needed"), "{error}");
    }
}
