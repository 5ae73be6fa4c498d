//! Which snapshot is that of the server that answers now? As in the blocking connection.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::result::Error;

use crate::asynchronous::catalog_wait::{self, new_types_since};
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::catalog::clock;
use crate::catalog::server::Place;
use crate::catalog::snapshot::{Question, Snapshot, SnapshotId};
use crate::catalog::table::{Claim, Current, LoadPermit, OID_TABLE};
use crate::connection::{caches, notes};
use crate::probe::check::Looked;
use crate::probe::identify::{Identified, Level};
use crate::report::log::{self, printable};
use crate::report::warnings;
use crate::synchronize::{MAX_CATCH_UPS, NewTypes, Start, shared};

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
    pub(super) async fn find(
        self,
        conn: &mut HotUpgradeAsyncPgConnection,
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
        let mut was_refused = matches!(start, Start::Refused { looked: false });
        if let (true, Some(before), Some(asked)) = (is_checked, before, &asked) {
            let would_conflict =
                before.id != asked.id && conn.memory.with(|oids| caches::conflict(oids, before, asked));
            if !would_conflict {
                match self.holds(conn, asked).await? {
                    Holds::Yes => return Ok(Some(Arc::clone(asked))),
                    Holds::No => was_refused = true,
                    Holds::NoOrIncomplete => {}
                }
            }
        }
        let found = self.identify_and_look_up(conn, asked, has_new_types).await?;
        if let (true, Some(before), Some(found)) = (was_refused, before, &found) {
            if before.id == found.id {
                OID_TABLE.alternation.note_in_between(&before.place.identity);
            }
        }
        Ok(found)
    }

    async fn new_types(self, snapshot: &Snapshot) -> NewTypes {
        // After a failure, the look also asks whether statements are out of date.
        let always_looks = self.always_looks && (self.asks_for_changes || !snapshot.content.has_all_tracked);
        new_types_since(snapshot, self.in_transaction, always_looks).await
    }

    /// Does the snapshot hold, and is nothing new?
    async fn holds(self, conn: &mut HotUpgradeAsyncPgConnection, snapshot: &Snapshot) -> QueryResult<Holds> {
        let permit = match self.new_types(snapshot).await {
            NewTypes::None => {
                let holds = conn.check(snapshot).await?;
                return Ok(if holds { Holds::Yes } else { Holds::No });
            }
            NewTypes::Found => return Ok(Holds::NoOrIncomplete),
            NewTypes::Unknown(permit) => permit,
        };
        let asks_for_changes = self.asks_for_changes && snapshot.database.may_ask_for_changes();
        let mark = asks_for_changes.then(|| conn.memory.with(notes::mark));
        match conn.check_and_look(snapshot, self.in_transaction, mark).await? {
            Looked::NothingNew { took, is_public, now } => {
                if is_public {
                    permit.found_nothing_new(now.is_none().then_some(took));
                }
                if let Some(now) = now {
                    if Some(now) == mark {
                        snapshot.database.has_not_changed(took);
                    }
                    conn.memory.with(|oids| notes::set_state_after_failure(oids, now));
                }
                Ok(Holds::Yes)
            }
            Looked::Otherwise => Ok(Holds::NoOrIncomplete),
        }
    }

    async fn identify_and_look_up(
        self,
        conn: &mut HotUpgradeAsyncPgConnection,
        mut asked: Option<Arc<Snapshot>>,
        mut has_new_types: bool,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let replicas = conn.memory.with(notes::lasting).replicas;
        for _ in 0..MAX_CATCH_UPS {
            let question = asked.as_ref().map(|asked| asked.content.question.clone()).unwrap_or_default();
            let Identified { server, shown } = conn.identify(&question, self.level).await?;
            let place = server.place(replicas);
            if let Some(asked) = asked.as_ref().filter(|asked| !has_new_types && asked.holds(&place, &shown)) {
                match self.new_types(asked).await {
                    NewTypes::None => return Ok(Some(Arc::clone(asked))),
                    NewTypes::Found => {}
                    NewTypes::Unknown(permit) => {
                        drop(permit);
                        if self.holds(conn, asked).await? == Holds::Yes {
                            return Ok(Some(Arc::clone(asked)));
                        }
                        // The server has changed again, or types are new.
                        has_new_types = true;
                        continue;
                    }
                }
            }
            let refuted = asked.filter(|asked| asked.place == place).map(|asked| asked.id);
            match self.claim(&place, refuted).await {
                Claim::Known(candidate) => {
                    let is_answered = candidate.content.question == question && candidate.holds(&place, &shown);
                    // The answer says so already. Only new types may be unknown.
                    if is_answered && matches!(self.new_types(&candidate).await, NewTypes::None) {
                        return Ok(Some(candidate));
                    }
                    (asked, has_new_types) = (Some(candidate), false);
                }
                Claim::Load(permit) => match self.load(conn, &place, permit).await? {
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
    async fn claim(self, place: &Place, refuted: Option<SnapshotId>) -> Claim<'static> {
        if !self.in_transaction {
            return catalog_wait::claim(place, refuted).await;
        }
        match OID_TABLE.claim(place, refuted) {
            Claim::Busy => Claim::Load(LoadPermit::UNANNOUNCED),
            claim => claim,
        }
    }

    async fn load(
        self,
        conn: &mut HotUpgradeAsyncPgConnection,
        place: &Place,
        permit: LoadPermit<'_>,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let (began, others) = (clock::now(), OID_TABLE.other_starts(&place.identity));
        let loaded = conn.load_catalog(self.level, self.in_transaction, &others).await?;
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
    pub(super) async fn recover(self, conn: &mut HotUpgradeAsyncPgConnection, error: Error) -> QueryResult<Found> {
        if !conn.is_alive_after(&error) {
            return Err(error);
        }
        conn.empty(true);
        if !self.in_transaction {
            return self.recover_now(conn, error).await;
        }
        let mut guard = Guard::savepoint(conn).await?;
        let found = self.recover_now(&mut guard, error).await;
        guard.end_savepoint(found.is_ok()).await.and(found)
    }

    async fn recover_now(self, conn: &mut HotUpgradeAsyncPgConnection, error: Error) -> QueryResult<Found> {
        if conn.ping().await.is_err() {
            return Err(error);
        }
        log::note(format_args!(
            "a probe failed on a living connection, whose caches were emptied: {}",
            printable(&error)
        ));
        // No table says who answers: an error of this is about permissions.
        let identified = match self.inside(conn, Level::Identified).await {
            Err(error) if !conn.is_alive_after(&error) => return Err(error),
            identified => identified.ok(),
        };
        let level = if identified.is_some() { Level::Identified } else { Level::Unidentified };
        let replicas = conn.memory.with(notes::lasting).replicas;
        let is_known = identified.is_some_and(|known| OID_TABLE.knows(&known.server.place(replicas)));
        let asking = Asking { level, ..self };
        let looked_up = if self.in_transaction {
            let mut guard = Guard::savepoint(conn).await?;
            let found = asking.identify_and_look_up(&mut guard, None, false).await;
            guard.end_savepoint(found.is_ok()).await.and(found)
        } else {
            asking.identify_and_look_up(conn, None, false).await
        };
        let nothing = Found { snapshot: None, is_emptied: true };
        match looked_up {
            Ok(snapshot) => {
                if level == Level::Unidentified {
                    warnings::that_identity_is_refused();
                } else {
                    // So a statement was gone, or the question was interrupted.
                    conn.is_worn = true;
                    conn.restore_statement_cache();
                }
                Ok(Found { snapshot, is_emptied: true })
            }
            Err(error) if !conn.is_alive_after(&error) => Err(error),
            Err(error) if is_known => {
                // The server has shown its types before: this was a timeout, for example. It is asked again.
                log::note(format_args!("a probe was interrupted: {}", printable(&error)));
                Ok(nothing)
            }
            Err(_) => {
                warnings::that_catalog_is_refused(&error);
                conn.memory.with(notes::set_refused);
                Ok(nothing)
            }
        }
    }

    /// Identifies the server, in a savepoint if a transaction is open.
    async fn inside(self, conn: &mut HotUpgradeAsyncPgConnection, level: Level) -> QueryResult<Identified> {
        if !self.in_transaction {
            return conn.identify(&Question::default(), level).await;
        }
        let mut guard = Guard::savepoint(conn).await?;
        let identified = guard.identify(&Question::default(), level).await;
        guard.end_savepoint(identified.is_ok()).await.and(identified)
    }
}
