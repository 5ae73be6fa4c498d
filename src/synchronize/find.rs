//! Which snapshot is that of the server that answers now?

use std::sync::Arc;

use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::clock;
use crate::catalog::database::{Database, LookPermit};
use crate::catalog::server::Place;
use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::{Question, Scope, Snapshot, SnapshotId};
use crate::catalog::table::{Claim, Current, LoadPermit, OID_TABLE};
use crate::connection::caches::{self, StatementCache};
use crate::connection::notes;
use crate::connection::statements::{self, check, check_and_look};
use crate::connection::transaction_state::{guarded, is_broken, is_loss};
use crate::probe::check::Looked;
use crate::probe::identify::{Identified, Level};
use crate::report::log::{self, printable};
use crate::report::warnings;

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
enum Holds {
    Yes,
    No,
    /// It may be another server, other names, or types that are new.
    NoOrIncomplete,
}

/// What a connection needs.
pub(super) struct Found {
    /// `None` if the server does not show its types, or if another server answers each time.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// What the role may ask the server.
    pub(super) level: Level,
    /// The caches were emptied on the way.
    pub(super) is_emptied: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) level: Level,
    pub(super) in_transaction: bool,
    /// This crate notices the end of the innermost transaction or savepoint.
    pub(super) is_end_noticed: bool,
    pub(super) always_looks: bool,
    pub(super) asks_for_changes: bool,
}

impl Asking {
    /// The snapshot of the server that answers now: the one from before, another one from the table, or a loaded one.
    pub(super) fn find(
        self,
        conn: &mut PgConnection,
        before: Option<&Arc<Snapshot>>,
        start: Start,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let (mut asked, mut has_new_types) = match start {
            Start::New(likely) if before.is_none() => (likely.and_then(shared), false),
            _ => (before.cloned(), false),
        };
        if let Some(before) = before {
            match OID_TABLE.current(before) {
                Current::Newer(newer) => asked = Some(newer),
                Current::Same => {}
                Current::Incomplete => has_new_types = true,
            }
        }
        // Inside a transaction, the search path is likely to be another one.
        let is_checked = before.is_some()
            && matches!(start, Start::Check | Start::Failed)
            && !has_new_types
            && !self.in_transaction;
        let would_conflict = |conn: &mut PgConnection, asked: &Arc<Snapshot>| {
            before.is_some_and(|before| before.id != asked.id && caches::conflict(conn, before, asked))
        };
        let mut was_refused = matches!(start, Start::Refused { looked: false });
        if let Some(asked) = asked.as_ref().filter(|_| is_checked) {
            if !would_conflict(conn, asked) {
                match self.holds(conn, asked)? {
                    Holds::Yes => return Ok(Some(Arc::clone(asked))),
                    Holds::No => was_refused = true,
                    Holds::NoOrIncomplete => {}
                }
            }
        }
        let found = self.identify_and_look_up(conn, asked, has_new_types)?;
        if let (true, Some(before), Some(found)) = (was_refused, before, &found) {
            if before.id == found.id {
                OID_TABLE.alternation.note_in_between(&before.place.identity);
            }
        }
        Ok(found)
    }

    fn new_types(self, snapshot: &Snapshot) -> NewTypes {
        // After a failure, the look also asks whether statements are out of date.
        let always_looks = self.always_looks && (self.asks_for_changes || !snapshot.content.has_all_tracked);
        NewTypes::since(snapshot, self.in_transaction, always_looks)
    }

    /// Does the snapshot hold, and is nothing new? One round trip.
    fn holds(self, conn: &mut PgConnection, snapshot: &Snapshot) -> QueryResult<Holds> {
        let permit = match self.new_types(snapshot) {
            NewTypes::None => {
                return check(conn, snapshot).map(|holds| if holds { Holds::Yes } else { Holds::No });
            }
            NewTypes::Found => return Ok(Holds::NoOrIncomplete),
            NewTypes::Unknown(permit) => permit,
        };
        let asks_for_changes = self.asks_for_changes && snapshot.database.may_ask_for_changes();
        let mark = asks_for_changes.then(|| notes::mark(conn));
        match check_and_look(conn, snapshot, self.in_transaction, mark)? {
            Looked::NothingNew { took, is_public, now } => {
                if is_public {
                    permit.found_nothing_new(now.is_none().then_some(took));
                }
                if let Some(now) = now {
                    if Some(now) == mark {
                        snapshot.database.has_not_changed(took);
                    }
                    notes::set_state_after_failure(conn, now);
                }
                Ok(Holds::Yes)
            }
            Looked::Otherwise => Ok(Holds::NoOrIncomplete),
        }
    }

