//! After a failed statement: was it the fault of what the connection remembers?

use diesel::pg::PgConnection;
use diesel::prelude::*;

use crate::catalog::snapshot::Question;
use crate::connection::caches::{self, StatementCache};
use crate::connection::notes;
use crate::connection::statements;
use crate::probe::check::Mark;
use crate::probe::identify::Level;
use crate::report::stats::COUNTERS;
use crate::synchronize::{Outcome, Start, filled_from, synchronize_from};

/// How often a closure or a statement may run again, after a failure because types or the catalog changed.
pub(crate) const MAX_RERUNS: usize = 2;

/// What was wrong with a connection's caches. They are correct afterwards.
#[derive(Debug)]
pub(crate) enum Healed {
    /// Nothing that is known: the error is the application's.
    Nothing,
    /// OIDs, or what they were filled from was never asked.
    Types,
    /// Prepared statements may be: the catalog changed, or statements are gone. What comes next runs unnamed ones.
    Statements(Healing),
}

/// What to compare with once it is known whether prepared statements were the cause.
///
/// The mark stays if they were: behind a pooler, each server connection has its own stale plans.
#[derive(Debug)]
pub(crate) enum Healing {
    Catalog(Mark),
    /// An earlier transaction was rolled back. Diesel may have looked up a type that it had created.
    RolledBack,
}

impl Healing {
    /// The same failed again: until the catalog changes again, errors are the application's.
    pub(crate) fn was_in_vain(self, conn: &mut PgConnection) {
        match self {
            Healing::Catalog(now) => notes::set_mark(conn, now),
            Healing::RolledBack => notes::set_suspected_in_vain(conn),
        }
    }
}

/// What the caches of a connection hold if it is not known what they were filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They were emptied when the failed transaction ended. What it used had been verified.
    IsEmpty,
    MayBeWrong,
}

/// Asks the server, and corrects the caches. One round trip if nothing changed.
pub(crate) fn heal(conn: &mut PgConnection, unknown: Unknown) -> Healed {
    let may_be_wrong = filled_from(conn).is_some() || unknown == Unknown::MayBeWrong;
    let healed = match synchronize_from(conn, Start::Failed) {
        Ok(Outcome::Changed(change)) if !change.is_of_search_path_only() => Healed::Types,
        // This crate's own statements were gone, or it was not known what the caches were filled from.
        Ok(Outcome::Primed) if may_be_wrong && filled_from(conn).is_some() => Healed::Types,
        Ok(Outcome::Unchanged) => heal_statements(conn).unwrap_or(Healed::Nothing),
        _ => Healed::Nothing,
    };
    match healed {
        Healed::Nothing => COUNTERS.failures_left.increment(),
        Healed::Types => COUNTERS.reruns_for_types.increment(),
        Healed::Statements(_) => COUNTERS.reruns_for_catalog.increment(),
    }
    healed
}

/// None, or three or four round trips.
fn heal_statements(conn: &mut PgConnection) -> QueryResult<Healed> {
    let (mark, now) = (notes::mark(conn), notes::take_state_after_failure(conn));
    let Some(snapshot) = filled_from(conn) else {
        return Ok(Healed::Nothing);
    };
    let healing = match now.filter(|now| now.changes != mark.changes || now.vanished > mark.vanished) {
        Some(now) => Healing::Catalog(now),
        None if notes::was_rolled_back(conn) && !notes::was_suspected_in_vain(conn) => Healing::RolledBack,
        None => return Ok(Healed::Nothing),
    };
    // An uncertain connection prepares nothing by name, and looks up everything again.
    if snapshot.is_uncertain() {
        return Ok(Healed::Nothing);
    }
    statements::identify(conn, &Question::default(), Level::Identified)?;
    caches::empty(conn, Level::Identified, StatementCache::Suspended)?;
    caches::fill(conn, &snapshot);
    Ok(Healed::Statements(healing))
}
