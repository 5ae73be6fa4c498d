//! What a session is good for, and what the user asked for.

use std::fmt;
use std::str::FromStr;

use diesel::QueryResult;
use diesel::result::Error;

/// Which servers a pool accepts, in libpq's words and in libpq's sense: what a *session* on that server can do.
///
/// Set with [`HotUpgradeManager::target_session_attrs`](crate::HotUpgradeManager::target_session_attrs). libpq checks
/// its own `target_session_attrs` only when it connects. A pool with this setting checks at every checkout, for every
/// new connection, and with the `BEGIN` of every verified transaction. If an address leads to several hosts
/// (`postgres://a,b/app?target_session_attrs=read-write`), set both: libpq chooses the host, this crate notices when it
/// stops to fit.
///
/// libpq's `prefer-standby` is left out. It refuses no server, so there is nothing to check: write it into the URL.
///
/// ```
/// use diesel_postgres_hot_upgrade::{HotUpgradeManager, TargetSessionAttrs};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = HotUpgradeManager::new("postgres://app@db/app").target_session_attrs(TargetSessionAttrs::ReadWrite);
/// // From a configuration:
/// let attrs: TargetSessionAttrs = "read-write".parse()?;
/// assert_eq!(attrs, TargetSessionAttrs::ReadWrite);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TargetSessionAttrs {
    /// `any`: every server fits.
    #[default]
    Any,
    /// `read-write`: a session can write by default. The server is not in recovery, and `default_transaction_read_only`
    /// is off.
    ReadWrite,
    /// `read-only`: a session can't write by default. The server is in recovery, or `default_transaction_read_only` is
    /// on.
    ReadOnly,
    /// `primary`: the server is not in recovery. Sessions may still be read-only by default.
    Primary,
    /// `standby`: the server is in recovery.
    Standby,
}

impl TargetSessionAttrs {
    const ALL: [TargetSessionAttrs; 5] = [
        TargetSessionAttrs::Any,
        TargetSessionAttrs::ReadWrite,
        TargetSessionAttrs::ReadOnly,
        TargetSessionAttrs::Primary,
        TargetSessionAttrs::Standby,
    ];

    /// As libpq writes it.
    fn word(self) -> &'static str {
        match self {
            TargetSessionAttrs::Any => "any",
            TargetSessionAttrs::ReadWrite => "read-write",
            TargetSessionAttrs::ReadOnly => "read-only",
            TargetSessionAttrs::Primary => "primary",
            TargetSessionAttrs::Standby => "standby",
        }
    }

    pub(crate) fn fits(self, session: Session) -> bool {
        let is_read_only = session.in_recovery || session.is_read_only_by_default;
        match self {
            TargetSessionAttrs::Any => true,
            TargetSessionAttrs::ReadWrite => !is_read_only,
            TargetSessionAttrs::ReadOnly => is_read_only,
            TargetSessionAttrs::Primary => !session.in_recovery,
            TargetSessionAttrs::Standby => session.in_recovery,
        }
    }

    /// In three bits.
    pub(crate) fn to_bits(self) -> u64 {
        Self::ALL.iter().position(|known| *known == self).unwrap_or_default() as u64
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self::ALL.get(bits as usize).copied().unwrap_or_default()
    }
}

/// As libpq writes it, such as `read-write`.
impl fmt::Display for TargetSessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// From libpq's words: `any`, `read-write`, `read-only`, `primary`, `standby`.
impl FromStr for TargetSessionAttrs {
    type Err = ParseTargetSessionAttrsError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| known.word() == word);
        known.ok_or_else(|| ParseTargetSessionAttrsError { word: word.to_owned() })
    }
}

/// A text that is none of the values of [`TargetSessionAttrs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseTargetSessionAttrsError {
    word: String,
}

impl fmt::Display for ParseTargetSessionAttrsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no value of target_session_attrs: use any, read-write, read-only, primary or standby",
            self.word
        )?;
        if self.word == "prefer-standby" {
            write!(f, " (prefer-standby refuses no server: write it into the database URL)")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseTargetSessionAttrsError {}

/// What decides whether a server fits. None of it depends on the transaction that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) in_recovery: bool,
    /// `default_transaction_read_only`
    pub(crate) is_read_only_by_default: bool,
    /// `server_version_num`
    pub(crate) version: i32,
}

/// A server does not fit. It is the source of a [`QueryBuilderError`](Error::QueryBuilderError).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) wanted: TargetSessionAttrs,
    pub(crate) session: Session,
}

impl Unfit {
    pub(crate) fn of(error: &Error) -> Option<Unfit> {
        match error {
            Error::QueryBuilderError(error) => error.downcast_ref().copied(),
            _ => None,
        }
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Error::QueryBuilderError(Box::new(unfit))
    }
}

impl Session {
    pub(crate) fn require(self, wanted: TargetSessionAttrs) -> QueryResult<()> {
        if wanted.fits(self) { Ok(()) } else { Err(Unfit { wanted, session: self }.into()) }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unfit { wanted, session } = self;
        let is = match (session.in_recovery, session.is_read_only_by_default) {
            (true, _) => "is in recovery (a standby)",
            (false, true) => "is a primary with default_transaction_read_only = on",
            (false, false) => "is a primary that takes writes",
        };
        let (major, minor) = (session.version / 10_000, session.version % 10_000);
        write!(
            f,
            "no connection to a server that is {wanted} (asked for by target_session_attrs): the server that answered \
             {is}, PostgreSQL {major}.{minor}"
        )
    }
}

impl std::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(in_recovery: bool, is_read_only_by_default: bool) -> Session {
        Session { in_recovery, is_read_only_by_default, version: 120_022 }
    }

    #[test]
    fn each_value_is_read_as_libpq_writes_it() {
        for attrs in TargetSessionAttrs::ALL {
            assert_eq!(attrs.to_string().parse(), Ok(attrs));
            assert_eq!(TargetSessionAttrs::from_bits(attrs.to_bits()), attrs);
        }
        for word in ["prefer-standby", "readwrite", "Read-Write", ""] {
            let error = word.parse::<TargetSessionAttrs>().expect_err(word).to_string();
            assert!(error.contains(&format!("{word:?}")) && error.contains("read-write, read-only"), "{error}");
            assert_eq!(error.contains("database URL"), word == "prefer-standby", "{error}");
        }
    }

    #[test]
    fn an_error_says_what_was_asked_for_and_what_the_server_is() {
        let unfit = |wanted, in_recovery, is_read_only| {
            session(in_recovery, is_read_only).require(wanted).expect_err("it does not fit").to_string()
        };
        assert_eq!(
            unfit(TargetSessionAttrs::ReadWrite, true, false),
            "no connection to a server that is read-write (asked for by target_session_attrs): the server that \
             answered is in recovery (a standby), PostgreSQL 12.22"
        );
        let read_only = unfit(TargetSessionAttrs::ReadWrite, false, true);
        assert!(read_only.contains("default_transaction_read_only = on"), "{read_only}");
        let primary = unfit(TargetSessionAttrs::Standby, false, false);
        assert!(primary.contains("is a primary that takes writes"), "{primary}");
    }
}
