//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) const NAME: &str = "diesel-hot-upgrade";

const URLS: &str = "\
URLs:
  A URL is all that libpq takes:
    postgres://user:password@host:port/database?sslmode=require
    'host=… dbname=… user=…'
    service=NAME, for an entry of pg_service.conf
  Without a URL, the one in DATABASE_URL is used, else what PGSERVICE, PGHOST,
  PGDATABASE and so on say. Passwords are also found in PGPASSWORD and in the
  file that PGPASSFILE names. No output has a password in it.";

const EXAMPLES: &str = "\
Examples:
  # What will happen if this server is replaced by that one?
  diesel-hot-upgrade compare postgres://app@old/app postgres://app@new/app

  # The old server is the one in DATABASE_URL; machines read JSON
  export DATABASE_URL=postgres://app@old/app
  diesel-hot-upgrade compare --json postgres://app@new/app

  # Watch the switch, through the pooler
  diesel-hot-upgrade watch postgres://app@pooler:6432/app

  # Which types does the crate watch, and what would `track` need?
  diesel-hot-upgrade types postgres://app@old/app";

const COMPARE: &str = "\
Examples:
  # The whole database
  diesel-hot-upgrade compare postgres://app@old/app postgres://app@new/app

  # Two schemas only, for machines
  diesel-hot-upgrade compare --schema a --schema b --json \\
      service=old service=new

  # The old server is the one in DATABASE_URL
  export DATABASE_URL=postgres://app@old/app
  diesel-hot-upgrade compare postgres://app@new/app

Exit codes:
  0   nothing to do
  1   types move or collide, and diesel-postgres-hot-upgrade handles it
  2   something breaks whatever you do
  3   it could not look at everything (permissions); what it saw does not
      break (it may move or collide)
  64  the arguments make no sense, or both URLs lead to one server
  69  a server can't be reached, or the connection was lost";

const WATCH: &str = "\
Examples:
  # Until Ctrl-C, which ends it with a summary
  diesel-hot-upgrade watch postgres://app@pooler:6432/app

  # For ten minutes, eight sessions, one line of JSON for each event
  diesel-hot-upgrade watch --for 10m --sessions 8 --interval 250ms --json \\
      postgres://app@pooler:6432/app

Exit codes:
  0   at the end, every session was answered by the same server
  1   some session still went to an old server, or got no answer any more
  64  the arguments make no sense
  69  no server could be reached at the beginning";

const COMPLETIONS: &str = "\
Examples:
  diesel-hot-upgrade completions bash \\
      > ~/.local/share/bash-completion/completions/diesel-hot-upgrade
  diesel-hot-upgrade completions fish \\
      > ~/.config/fish/completions/diesel-hot-upgrade.fish";

const MAN: &str = "\
Examples:
  # Read it
  diesel-hot-upgrade man compare | man -l -

  # Install it
  diesel-hot-upgrade man > ~/.local/share/man/man1/diesel-hot-upgrade.1";

const TYPES: &str = "\
Examples:
  # A table, and the lines of Rust for `track`
  diesel-hot-upgrade types postgres://app@old/app

  # For machines
  diesel-hot-upgrade types --json postgres://app@old/app";

/// Says before a PostgreSQL server is replaced what will move, collide and break, and watches the switch
///
/// It helps applications in any language: whatever remembers OIDs of types, or prepared statements, longer than one
/// server lives. It only reads, in READ ONLY transactions, and needs a role that owns nothing.
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = NAME, version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{URLS}"))]
#[command(max_term_width = 80)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Compare two servers: what moves, collides, is missing or differs
    ///
    /// Compares every user-defined type by its name, and then what else applications trip over. With one URL, that is
    /// the new server's, and the old one is the environment's: see URLs in `diesel-hot-upgrade --help`.
    #[command(after_help = COMPARE, allow_missing_positional = true)]
    Compare(Compare),
    /// Watch a switch through the pooler: who answers, since when, what moved
    ///
    /// Several sessions ask all the time, so that a session that still goes to the old server is found. Each of them
    /// is named. Of several, the last one connects each time that it asks.
    #[command(after_help = WATCH)]
    Watch(Watch),
    /// Show the types that the crate watches, and what `track` would need
    #[command(after_help = TYPES)]
    Types(Types),
    /// Print a script of completions for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or that of a command
    #[command(after_help = MAN)]
    Man {
        /// compare, watch or types
        #[arg(value_parser = ["compare", "watch", "types"])]
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The old server's database, through no pooler if that is possible
    pub(crate) old_url: Option<String>,
    /// The new server's database
    pub(crate) new_url: String,
    /// Only what is in this schema; may be repeated
    #[arg(long = "schema", value_name = "S")]
    pub(crate) schemas: Vec<String>,
    /// Print JSON, as docs/before-the-upgrade.md describes it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The address that the application uses: the pooler's
    pub(crate) url: Option<String>,
    /// How often each session asks
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// When to stop; without it, Ctrl-C does
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// How many connections ask
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) sessions: u16,
    /// Print one line of JSON for each event
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// The database
    pub(crate) url: Option<String>,
    /// Print JSON, as docs/before-the-upgrade.md describes it
    #[arg(long)]
    pub(crate) json: bool,
}

/// An error of clap's, which quotes arguments, without those that may have a password in them: such as a URL in place of
/// a command.
pub(crate) fn without_urls(error: &str, arguments: impl Iterator<Item = OsString>) -> String {
    let may_be_secret = |text: &str| ["@", "://", "password"].iter().any(|part| text.contains(part));
    let mut error = error.to_owned();
    for argument in arguments.skip(1).map(|argument| argument.to_string_lossy().into_owned()) {
        let parts = argument.split_once('=').map_or(["", ""], |(name, value)| [name, value]);
        for text in [&argument[..], parts[0], parts[1]].into_iter().filter(|text| may_be_secret(text)) {
            error = error.replace(text, "…");
        }
    }
    error
}

/// A number with a unit: `250ms`, `1s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number and a unit, such as 250ms, 1s, 10m or 2h".to_owned();
    let unit = text.find(|character: char| !character.is_ascii_digit() && character != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if time < Duration::from_millis(10) { Err("a time is at least 10ms".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "1", "s", "1 day", "0s", "-1s", "99999999999999999999999h", "1..2s"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
