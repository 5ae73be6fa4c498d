//! Does the server fit `target_session_attrs`? Asked of the session's own default, so that the answer does not depend
//! on the transaction in which it is asked: one that is `READ ONLY` by the caller's wish says nothing of the server.

use diesel::QueryResult;
use diesel::result::Error;

use crate::catalog::session::{Session, TargetSessionAttrs, Unfit};
use crate::probe::sql::{DEFAULT_READ_ONLY, IN_RECOVERY, VERSION};

const IS_OFF: &str = " OPERATOR(pg_catalog.=) 'off'::pg_catalog.text";
const IS_ON: &str = " OPERATOR(pg_catalog.=) 'on'::pg_catalog.text";

/// SQL that goes on a condition: it is true if the server fits.
pub(crate) fn and_fits(wanted: TargetSessionAttrs) -> &'static [&'static str] {
    match wanted {
        TargetSessionAttrs::Any => &[],
        TargetSessionAttrs::ReadWrite => &[" AND NOT ", IN_RECOVERY, " AND ", DEFAULT_READ_ONLY, IS_OFF],
        TargetSessionAttrs::ReadOnly => &[" AND (", IN_RECOVERY, " OR ", DEFAULT_READ_ONLY, IS_ON, ")"],
        TargetSessionAttrs::Primary => &[" AND NOT ", IN_RECOVERY],
        TargetSessionAttrs::Standby => &[" AND ", IN_RECOVERY],
    }
}

const UNFIT: &str = "diesel-postgres-hot-upgrade: unfit for target_session_attrs, in recovery: ";

/// The first arm of a `CASE` that fails if the server does not fit. The error quotes a setting that does not exist,
/// whose name says what the server is. Empty if every server fits.
pub(crate) fn fails_if_unfit(wanted: TargetSessionAttrs) -> String {
    if wanted == TargetSessionAttrs::Any {
        return String::new();
    }
    let fits = and_fits(wanted).concat();
    format!(
        "WHEN NOT (true{fits}) THEN pg_catalog.current_setting(pg_catalog.concat('{UNFIT}', {IN_RECOVERY}, \
         ', read-only: ', {DEFAULT_READ_ONLY}, ', version: ', {VERSION})) "
    )
}

/// A statement that fails if the server does not fit. One message, without results.
pub(crate) fn requirement(wanted: TargetSessionAttrs) -> String {
    format!("/* diesel-postgres-hot-upgrade: session */ SELECT CASE {}ELSE '' END", fails_if_unfit(wanted))
}

/// What such a failure says, in every language of the server. `None` for any other error.
pub(crate) fn unfit(wanted: TargetSessionAttrs, error: &Error) -> Option<Unfit> {
    let Error::DatabaseError(_, information) = error else {
        return None;
    };
    let (_, facts) = information.message().split_once(UNFIT)?;
    let (in_recovery, facts) = facts.split_once(", read-only: ")?;
    let (read_only, version) = facts.split_once(", version: ")?;
    let version: String = version.chars().take_while(char::is_ascii_digit).collect();
    let session = Session {
        in_recovery: in_recovery == "t",
        is_read_only_by_default: read_only == "on",
        version: version.parse().ok()?,
    };
    Some(Unfit { wanted, session })
}

/// From the texts that the identity statement returns. Only of a role that may ask whether the server is in recovery.
pub(crate) fn from_identity(fields: &[String]) -> QueryResult<Session> {
    let field = |index: usize| fields.get(index).map_or("", String::as_str);
    let version = field(4).parse();
    let version = version.map_err(|_| Error::DeserializationError("a server's version is no number".into()))?;
    Ok(Session { in_recovery: field(2) == "true", is_read_only_by_default: field(9) == "on", version })
}
