//! Which snapshot is that of the server that answers now? As in the blocking connection.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::result::Error;

use crate::asynchronous::catalog_wait::{self, new_types_since};
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::catalog::clock;
use crate::catalog::server::Place;
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::{Question, Snapshot, SnapshotId};
use crate::catalog::table::{Claim, LoadPermit, OID_TABLE};
use crate::connection::notes;
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
    /// The caches were emptied on the way.
    pub(super) is_emptied: bool,
}

impl HotUpgradeAsyncPgConnection {
    /// The snapshot of the server that answers now: the one from before, another one from the table, or a loaded one.
    pub(super) async fn find(
        &mut self,
        asking: Asking,
        before: Option<&Arc<Snapshot>>,
        start: Start,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let first = self.memory.with(|oids| asking.first(oids, before, start));
        let mut was_refused = matches!(start, Start::Refused { looked: false });
        if let Some(asked) = first.asked.as_ref().filter(|_| first.is_checked) {
            match self.holds(asking, asked).await? {
                Holds::Yes => return Ok(Some(Arc::clone(asked))),
                Holds::No => was_refused = true,
                Holds::NoOrIncomplete => {}
            }
        }
        let found = self.identify_and_look_up(asking, first.next(start)).await?;
        if was_refused {
            note_in_between(before, found.as_ref());
        }
        Ok(found)
    }

    /// Does the snapshot hold, and is nothing new?
    async fn holds(&mut self, asking: Asking, snapshot: &Snapshot) -> QueryResult<Holds> {
        let permit = match new_types(asking, snapshot).await {
            NewTypes::None => return self.check(snapshot).await.map(Holds::after_check),
            NewTypes::Found => return Ok(Holds::NoOrIncomplete),
            NewTypes::Unknown(permit) => permit,
        };
        let mark = self.memory.with(|oids| asking.mark_to_ask_for(oids, snapshot));
        let looked = self.check_and_look(snapshot, asking.in_transaction, mark).await?;
        let note_state = |now| self.memory.with(|oids| notes::set_state_after_failure(oids, now));
        Ok(Holds::after_look(looked, permit, snapshot, mark, note_state))
    }

