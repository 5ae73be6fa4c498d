//! After a failed statement: was it the fault of what the connection remembers?

use std::sync::Arc;

use diesel::pg::{GetPgMetadataCache, PgConnection};
use diesel::prelude::*;

use crate::catalog::snapshot::{Question, Snapshot};
use crate::connection::caches::{self, StatementCache};
use crate::connection::notes;
use crate::connection::statements;
use crate::probe::check::Mark;
use crate::probe::identify::Level;
use crate::report::stats::COUNTERS;
use crate::synchronize::{Outcome, Start, filled_from, mark_if_unfit, synchronize_from};
use crate::transaction::plans::{Asked, heal_all, heal_held};

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
    /// Any server connection of a pooler may have plans that are out of date.
    Pooler,
    /// The server connection was healed on which the statement failed.
    Held,
    /// The session has none of Diesel's statements: all may have been deallocated.
    NoneLeft,
    /// An earlier transaction was rolled back. Diesel may have looked up a type that it had created.
    RolledBack,
}

impl Healing {
    /// The same failed again: until the catalog changes again, errors are the application's.
    fn was_in_vain(self, conn: &mut impl GetPgMetadataCache) {
        match self {
            Healing::Catalog(now) => {
                // How many had vanished is known since the caches were emptied.
                let vanished = notes::mark(conn).vanished;
                notes::set_mark(conn, Mark { vanished, ..now });
                notes::forget_reruns_in_vain(conn);
            }
            Healing::Pooler | Healing::Held => notes::add_rerun_in_vain(conn),
            Healing::NoneLeft => notes::set_none_left_in_vain(conn),
            Healing::RolledBack => notes::set_suspected_in_vain(conn),
        }
    }
}

impl Healed {
    /// What the server said of types after a failure. `None` if they are what they were.
    pub(crate) fn types(
        outcome: QueryResult<Outcome>,
        unknown: Unknown,
        was_filled: bool,
        is_filled: bool,
    ) -> Option<Self> {
        let may_be_wrong = was_filled || unknown == Unknown::MayBeWrong;
        match outcome {
            // A verified transaction had begun with this search path.
            Ok(Outcome::Changed(change)) if change.is_of_search_path_only() && unknown == Unknown::IsEmpty => {
                Some(Healed::Nothing)
            }
            Ok(Outcome::Changed(_)) => Some(Healed::Types),
            // This crate's own statements were gone, or it was not known what the caches were filled from.
            Ok(Outcome::Primed) if may_be_wrong && is_filled => Some(Healed::Types),
            Ok(Outcome::Unchanged) => None,
            _ => Some(Healed::Nothing),
        }
    }

    /// Something runs again.
    pub(crate) fn runs_again(&self) {
        match self {
            Healed::Nothing => {}
            Healed::Types => COUNTERS.reruns_for_types.increment(),
            Healed::Statements(_) => COUNTERS.reruns_for_catalog.increment(),
        }
    }

    /// It did not fail again.
    pub(crate) fn succeeded(&self, conn: &mut impl GetPgMetadataCache) {
        match self {
            Healed::Nothing => {}
            Healed::Types => COUNTERS.heals_for_types.increment(),
            Healed::Statements(_) => {
                COUNTERS.heals_for_catalog.increment();
                notes::forget_reruns_in_vain(conn);
            }
        }
    }