    /// Two round trips, or one more if it is not clear whether types are new.
    fn identify_and_look_up(
        self,
        conn: &mut PgConnection,
        mut asked: Option<Arc<Snapshot>>,
        mut has_new_types: bool,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let replicas = notes::lasting(conn).replicas;
        for _ in 0..MAX_CATCH_UPS {
            let question = asked.as_ref().map(|asked| asked.content.question.clone()).unwrap_or_default();
            let Identified { server, shown } = statements::identify(conn, &question, self.level)?;
            let place = server.place(replicas);
            if let Some(asked) = asked.as_ref().filter(|asked| !has_new_types && asked.holds(&place, &shown)) {
                match self.new_types(asked) {
                    NewTypes::None => return Ok(Some(Arc::clone(asked))),
                    NewTypes::Found => {}
                    NewTypes::Unknown(permit) => {
                        drop(permit);
                        if self.holds(conn, asked)? == Holds::Yes {
                            return Ok(Some(Arc::clone(asked)));
                        }
                        // The server has changed again, or types are new.
                        has_new_types = true;
                        continue;
                    }
                }
            }
            let refuted = asked.filter(|asked| asked.place == place).map(|asked| asked.id);
            match self.claim(&place, refuted) {
                Claim::Known(candidate)
                    if candidate.content.question == question && candidate.holds(&place, &shown) =>
                {
                    // The answer says so already. Only new types may be unknown.
                    if matches!(self.new_types(&candidate), NewTypes::None) {
                        return Ok(Some(candidate));
                    }
                    (asked, has_new_types) = (Some(candidate), false);
                }
                Claim::Known(candidate) => (asked, has_new_types) = (Some(candidate), false),
                Claim::Load(permit) => match self.load(conn, &place, permit)? {
                    Some(loaded) => return Ok(Some(loaded)),
                    None => (asked, has_new_types) = (None, false),
                },
                Claim::Busy => unreachable!("a claim that waits, or that does not, is settled"),
            }
        }
        log::note(format_args!(
            "the server changed {MAX_CATCH_UPS} times while it was being asked: caches stay empty"
        ));
        Ok(None)
    }

    /// Never waits inside a transaction: it pins the server connection that the loading connection may be waiting for.
    fn claim(self, place: &Place, refuted: Option<SnapshotId>) -> Claim<'static> {
        if !self.in_transaction {
            return OID_TABLE.claim_after_waiting(place, refuted);
        }
        match OID_TABLE.claim(place, refuted) {
            Claim::Busy => Claim::Load(LoadPermit::UNANNOUNCED),
            claim => claim,
        }
    }

    fn load(
        self,
        conn: &mut PgConnection,
        place: &Place,
        permit: LoadPermit<'_>,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let (began, others) = (clock::now(), OID_TABLE.other_starts(&place.identity));
        let loaded = statements::load(conn, self.level, self.in_transaction, &others)?;
        let snapshot = loaded.map(|loaded| OID_TABLE.insert(loaded, began));
        // User code, such as the log, is called with nothing held.
        drop(permit);
        if let Some(snapshot) = &snapshot {
            warnings::if_many_types(snapshot);
        }
        Ok(snapshot)
    }

    /// A question that failed on a living connection can mean that its own prepared statement is gone, or that this
    /// server allows less than the last one did: it is asked again with empty caches, and then with fewer permissions.
    pub(super) fn recover(self, conn: &mut PgConnection, error: Error) -> QueryResult<Found> {
        let emptied = guarded(conn, |conn| {
            statements::ping(conn)?;
            caches::empty(conn, Level::Mute, StatementCache::Suspended)
        });
        if let Err(refused) = emptied {
            // That the server does not fit, or that the role may not ask for that, is the better reason.
            let accepts_all = notes::lasting(conn).wanted == TargetSessionAttrs::Any;
            return Err(if accepts_all { error } else { refused });
        }
        log::note(format_args!(
            "a probe failed on a living connection, whose caches were emptied: {}",
            printable(&error)
        ));
        // No table says who answers: an error of this is about permissions.
        let identified =
            match guarded(conn, |conn| statements::identify(conn, &Question::default(), Level::Identified)) {
                Err(error) if !is_usable(conn, &error) => return Err(error),
                identified => identified.ok(),
            };
        let level = if identified.is_some() { Level::Identified } else { Level::Unidentified };
        let replicas = notes::lasting(conn).replicas;
        let is_known = identified.is_some_and(|known| OID_TABLE.knows(&known.server.place(replicas)));
        let asking = Asking { level, ..self };
        match guarded(conn, |conn| asking.identify_and_look_up(conn, None, false)) {
            Ok(snapshot) => {
                if level == Level::Unidentified {
                    warnings::that_identity_is_refused();
                } else {
                    caches::restore_statement_cache(conn);
                }
                Ok(Found { snapshot, level, is_emptied: true })
            }
            Err(error) if !is_usable(conn, &error) => Err(error),
            Err(error) if is_known => {
                // The server has shown its types before: this was a timeout, for example. It is asked again.
                log::note(format_args!("a probe was interrupted: {}", printable(&error)));
                Ok(Found { snapshot: None, level: Level::Mute, is_emptied: true })
            }
            Err(_) => {
                warnings::that_catalog_is_refused(&error);
                notes::set_refused(conn);
                Ok(Found { snapshot: None, level: Level::Mute, is_emptied: true })
            }
        }
    }
}

/// Not what a session or a transaction saw of itself.
pub(crate) fn shared(id: SnapshotId) -> Option<Arc<Snapshot>> {
    OID_TABLE.get(id).filter(|snapshot| snapshot.scope == Scope::Everyone)
}

/// Can this connection still be asked something, and does its server fit?
fn is_usable(conn: &mut PgConnection, error: &Error) -> bool {
    !is_loss(error) && Unfit::of(error).is_none() && !is_broken(conn)
}