    async fn identify_and_look_up(&mut self, asking: Asking, next: Next) -> QueryResult<Option<Arc<Snapshot>>> {
        let replicas = self.memory.with(notes::lasting).replicas;
        let Next { mut asked, mut has_new_types, mut left } = next;
        for _ in 0..MAX_CATCH_UPS {
            let question = asked.as_ref().map(|asked| asked.content.question.clone()).unwrap_or_default();
            let Identified { server, shown } = self.identify(&question, asking.level).await?;
            let place = server.place(replicas);
            if take_turns(&mut left, &place) {
                continue;
            }
            if let Some(asked) = asked.as_ref().filter(|asked| !has_new_types && asked.holds(&place, &shown)) {
                match new_types(asking, asked).await {
                    NewTypes::None => return Ok(Some(Arc::clone(asked))),
                    NewTypes::Found => {}
                    NewTypes::Unknown(permit) => {
                        drop(permit);
                        if self.holds(asking, asked).await? == Holds::Yes {
                            return Ok(Some(Arc::clone(asked)));
                        }
                        // The server has changed again, or types are new.
                        has_new_types = true;
                        continue;
                    }
                }
            }
            let refuted = asked.filter(|asked| asked.place == place).map(|asked| asked.id);
            match claim(asking, &place, refuted).await {
                Claim::Known(candidate) => {
                    let is_answered = candidate.content.question == question && candidate.holds(&place, &shown);
                    // The answer says so already. Only new types may be unknown.
                    if is_answered && matches!(new_types(asking, &candidate).await, NewTypes::None) {
                        return Ok(Some(candidate));
                    }
                    (asked, has_new_types) = (Some(candidate), false);
                }
                Claim::Load(permit) => match self.load_at(asking, &place, permit).await? {
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

    async fn load_at(
        &mut self,
        asking: Asking,
        place: &Place,
        permit: LoadPermit<'_>,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let (began, others) = (clock::now(), OID_TABLE.other_starts(&place.identity));
        let loaded = self.load_catalog(asking.level, asking.in_transaction, &others).await?;
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
    pub(super) async fn recover(&mut self, asking: Asking, error: Error) -> QueryResult<Found> {
        if !self.is_alive_after(&error) {
            return Err(error);
        }
        self.empty(true);
        if !asking.in_transaction {
            return self.recover_now(asking, error).await;
        }
        let mut guard = Guard::savepoint(self).await?;
        let found = guard.recover_now(asking, error).await;
        guard.end_savepoint(found.is_ok()).await.and(found)
    }

    async fn recover_now(&mut self, asking: Asking, error: Error) -> QueryResult<Found> {
        if let Err(refused) = self.ping().await {
            // That the server does not fit, or that the role may not ask for that, is the better reason.
            let accepts_all = self.wanted() == TargetSessionAttrs::Any;
            return Err(if accepts_all { error } else { refused });
        }
        log::note(format_args!(
            "a probe failed on a living connection, whose caches were emptied: {}",
            printable(&error)
        ));
        // No table says who answers: an error of this is about permissions.
        let identified = match self.identify_inside(asking).await {
            Err(error) if !self.is_alive_after(&error) => return Err(error),
            identified => identified.ok(),
        };
        let level = if identified.is_some() { Level::Identified } else { Level::Unidentified };
        let replicas = self.memory.with(notes::lasting).replicas;
        let is_known = identified.is_some_and(|known| OID_TABLE.knows(&known.server.place(replicas)));
        let asking = Asking { level, ..asking };
        let looked_up = if asking.in_transaction {
            let mut guard = Guard::savepoint(self).await?;
            let found = guard.identify_and_look_up(asking, Next::UNKNOWN).await;
            guard.end_savepoint(found.is_ok()).await.and(found)
        } else {
            self.identify_and_look_up(asking, Next::UNKNOWN).await
        };
        let nothing = Found { snapshot: None, is_emptied: true };
        match looked_up {
            Ok(snapshot) => {
                if level == Level::Unidentified {
                    warnings::that_identity_is_refused();
                } else {
                    // So a statement was gone, or the question was interrupted.
                    self.is_worn = true;
                    self.restore_statement_cache();
                }
                Ok(Found { snapshot, is_emptied: true })
            }
            Err(error) if !self.is_alive_after(&error) => Err(error),
            Err(error) if is_known => {
                // The server has shown its types before: this was a timeout, for example. It is asked again.
                log::note(format_args!("a probe was interrupted: {}", printable(&error)));
                Ok(nothing)
            }
            Err(_) => {
                warnings::that_catalog_is_refused(&error);
                self.memory.with(notes::set_refused);
                Ok(nothing)
            }
        }
    }

    /// Identifies the server, in a savepoint if a transaction is open.
    async fn identify_inside(&mut self, asking: Asking) -> QueryResult<Identified> {
        if !asking.in_transaction {
            return self.identify(&Question::default(), Level::Identified).await;
        }
        let mut guard = Guard::savepoint(self).await?;
        let identified = guard.identify(&Question::default(), Level::Identified).await;
        guard.end_savepoint(identified.is_ok()).await.and(identified)
    }
}

async fn new_types(asking: Asking, snapshot: &Snapshot) -> NewTypes {
    new_types_since(snapshot, asking.in_transaction, asking.always_looks_at(snapshot)).await
}

/// Never waits inside a transaction: it pins the server connection that the loading connection may be waiting for.
async fn claim(asking: Asking, place: &Place, refuted: Option<SnapshotId>) -> Claim<'static> {
    if !asking.in_transaction {
        return catalog_wait::claim(place, refuted).await;
    }
    match OID_TABLE.claim(place, refuted) {
        Claim::Busy => Claim::Load(LoadPermit::UNANNOUNCED),
        claim => claim,
    }
}
