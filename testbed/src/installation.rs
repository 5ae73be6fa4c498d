use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, command, debian, npm};

/// The programs of one PostgreSQL.
#[derive(Clone, Debug)]
pub struct Installation {
    major: u32,
    bin: PathBuf,
    version: String,
}

impl Installation {
    /// Finds the programs of a major: the named ones (`TESTBED_POSTGRES<major>_BIN`), else installed ones that have
    /// the extensions hstore and citext, else fetched ones.
    pub fn find(major: u32) -> Result<Installation, Error> {
        Self::locate(major, env::var_os(variable(major)))
    }

    /// Finds the programs of a PostgreSQL that has the extensions PostGIS and pgvector: the named or installed ones of
    /// PostgreSQL 17 if they have both, else fetched ones.
    pub fn with_postgis_and_pgvector() -> Result<Installation, Error> {
        let major = debian::MAJOR;
        let named = env::var_os(variable(major)).map(PathBuf::from);
        let found = named.into_iter().chain(installed(major)).filter_map(|bin| Self::new(major, &bin).ok());
        match found.into_iter().find(|installation| installation.has(&["postgis", "vector"])) {
            Some(installation) => Ok(installation),
            None => Self::fetched(major, &debian::postgres()?.join("bin")),
        }
    }

    /// Finds the programs of another minor version of the same major: installed ones, else fetched ones.
    pub fn of_another_minor(&self) -> Result<Installation, Error> {
        let number = |installation: &Installation| number_of(&installation.version).map(str::to_owned);
        let fetched: [fn(u32) -> Result<PathBuf, Error>; 2] = [npm::fetch, |_| debian::postgres()];
        let fetched = fetched.into_iter().filter_map(|fetch| fetch(self.major).ok()).map(|home| home.join("bin"));
        let mut found = installed(self.major).chain(fetched).filter_map(|bin| Self::new(self.major, &bin).ok());
        found.find(|other| number(other) != number(self)).ok_or_else(|| Error::Unavailable {
            what: format!("another minor version than {self}"),
            problem: "neither an installed one nor one to be fetched is another".to_owned(),
            advice: format!("use PostgreSQL {}, of which two can be fetched", debian::MAJOR),
        })
    }

    /// The folder with `bin/` and `lib/`.
    pub fn folder(&self) -> &Path {
        self.bin.parent().unwrap_or(&self.bin)
    }

    /// What `postgres --version` says.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn major(&self) -> u32 {
        self.major
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn locate(major: u32, named: Option<OsString>) -> Result<Installation, Error> {
        if let Some(named) = named {
            let bin = PathBuf::from(named);
            return Self::new(major, &bin).map_err(|problem| {
                let problem = format!(
                    "it has to name the folder that holds `initdb` and `postgres` of PostgreSQL {major}: {problem}"
                );
                Error::setting(&variable(major), bin.display(), problem)
            });
        }
        let installed = installed(major).filter_map(|bin| Self::new(major, &bin).ok());
        match installed.into_iter().find(|installation| installation.has(&["hstore", "citext"])) {
            Some(installation) => Ok(installation),
            None => Self::fetched(major, &npm::fetch(major)?.join("bin")),
        }
    }

    fn fetched(major: u32, bin: &Path) -> Result<Installation, Error> {
        Self::new(major, bin).map_err(|problem| Error::Unavailable {
            what: format!("PostgreSQL {major}"),
            problem: format!("the fetched programs do not work: {problem}"),
            advice: format!("remove {} and try again, or set {}", bin.display(), variable(major)),
        })
    }

    fn new(major: u32, bin: &Path) -> Result<Installation, String> {
        for program in ["initdb", "postgres"] {
            if !bin.join(program).is_file() {
                return Err(format!("there is no {}", bin.join(program).display()));
            }
        }
        let version = command::output(Command::new(bin.join("postgres")).arg("--version"));
        let version = version.map_err(|error| error.to_string())?;
        if major_of(&version) != Some(major) {
            return Err(format!("these programs are `{version}`"));
        }
        Ok(Installation { major, bin: bin.to_owned(), version })
    }

    fn has(&self, extensions: &[&str]) -> bool {
        let asked = command::output(Command::new(self.program("pg_config")).arg("--sharedir"));
        let share = asked.map_or_else(|_| format!("/usr/share/postgresql/{}", self.major).into(), PathBuf::from);
        extensions.iter().all(|name| share.join(format!("extension/{name}.control")).is_file())
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.version, self.bin.display())
    }
}

/// Folders where the programs of a major may be installed.
fn installed(major: u32) -> impl Iterator<Item = PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    let asked = command::output(Command::new("pg_config").arg("--bindir")).ok().map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    // The entry may be a link to the real program, beside which the others are.
    let on_path = env::split_paths(&path).filter_map(|folder| folder.join("postgres").canonicalize().ok());
    let on_path: Vec<PathBuf> = on_path.filter_map(|program| program.parent().map(Path::to_owned)).collect();
    [debian].into_iter().chain(asked).chain(on_path)
}

fn variable(major: u32) -> String {
    format!("TESTBED_POSTGRES{major}_BIN")
}

/// The `12.22` of `postgres (PostgreSQL) 12.22 (Debian 12.22-1)`.
fn number_of(version: &str) -> Option<&str> {
    version.split_whitespace().nth(2)
}

fn major_of(version: &str) -> Option<u32> {
    let number = number_of(version)?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Installation, major_of};

    #[test]
    fn majors() {
        assert_eq!(major_of("postgres (PostgreSQL) 12.22"), Some(12));
        assert_eq!(major_of("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("postgres"), None);
    }

    #[test]
    fn a_wrongly_named_folder_is_an_error() {
        let error = Installation::locate(12, Some("/nowhere".into())).unwrap_err().to_string();
        assert!(error.contains("TESTBED_POSTGRES12_BIN is `/nowhere`"), "{error}");
        assert!(error.contains("there is no /nowhere/initdb"), "{error}");
    }

    #[test]
    fn an_unknown_major_is_an_error() {
        let error = Installation::locate(9, None).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 9 is not available"), "{error}");
        assert!(error.contains("TESTBED_POSTGRES9_BIN"), "{error}");
    }
}
