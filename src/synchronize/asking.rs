//! What is asked, and what an answer means, whichever driver sends it. No round trip.

use std::sync::Arc;

use diesel::pg::GetPgMetadataCache;

use crate::catalog::clock;
use crate::catalog::database::{Database, LookPermit};
use crate::catalog::server::{IdentifiedBy, Place};
use crate::catalog::snapshot::{Scope, Snapshot, SnapshotId};
use crate::catalog::table::{Current, OID_TABLE};
use crate::connection::{caches, notes};
use crate::probe::check::{Looked, Mark};
use crate::probe::identify::Level;

/// How often a server may change while it is being asked, before the connection is left *unknown*: emptied, but not
/// filled, and asked again at the next checkout.
pub(crate) const MAX_CATCH_UPS: usize = 4;

/// What is known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing: nearly always a check is enough.
    Check,
    /// A check that traveled with `BEGIN` said no.
    Refused {
        /// It may have said so because of new types.
        looked: bool,
    },
    /// The connection is new, and most likely on the server that the pool's last one was filled from. (Not on that of
    /// any other connection: another database, or another search path, can look the same and change later.)
    New(Option<SnapshotId>),
    /// The user asks inside a transaction, which may have created types: look for new types in any case.
    Inside,
    /// A statement failed: look for new types in any case, and ask whether statements are out of date.
    Failed,
    /// Servers take turns, so what Diesel looked up itself may be of the other server: empty the caches in any case.
    Distrust,
}

/// Does the database have types that a snapshot has not?
pub(crate) enum NewTypes {
    /// No, or they are of no interest.
    None,
    /// It is not known: the caller looks.
    Unknown(LookPermit),
    /// Another connection has found some.
    Found,
}

impl NewTypes {
    /// What is known without a round trip. Inside a transaction it does not wait for another connection's look, which
    /// may itself wait for this transaction.
    pub(crate) fn since(snapshot: &Snapshot, in_transaction: bool, always_looks: bool) -> Self {
        NewTypes::due(snapshot, always_looks, |database| {
            if in_transaction { database.due_at_once() } else { database.due_after_waiting() }
        })
    }

    /// The same without waiting.
    #[cfg(feature = "diesel-async")]
    pub(crate) fn since_at_once(snapshot: &Snapshot, always_looks: bool) -> Self {
        NewTypes::due(snapshot, always_looks, Database::due_at_once)
    }

    fn due(
        snapshot: &Snapshot,
        always_looks: bool,
        unless_always: impl FnOnce(&Arc<Database>) -> Option<LookPermit>,
    ) -> Self {
        let are_of_interest = always_looks || !snapshot.content.has_all_tracked;
        if !are_of_interest || snapshot.scope == Scope::Transaction {
            return NewTypes::None;
        }
        let database = &snapshot.database;
        let due = if always_looks { Some(database.unannounced_look()) } else { unless_always(database) };
        match due {
            Some(permit) => NewTypes::Unknown(permit),
            None if database.has_digest(&snapshot.digest) => NewTypes::None,
            None => NewTypes::Found,
        }
    }
}

/// Is a snapshot what the server has?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    No,
    /// It may be another server, other names, or types that are new.
    NoOrIncomplete,
}

impl Holds {
    pub(crate) fn after_check(holds: bool) -> Self {
        if holds { Holds::Yes } else { Holds::No }
    }

    /// Notes what a look has found, for all connections, and for this one the state that was found after a failure.
    pub(crate) fn after_look(
        looked: Looked,
        permit: LookPermit,
        snapshot: &Snapshot,
        mark: Option<Mark>,
        note_state: impl FnOnce(Mark),
    ) -> Self {
        let Looked::NothingNew { took, is_public, now } = looked else {
            return Holds::NoOrIncomplete;
        };
        if is_public {
            permit.found_nothing_new(now.is_none().then_some(took));
        }
        if let Some(now) = now {
            if Some(now) == mark {
                snapshot.database.has_not_changed(took);
            }
            note_state(now);
        }
        Holds::Yes
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) level: Level,
    pub(crate) in_transaction: bool,
    /// This crate notices the end of the innermost transaction or savepoint.
    pub(crate) is_end_noticed: bool,
    pub(crate) always_looks: bool,
    pub(crate) asks_for_changes: bool,
}

/// What is asked about first.
pub(crate) struct First {
    pub(crate) asked: Option<Arc<Snapshot>>,
    /// The database has types that it has not.
    pub(crate) has_new_types: bool,
    /// Most likely a check is enough.
    pub(crate) is_checked: bool,
}

