//! Run folders, and the processes that make sure nothing outlives the testbed.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
};

use crate::{Error, account, account::Account, cache};

/// Waits for the end of its input, which comes when the testbed lets go of it or dies in whatever way; then stops the
/// server whose number is in the folder's file `pid`, and removes the folder. Where process 1 is slow to take note of
/// the end of orphans, they stay as zombies.
const SCRIPT: &str = r#"
read -r _
if pid=$(cat "$1/pid" 2>/dev/null); then
    alive() { kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; }
    kill -"$2" "$pid" 2>/dev/null
    tries=0
    while alive && [ "$tries" -lt 600 ]; do
        tries=$((tries + 1))
        [ "$tries" -eq 500 ] && kill -KILL "$pid" 2>/dev/null
        sleep 0.02
    done
fi
rm -rf "$1"
"#;

/// A folder for a server's files. It is removed, and its server stopped, when `release` is called or this process ends.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    guard: Child,
    leash: Option<ChildStdin>,
}

impl RunFolder {
    /// `signal` is the one that stops the server at once.
    pub(crate) fn new(account: Account, signal: &str) -> Result<RunFolder, Error> {
        let parent = parent();
        let folder = tempfile::Builder::new().prefix("testbed-").tempdir_in(&parent);
        let folder = folder.map_err(Error::file("create a folder in", &parent))?;
        account.own(folder.path())?;
        let mut guard = account.command("sh");
        guard.args(["-c", SCRIPT, "guard"]).arg(folder.path()).arg(signal).process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = guard.spawn().map_err(Error::file("start a guard process for", folder.path()))?;
        let leash = guard.stdin.take();
        Ok(RunFolder { path: folder.keep(), guard, leash })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that tells the guard its server's number.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path.join("pid")
    }

    /// Lets the guard stop the server. The server must be waited for before `wait`.
    pub(crate) fn release(&mut self) {
        self.leash = None;
    }

    /// Returns when the folder is gone.
    pub(crate) fn wait(&mut self) {
        let _ = self.guard.wait();
        // Only if the guard itself was killed.
        let _ = cache::remove(&self.path);
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        self.release();
        self.wait();
    }
}

/// Where temporary files go, unless servers of root could not reach it.
fn parent() -> PathBuf {
    let parent = env::temp_dir();
    if account::is_root() && !cache::is_open(&parent) { PathBuf::from("/tmp") } else { parent }
}

/// Reads a file that may not be there.
pub(crate) fn read_if_there(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}
