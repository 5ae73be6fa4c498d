//! Which snapshot is that of the server that answers now?

use std::sync::Arc;

use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::clock;
use crate::catalog::server::Place;
use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::{Question, Snapshot, SnapshotId};
use crate::catalog::table::{Claim, LoadPermit, OID_TABLE};
use crate::connection::caches::{self, StatementCache};
use crate::connection::notes;
use crate::connection::statements::{self, check, check_and_look};
use crate::connection::transaction_state::{guarded, is_broken, is_loss};
use crate::probe::identify::{Identified, Level};
use crate::report::log::{self, printable};
use crate::report::warnings;
use crate::synchronize::asking::{
    Asking, Holds, MAX_CATCH_UPS, NewTypes, Next, Start, note_in_between, take_turns,
};

/// What a connection needs.
pub(super) struct Found {
    /// `None` if the server does not show its types, or if another server answers each time.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// What the role may ask the server.
    pub(super) level: Level,
    /// The caches were emptied on the way.
    pub(super) is_emptied: bool,
}

impl Asking {
    /// The snapshot of the server that answers now: the one from before, another one from the table, or a loaded one.
    pub(super) fn find(
        self,
        conn: &mut PgConnection,
        before: Option<&Arc<Snapshot>>,
        start: Start,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let first = self.first(conn, before, start);
        let mut was_refused = matches!(start, Start::Refused { looked: false });
        if let Some(asked) = first.asked.as_ref().filter(|_| first.is_checked) {
            match self.holds(conn, asked)? {
                Holds::Yes => return Ok(Some(Arc::clone(asked))),
                Holds::No => was_refused = true,
                Holds::NoOrIncomplete => {}
            }
        }
        let found = self.identify_and_look_up(conn, first.next(start))?;
        if was_refused {
            note_in_between(before, found.as_ref());
        }
        Ok(found)
    }

    fn new_types(self, snapshot: &Snapshot) -> NewTypes {
        NewTypes::since(snapshot, self.in_transaction, self.always_looks_at(snapshot))
    }

    /// Does the snapshot hold, and is nothing new? One round trip.
    fn holds(self, conn: &mut PgConnection, snapshot: &Snapshot) -> QueryResult<Holds> {
        let permit = match self.new_types(snapshot) {
            NewTypes::None => return check(conn, snapshot).map(Holds::after_check),
            NewTypes::Found => return Ok(Holds::NoOrIncomplete),
            NewTypes::Unknown(permit) => permit,
        };
        let mark = self.mark_to_ask_for(conn, snapshot);
        let looked = check_and_look(conn, snapshot, self.in_transaction, mark)?;
        let note_state = |now| notes::set_state_after_failure(conn, now);
        Ok(Holds::after_look(looked, permit, snapshot, mark, note_state))
    }

    /// Two round trips, or one more if it is not clear whether types are new.
    fn identify_and_look_up(self, conn: &mut PgConnection, next: Next) -> QueryResult<Option<Arc<Snapshot>>> {
        let replicas = notes::lasting(conn).replicas;
        let Next { mut asked, mut has_new_types, mut left } = next;
        for _ in 0..MAX_CATCH_UPS {
            let question = asked.as_ref().map(|asked| asked.content.question.clone()).unwrap_or_default();
            let Identified { server, shown } = statements::identify(conn, &question, self.level)?;
            let place = server.place(replicas);
            if take_turns(&mut left, &place) {
                continue;
            }
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
        match guarded(conn, |conn| asking.identify_and_look_up(conn, Next::UNKNOWN)) {
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

/// Can this connection still be asked something, and does its server fit?
fn is_usable(conn: &mut PgConnection, error: &Error) -> bool {
    !is_loss(error) && Unfit::of(error).is_none() && !is_broken(conn)
}