/// What is asked about next.
pub(crate) struct Next {
    pub(crate) asked: Option<Arc<Snapshot>>,
    /// The database has types that it has not.
    pub(crate) has_new_types: bool,
    /// If the successor is asked about: the snapshot that is left.
    pub(crate) left: Option<Arc<Snapshot>>,
}

impl First {
    /// After a refused check, the successor is asked about. If it holds, nothing more is asked.
    pub(crate) fn next(self, start: Start) -> Next {
        let First { asked, has_new_types, is_checked } = self;
        let was_refused = is_checked || matches!(start, Start::Refused { .. });
        let left = asked.as_ref().filter(|left| was_refused && !has_new_types && !left.is_uncertain());
        // Where servers take turns, the one that refused is not the one that answers next.
        let left = left.filter(|left| !OID_TABLE.alternation.concerns(&left.place.identity, Some(clock::now())));
        let successor = left.and_then(|left| left.successor.get()).and_then(shared);
        match successor.filter(|successor| !successor.is_uncertain()) {
            Some(successor) => Next { left: left.cloned(), asked: Some(latest(successor)), has_new_types },
            None => Next { asked, has_new_types, left: None },
        }
    }
}

impl Next {
    pub(crate) const UNKNOWN: Next = Next { asked: None, has_new_types: false, left: None };
}

/// Does the server answer that was left? Then another one answered the check, and is likely to answer next: the same is
/// asked again, once.
pub(crate) fn take_turns(left: &mut Option<Arc<Snapshot>>, place: &Place) -> bool {
    let left = left.take().filter(|left| left.place == *place);
    if let Some(left) = &left {
        left.successor.set(None);
    }
    left.is_some()
}

/// The latest snapshot of the same place.
pub(crate) fn latest(snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
    match OID_TABLE.current(&snapshot) {
        Current::Newer(newer) => newer,
        _ => snapshot,
    }
}

impl Asking {
    pub(crate) fn new(
        before: Option<&Arc<Snapshot>>,
        start: Start,
        in_transaction: bool,
        is_end_noticed: bool,
    ) -> Self {
        let is_by_types = before.is_some_and(|before| before.place.identity.by == IdentifiedBy::TypesAlone);
        Asking {
            level: if is_by_types { Level::Unidentified } else { Level::Identified },
            in_transaction,
            is_end_noticed,
            always_looks: matches!(start, Start::Failed | Start::Inside),
            asks_for_changes: start == Start::Failed,
        }
    }

    pub(crate) fn first(
        self,
        memory: &mut impl GetPgMetadataCache,
        before: Option<&Arc<Snapshot>>,
        start: Start,
    ) -> First {
        let Some(before) = before else {
            let asked = if let Start::New(likely) = start { likely.and_then(shared) } else { None };
            return First { asked, has_new_types: false, is_checked: false };
        };
        let (asked, has_new_types) = match OID_TABLE.current(before) {
            Current::Newer(newer) => (newer, false),
            Current::Same => (Arc::clone(before), false),
            Current::Incomplete => (Arc::clone(before), true),
        };
        // Inside a transaction, the search path is likely to be another one.
        let is_checked = matches!(start, Start::Check | Start::Failed)
            && !has_new_types
            && !self.in_transaction
            && (before.id == asked.id || !caches::conflict(memory, before, &asked));
        First { asked: Some(asked), has_new_types, is_checked }
    }

    /// After a failure, the look also asks whether statements are out of date.
    pub(crate) fn always_looks_at(self, snapshot: &Snapshot) -> bool {
        self.always_looks && (self.asks_for_changes || !snapshot.content.has_all_tracked)
    }

    /// What to compare the catalog with, if it is to be asked for changes.
    pub(crate) fn mark_to_ask_for(
        self,
        memory: &mut impl GetPgMetadataCache,
        snapshot: &Snapshot,
    ) -> Option<Mark> {
        let asks = self.asks_for_changes && snapshot.database.may_ask_for_changes();
        asks.then(|| notes::mark(memory))
    }
}

/// If a check was refused, and the snapshot from before holds all the same, another server answered in between.
pub(crate) fn note_in_between(before: Option<&Arc<Snapshot>>, found: Option<&Arc<Snapshot>>) {
    if let (Some(before), Some(found)) = (before, found) {
        if before.id == found.id {
            OID_TABLE.alternation.note_in_between(&before.place.identity);
        }
    }
}

/// Not what a session or a transaction saw of itself.
pub(crate) fn shared(id: SnapshotId) -> Option<Arc<Snapshot>> {
    OID_TABLE.get(id).filter(|snapshot| snapshot.scope == Scope::Everyone)
}
