//! What is to be done with a connection's caches, whichever driver it belongs to. No round trip.

use std::sync::Arc;

use diesel::QueryResult;
use diesel::pg::GetPgMetadataCache;
use diesel::result::Error;

use crate::catalog::clock;
use crate::catalog::snapshot::{Scope, Snapshot};
use crate::catalog::table::OID_TABLE;
use crate::connection::{caches, notes};
use crate::report::observers::notice;
use crate::report::warnings;
use crate::synchronize::Outcome;
use crate::synchronize::asking::{Asking, Start, latest};

pub(crate) enum Settled {
    /// They agree with this, which they were filled from.
    Held(Arc<Snapshot>),
    /// They agree with this too. At most, types were added.
    Grown(Arc<Snapshot>),
    /// They may be wrong, and it is not known what is right: they are emptied, and stay empty.
    Unknown,
    /// They may be wrong: they are emptied, and filled from this.
    Anew {
        found: Arc<Snapshot>,
        /// The statement cache stays off, because they will be emptied again soon.
        is_suspended: bool,
    },
}

/// `was_suspended`: the statement cache is off, so the last transaction was a tenant's, and the next one may well be.
pub(crate) fn decide(
    memory: &mut impl GetPgMetadataCache,
    asking: Asking,
    before: Option<&Arc<Snapshot>>,
    found: Option<Arc<Snapshot>>,
    is_emptied: bool,
    was_suspended: bool,
    start: Start,
) -> QueryResult<Settled> {
    let Some(found) = found else {
        return Ok(Settled::Unknown);
    };
    notes::clear_refused(memory);
    let becomes_certain = before.is_some_and(|before| before.is_uncertain()) && !found.is_uncertain();
    let is_trusted = !is_emptied && !becomes_certain && start != Start::Distrust;
    if let Some(before) = before.filter(|before| is_trusted && before.place == found.place) {
        if before.id == found.id {
            return Ok(Settled::Held(found));
        }
        if !caches::conflict(memory, before, &found) && !found.is_uncertain() {
            return Ok(Settled::Grown(found));
        }
    }
    let has_other_path = before.is_some_and(|before| before.place.path != found.place.path);
    let is_own = found.scope == Scope::Transaction;
    if asking.in_transaction && !asking.is_end_noticed {
        if has_other_path {
            return Err(Error::QueryBuilderError(OTHER_SEARCH_PATH.into()));
        }
        if is_own {
            return Err(Error::QueryBuilderError(OWN_TYPES.into()));
        }
        if before.is_none() {
            // It is not known whether the session has this path, or the transaction alone.
            return Ok(Settled::Unknown);
        }
    }
    let is_for_now = asking.in_transaction && (has_other_path || is_own || start == Start::Distrust);
    let stays_suspended = before.is_none() && was_suspended;
    let is_suspended = is_for_now || stays_suspended || found.is_uncertain();
    Ok(Settled::Anew { found, is_suspended })
}

/// After the caches were emptied and filled.
pub(crate) fn outcome(before: Option<&Arc<Snapshot>>, found: &Arc<Snapshot>) -> Outcome {
    match before {
        Some(before) if before.id != found.id => Outcome::Changed(notice(before, found)),
        _ => Outcome::Primed,
    }
}

/// Servers that take turns are noticed by the moves of connections between them. The next connection that leaves the
/// same snapshot asks about that one's successor first.
pub(crate) fn note_move(from: Option<&Arc<Snapshot>>, to: &Snapshot) {
    let Some(from) = from else {
        return;
    };
    let (left, entered) = (&from.place.identity, &to.place.identity);
    if left == entered {
        return;
    }
    latest(Arc::clone(from)).successor.set(Some(to.id));
    to.successor.set(None);
    OID_TABLE.alternation.note(left, entered);
    if from.server.is_same_for_a_reader(&to.server) && OID_TABLE.alternation.concerns(entered, Some(clock::now()))
    {
        warnings::that_replicas_take_turns();
    }
}

/// Diesel gives no notice when a transaction or a savepoint ends, so what was filled for it would outlive it.
const OTHER_SEARCH_PATH: &str = "synchronize found another search_path inside a transaction or savepoint that \
     diesel-postgres-hot-upgrade did not begin, so it can't tell when that path ends: use hot_transaction_with and \
     before_probe(\"SET LOCAL search_path = …\"), or set the path before the transaction begins";

const OWN_TYPES: &str = "synchronize found types that this transaction changed by itself, inside a transaction or \
     savepoint that diesel-postgres-hot-upgrade did not begin, so it can't tell whether they stay: run migrations in \
     hot_transaction, or call synchronize after the transaction";
