//! After a failed statement: was it the fault of the connection's caches?

use diesel::pg::PgConnection;

use crate::connection::notes;
use crate::synchronize::{Outcome, Start, filled_from, synchronize_from};

/// Asks the server, and corrects the caches. One round trip if nothing changed. True if they were wrong, or if this
/// connection was never asked before.
pub(crate) fn heal(conn: &mut PgConnection) -> bool {
    let (was_known, was_seen) = (filled_from(conn).is_some(), notes::lasting(conn).resets.is_some());
    match synchronize_from(conn, Start::Failed) {
        Ok(Outcome::Changed(change)) => !change.is_of_search_path_only(),
        // The server is the same, but statements of the connection were gone.
        Ok(Outcome::Primed) => was_known || !was_seen,
        _ => false,
    }
}