    /// It failed again.
    pub(crate) fn was_in_vain(self, conn: &mut impl GetPgMetadataCache) {
        if let Healed::Statements(healing) = self {
            healing.was_in_vain(conn);
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

/// After a transaction was rolled back: corrects the caches if the message that did it did not say that they are fine.
pub(crate) fn heal_after(conn: &mut PgConnection, asked: Asked, may_rerun: bool) -> Healed {
    match asked {
        Asked::Fine if !may_rerun || !is_rolled_back_suspect(conn) => Healed::Nothing,
        Asked::SuspectAndHeld(database) => match heal_held(conn, database.as_deref()) {
            Ok(true) => Healed::Statements(Healing::Held),
            Ok(false) => Healed::Nothing,
            Err(error) => {
                mark_if_unfit(conn, &error);
                Healed::Nothing
            }
        },
        Asked::Unnamed => heal_unnamed(conn, Unknown::IsEmpty),
        Asked::Fine | Asked::Nothing | Asked::Suspect => heal(conn, Unknown::IsEmpty),
    }
}

/// Asks the server, and corrects the caches. One round trip if nothing changed.
pub(crate) fn heal(conn: &mut PgConnection, unknown: Unknown) -> Healed {
    heal_types(conn, unknown).unwrap_or_else(|| heal_statements(conn).unwrap_or(Healed::Nothing))
}

/// The same, if no statement was prepared by name: then none can be out of date.
pub(crate) fn heal_unnamed(conn: &mut PgConnection, unknown: Unknown) -> Healed {
    heal_types(conn, unknown).unwrap_or_else(|| heal_rolled_back(conn))
}

/// `None` if types are what they were.
fn heal_types(conn: &mut PgConnection, unknown: Unknown) -> Option<Healed> {
    let was_filled = filled_from(conn).is_some();
    let outcome = synchronize_from(conn, Start::Failed);
    let is_filled = filled_from(conn).is_some();
    Healed::types(outcome, unknown, was_filled, is_filled)
}

fn heal_rolled_back(conn: &mut PgConnection) -> Healed {
    let snapshot = filled_from(conn).filter(|snapshot| !snapshot.is_uncertain());
    let healed = snapshot.filter(|_| is_rolled_back_suspect(conn)).map(|snapshot| empty_and_fill(conn, &snapshot));
    if matches!(healed, Some(Ok(()))) { Healed::Statements(Healing::RolledBack) } else { Healed::Nothing }
}

pub(crate) fn is_rolled_back_suspect(conn: &mut impl GetPgMetadataCache) -> bool {
    notes::was_rolled_back(conn) && !notes::was_suspected_in_vain(conn)
}

/// None, or three or four round trips.
fn heal_statements(conn: &mut PgConnection) -> QueryResult<Healed> {
    let (mark, now) = (notes::mark(conn), notes::take_state_after_failure(conn));
    let Some(snapshot) = filled_from(conn) else {
        return Ok(Healed::Nothing);
    };
    let is_changed = now.is_some_and(|now| mark.differs(now));
    let is_pooled = notes::is_prepared_by_pooler(conn);
    let healing = match now {
        Some(now) if is_changed => Healing::Catalog(now),
        _ if is_pooled && notes::may_rerun_in_vain(conn) => Healing::Pooler,
        Some(now) if now.has_none_left() && !is_pooled && !notes::was_none_left_in_vain(conn) => Healing::NoneLeft,
        _ if is_rolled_back_suspect(conn) => Healing::RolledBack,
        _ => return Ok(Healed::Nothing),
    };
    // An uncertain connection prepares nothing by name, and looks up everything again.
    if snapshot.is_uncertain() {
        return Ok(Healed::Nothing);
    }
    // Plans may be out of date: those of the pooler too.
    let is_of_pooler = is_pooled && !matches!(healing, Healing::RolledBack);
    if is_of_pooler {
        heal_all(conn, &snapshot.database)?;
    }
    // It may have been fine.
    if !is_of_pooler || notes::snapshot(conn).is_some() {
        empty_and_fill(conn, &snapshot)?;
    } else {
        caches::fill(conn, &snapshot);
    }
    if matches!(healing, Healing::NoneLeft) {
        // From now on there is one, so it shows if they vanish.
        caches::with_statement_cache(conn, statements::use_kept)?;
    }
    Ok(Healed::Statements(healing))
}

fn empty_and_fill(conn: &mut PgConnection, snapshot: &Arc<Snapshot>) -> QueryResult<()> {
    statements::identify(conn, &Question::default(), Level::Identified)?;
    caches::empty(conn, Level::Identified, StatementCache::Suspended)?;
    caches::fill(conn, snapshot);
    Ok(())
}
