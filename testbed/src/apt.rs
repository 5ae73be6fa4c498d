//! Packages from Debian's archive, unpacked next to the machine's own, and without leave from its package manager.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cache, command, sources};

/// Unpacks into the folder `root` the packages, which do not pull in those that they depend on.
pub(crate) fn unpack(folder: &Path, suite: &str, packages: &str) -> Result<(), Error> {
    let scratch = folder.join("apt");
    let configuration = configure(&scratch, suite)?;
    let packages: Vec<&str> = packages.split_whitespace().collect();
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-q").arg("-c").arg(&configuration).args(arguments).current_dir(&scratch).env("LC_ALL", "C");
        command::output(&mut apt)
    };
    // One of several sources may fail: what counts is whether the packages can be had.
    let updated = apt(&["update"]);
    let downloaded = apt(&[&["download"], packages.as_slice()].concat());
    downloaded.map_err(|error| updated.err().unwrap_or(error))?;
    for entry in fs::read_dir(&scratch).map_err(Error::file("read", &scratch))? {
        let path = entry.map_err(Error::file("read", &scratch))?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            command::output(Command::new("dpkg").arg("-x").arg(&path).arg(folder.join("root")))?;
        }
    }
    cache::remove(&scratch)
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

/// Writes to `program`, somewhere in `folder`, a script that runs `real` of the unpacked packages: under their loader and
/// with their libraries, not with the machine's.
pub(crate) fn write_program(folder: &Path, program: &str, real: &str) -> Result<PathBuf, Error> {
    let root = folder.join("root");
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
    // The folder will be renamed, and PostgreSQL looks for its files from where it is called.
    let text = format!(
        "#!/bin/sh\nroot=$(cd \"$(dirname \"$0\")/{}root\" && pwd)\n\
         exec \"$root/{}\" --library-path \"{}\" --argv0 \"$0\" \"$root/{real}\" \"$@\"\n",
        "../".repeat(program.matches('/').count()),
        loader.display(),
        libraries.join(":")
    );
    let program = folder.join(program);
    fs::write(&program, text).map_err(Error::file("write", &program))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))
        .map_err(Error::file("make executable", &program))?;
    Ok(program)
}
