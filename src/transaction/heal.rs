//! After a failed statement: was it the fault of the connection's caches?

use diesel::pg::PgConnection;

use crate::synchronize::{Outcome, known_watch, synchronize};

/// What was wrong with a connection's caches. They are right afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Healed {
    /// Nothing, or nothing that is known.
    Nothing,
    /// They were those of another search path.
    SearchPath,
    Types,
}

/// Asks the server, and makes the caches right. One round trip where nothing changed.
pub(crate) fn heal(conn: &mut PgConnection) -> Healed {
    let was_known = known_watch(conn).is_some();
    match synchronize(conn) {
        Ok(Outcome::Changed(change)) if change.is_of_search_path_only() => Healed::SearchPath,
        Ok(Outcome::Changed(_)) => Healed::Types,
        // The server is the same, but statements of the connection were gone.
        Ok(Outcome::Primed) if was_known => Healed::Types,
        _ => Healed::Nothing,
    }
}
