//! The account that servers run under: PostgreSQL and PgBouncer refuse to run as root.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
    sync::OnceLock,
};

use crate::{Error, command};

const UNPRIVILEGED: &str = "nobody";

/// Another account than ours; `None` where our own will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account(Option<Ids>);

#[derive(Clone, Copy, Debug)]
struct Ids {
    user: u32,
    group: u32,
}

impl Account {
    /// Our own account, or an unprivileged one if ours is root.
    pub(crate) fn of_servers() -> Result<Account, Error> {
        static KNOWN: OnceLock<Account> = OnceLock::new();
        if let Some(known) = KNOWN.get() {
            return Ok(*known);
        }
        let account =
            if is_root() { Account(Some(Ids { user: id("-u")?, group: id("-g")? })) } else { Account(None) };
        Ok(*KNOWN.get_or_init(|| account))
    }

    /// A command that will run under this account, in a working directory that every account may enter.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some(ids) = self.0 {
            command.uid(ids.user).gid(ids.group);
        }
        command
    }

    /// Gives the file or folder (not what is in it) to this account.
    pub(crate) fn own(self, path: &Path) -> Result<(), Error> {
        match self.0 {
            Some(ids) => {
                chown(path, Some(ids.user), Some(ids.group)).map_err(Error::file("change the owner of", path))
            }
            None => Ok(()),
        }
    }

    /// The user's number.
    pub(crate) fn user(self) -> u32 {
        self.0.map_or_else(|| rustix::process::geteuid().as_raw(), |ids| ids.user)
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn id(option: &str) -> Result<u32, Error> {
    let mut command = Command::new("id");
    command.args([option, UNPRIVILEGED]);
    let answer = command::output(&mut command)?;
    answer.parse().map_err(|_| Error::Command {
        command: format!("{command:?}"),
        problem: format!(
            "`{answer}` is no number. Servers refuse to run as root and need the account `{UNPRIVILEGED}`."
        ),
    })
}
