//! PgBouncer from Debian's archive, unpacked next to the machine's own packages with every library it needs, and
//! without leave from the machine's package manager.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cache, command, command::tell, release::Release, sources};

const TRIXIE: &[&str] = &[
    "pgbouncer",
    "libaudit1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcares2",
    "libcrypt1",
    "libevent-2.1-7t64",
    "libgcc-s1",
    "libpam0g",
    "libssl3t64",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
];

const BOOKWORM: &[&str] = &[
    "pgbouncer",
    "libaudit1",
    "libc-ares2",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libevent-2.1-7",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "liblz4-1",
    "liblzma5",
    "libpam0g",
    "libssl3",
    "libsystemd0",
    "libzstd1",
];

/// The program beside the unpacked packages: it runs under their loader, not under the machine's.
const PROGRAM: &str = "pgbouncer";

/// Returns the cached program.
pub(crate) fn fetch(release: Release) -> Result<PathBuf, Error> {
    let (suite, packages) = match release {
        Release::Current => ("trixie", TRIXIE),
        Release::Debian12 => ("bookworm", BOOKWORM),
    };
    let folder = cache::install(&format!("pgbouncer-{suite}"), |folder| unpack(folder, suite, packages));
    let folder = folder.map_err(|error| Error::Unavailable {
        what: format!("PgBouncer {}", release.wanted()),
        problem: format!("it is not installed, and fetching it from Debian's {suite} failed: {error}"),
        advice: format!("install it, or name the executable in {}", release.variable()),
    })?;
    Ok(folder.join(PROGRAM))
}

fn unpack(folder: &Path, suite: &str, packages: &[&str]) -> Result<(), Error> {
    tell(&format!("testbed: fetching PgBouncer and its libraries from Debian's {suite}, about 17 MB"));
    let scratch = folder.join("apt");
    let root = folder.join("root");
    let configuration = configure(&scratch, suite)?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-q").arg("-c").arg(&configuration).args(arguments).current_dir(&scratch).env("LC_ALL", "C");
        command::output(&mut apt)
    };
    // One of several sources may fail: what counts is whether the packages can be had.
    let updated = apt(&["update"]);
    let downloaded = apt(&[&["download"], packages].concat());
    downloaded.map_err(|error| updated.err().unwrap_or(error))?;
    for entry in fs::read_dir(&scratch).map_err(Error::file("read", &scratch))? {
        let path = entry.map_err(Error::file("read", &scratch))?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            command::output(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?;
        }
    }
    cache::remove(&scratch)?;
    let program = write_program(folder, &root)?;
    command::output(Command::new("chmod").args(["-R", "a+rX"]).arg(folder))?;
    let version = command::output(Command::new(program).arg("--version"))?;
    tell(&format!("testbed: fetched {}", version.lines().next().unwrap_or_default()));
    Ok(())
}

/// A configuration of apt that neither reads nor writes the machine's lists, caches and pins.
fn configure(scratch: &Path, suite: &str) -> Result<PathBuf, Error> {
    for folder in ["sources.list.d", "state/lists/partial", "cache/archives/partial"] {
        let folder = scratch.join(folder);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    }
    sources::write(&scratch.join("sources.list.d"), suite)?;
    let status = scratch.join("state/status");
    fs::write(&status, "").map_err(Error::file("write", &status))?;
    let folder = scratch.display();
    let text = format!(
        r#"
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/sources.list.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/state/lists";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
"#
    );
    let configuration = scratch.join("apt.conf");
    fs::write(&configuration, text).map_err(Error::file("write", &configuration))?;
    Ok(configuration)
}

fn write_program(folder: &Path, root: &Path) -> Result<PathBuf, Error> {
    let mut libraries = Vec::new();
    for parent in ["lib", "usr/lib"] {
        let folders = fs::read_dir(root.join(parent)).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_name().to_string_lossy().contains("-linux-gnu"));
        libraries.extend(folders.map(|entry| Path::new(parent).join(entry.file_name())));
    }
    let loader = libraries.iter().find_map(|library| {
        let mut files = fs::read_dir(root.join(library)).ok()?.flatten();
        let loader = files.find(|file| file.file_name().to_string_lossy().starts_with("ld-linux"))?;
        Some(library.join(loader.file_name()))
    });
    let loader = loader.ok_or_else(|| Error::Unavailable {
        what: "the dynamic loader".to_owned(),
        problem: "the package libc6 has no ld-linux* beside its libraries".to_owned(),
        advice: "report this with the machine's architecture".to_owned(),
    })?;
    let libraries: Vec<String> = libraries.iter().map(|library| format!("$root/{}", library.display())).collect();
    let text = format!(
        "#!/bin/sh\nroot=$(cd \"$(dirname \"$0\")\" && pwd)/root\n\
         exec \"$root/{}\" --library-path \"{}\" \"$root/usr/sbin/pgbouncer\" \"$@\"\n",
        loader.display(),
        libraries.join(":")
    );
    let program = folder.join(PROGRAM);
    fs::write(&program, text).map_err(Error::file("write", &program))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))
        .map_err(Error::file("make executable", &program))?;
    Ok(program)
}
