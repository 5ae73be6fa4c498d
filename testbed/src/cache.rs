//! The folder where everything fetched or prepared is kept between runs.

use std::{
    env,
    fs::{self, File, Permissions},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

use crate::{Error, account};

/// Returns the cached folder `name`; makes it by `make` if it is not there. Processes that want the same folder at
/// once make it once, and a folder that was not finished is never seen under its name.
pub(crate) fn install(name: &str, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let root = folder()?;
    let done = root.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    let _lock = lock(&root.join(format!("{name}.lock")), FlockOperation::LockExclusive)?;
    if done.is_dir() {
        return Ok(done);
    }
    remove_leftovers(&root, &format!("{name}.partial"));
    let partial = root.join(format!("{name}.partial-{}", std::process::id()));
    create(&partial)?;
    if let Err(error) = make(&partial) {
        let _ = remove(&partial);
        return Err(error);
    }
    fs::rename(&partial, &done).map_err(Error::file("rename to its final name", &partial))?;
    Ok(done)
}

/// What interrupted processes have left. Their children may still be writing there: another time, then.
fn remove_leftovers(root: &Path, prefix: &str) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = remove(&entry.path());
        }
    }
}

/// Opens (and creates) the file and locks it until the returned handle is dropped.
pub(crate) fn lock(path: &Path, how: FlockOperation) -> Result<File, Error> {
    let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = options.map_err(Error::file("open", path))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how))
        .map_err(|error| Error::file("lock", path)(error.into()))?;
    Ok(file)
}

/// A short name for a text, the same in every process of one build.
pub(crate) fn short_hash(value: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

/// Removes a folder if it is there.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Whether every account may enter the folder (those above it that do not exist yet do not count).
pub(crate) fn is_open(folder: &Path) -> bool {
    folder.ancestors().all(|part| part.metadata().map_or(true, |found| found.mode() & 0o001 != 0))
}

fn folder() -> Result<PathBuf, Error> {
    let folder = choose(&target(), account::is_root());
    create(&folder)?;
    let owner = folder.metadata().map_err(Error::file("read the owner of", &folder))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        let problem = format!("it belongs to the user {owner}: remove it, or work as that user");
        return Err(Error::file("use", &folder)(std::io::Error::other(problem)));
    }
    Ok(folder)
}

/// Servers of root run under another account, which must reach their programs.
fn choose(target: &Path, root: bool) -> PathBuf {
    if root && !is_open(target) {
        return env::temp_dir().join(format!("testbed-{}", short_hash(target)));
    }
    target.join("testbed")
}

fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace");
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Open to all whatever the umask is.
fn create(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(Error::file("open to all", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_root_is_elsewhere_if_others_cannot_enter_the_target_folder() {
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
        let target = closed.path().join("target");
        assert_eq!(choose(&target, false), target.join("testbed"));
        assert!(choose(&target, true).starts_with(env::temp_dir()));
        assert!(!choose(&target, true).starts_with(closed.path()));
        assert_eq!(choose(Path::new("/usr"), true), Path::new("/usr/testbed"));
    }

    #[test]
    fn failed_and_interrupted_installations_leave_nothing() {
        let name = format!("test-{}", std::process::id());
        fs::create_dir(folder().unwrap().join(format!("{name}.partial-0"))).unwrap();
        let failure = install(&name, |_| Err(Error::setting("X", 1, "no"))).unwrap_err();
        assert!(failure.to_string().contains("X"));
        let made = install(&name, |folder| fs::write(folder.join("a"), "b").map_err(Error::file("write", folder)));
        let made = made.unwrap();
        assert!(made.join("a").is_file());
        fs::remove_dir_all(&made).unwrap();
        fs::remove_file(made.with_extension("lock")).unwrap();
        let left = fs::read_dir(folder().unwrap()).unwrap().flatten();
        assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(&name)));
    }
}
