//! The one path, as in the blocking connection: move, check, identify, settle. Only sending and waiting are different.
//! Nothing waits between emptying and filling, so a future that is dropped leaves no half of it.

use std::sync::Arc;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::AsyncConnection;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::find::{Asking, Found};
use crate::asynchronous::guard::Guard;
use crate::catalog::server::IdentifiedBy;
use crate::catalog::snapshot::{Scope, Snapshot};
use crate::connection::generation::Generation;
use crate::connection::transaction_state::{has_mark, is_loss};
use crate::connection::{caches, notes};
use crate::environment;
use crate::probe::identify::Level;
use crate::report::observers::notice;
use crate::report::stats::COUNTERS;
use crate::synchronize::{OTHER_SEARCH_PATH, OWN_TYPES, Outcome, Start, move_to_latest, note_move, snapshot_of};

impl HotUpgradeAsyncPgConnection {
    /// Makes the connection's caches agree with the server that answers now. As [`synchronize`](crate::synchronize),
    /// which says when to call it, what is compared, and which errors it returns.
    ///
    /// # Cost
    ///
    /// One round trip if nothing changed. (The first check of a snapshot on a connection is one more, to prepare it,
    /// and once a second for each process and database a look for new types is, too.) Another server: 4, or 6 for the
    /// first connection of the process, which reads the catalog. Inside a transaction 5, since it looks for new types
    /// in a savepoint.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped outside a transaction, the connection is as it was before. Inside a transaction, it is
    /// broken, since it is not known which savepoint is open.
    ///
    /// # Errors
    ///
    /// Those of [`synchronize`](crate::synchronize).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel_postgres_hot_upgrade::Outcome;
    /// use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
    ///
    /// # async fn next_batch(conn: &mut HotUpgradeAsyncPgConnection) -> diesel::QueryResult<()> {
    /// if let Outcome::Changed(change) = conn.synchronize().await? {
    ///     println!("now on {}", change.to());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn synchronize(&mut self) -> QueryResult<Outcome> {
        let start = if self.is_in_transaction() { Start::Inside } else { Start::Check };
        self.synchronize_from(start).await
    }

    pub(super) async fn synchronize_from(&mut self, start: Start) -> QueryResult<Outcome> {
        if !environment::is_on() {
            return Ok(Outcome::Unchanged);
        }
        let generation = Generation::current();
        let outcome = self.agree(start).await;
        let in_transaction = self.is_in_transaction();
        match &outcome {
            Ok(_) if !in_transaction && self.memory.with(notes::snapshot).is_some() => {
                self.memory.with(|oids| notes::set_verified(oids, generation));
            }
            Ok(Outcome::Unchanged) => {}
            Ok(_) => self.memory.with(notes::forget_verified),
            Err(error) => {
                self.memory.with(notes::forget_verified);
                self.note_loss(error);
            }
        }
        outcome
    }

    /// The snapshot that the connection was filled from.
    pub(super) fn filled_from(&mut self) -> Option<Arc<Snapshot>> {
        let in_transaction = self.is_in_transaction();
        self.memory.with(|oids| snapshot_of(oids, in_transaction))
    }

    /// The snapshot that the connection is filled from after it has moved to the latest one of its server, if it can
    /// without a round trip.
    pub(super) fn moved_to_latest(&mut self) -> Option<Arc<Snapshot>> {
        let known = self.filled_from()?;
        self.memory.with(|oids| move_to_latest(oids, known))
    }

    async fn agree(&mut self, start: Start) -> QueryResult<Outcome> {
        COUNTERS.probes.increment();
        if self.memory.with(notes::is_refused) {
            self.guarded_ping().await?;
            self.forget_all();
            return Ok(Outcome::Primed);
        }
        let before = self.filled_from();
        let asking = Asking {
            level: match &before {
                Some(before) if before.place.identity.by == IdentifiedBy::TypesAlone => Level::Unidentified,
                _ => Level::Identified,
            },
            in_transaction: self.is_in_transaction(),
            is_end_noticed: self.is_end_noticed(),
            always_looks: matches!(start, Start::Failed | Start::Inside),
            asks_for_changes: start == Start::Failed,
        };
        let found = if asking.in_transaction {
            let mut guard = Guard::savepoint(self).await?;
            let found = asking.find(&mut guard, before.as_ref(), start).await;
            let ended = guard.end_savepoint(found.is_ok()).await;
            ended.and(found)
        } else {
            asking.find(self, before.as_ref(), start).await
        };
        let found = match found {
            Ok(snapshot) => Found { snapshot, is_emptied: false },
            Err(error) => asking.recover(self, error).await?,
        };
        self.settle(asking, before.as_ref(), found, start)
    }

    async fn guarded_ping(&mut self) -> QueryResult<()> {
        if !self.is_in_transaction() {
            return self.ping().await;
        }
        let mut guard = Guard::savepoint(self).await?;
        let answer = guard.ping().await;
        guard.end_savepoint(answer.is_ok()).await.and(answer)
    }

    /// Makes the caches agree with what was found. No round trip.
    fn settle(
        &mut self,
        asking: Asking,
        before: Option<&Arc<Snapshot>>,
        found: Found,
        start: Start,
    ) -> QueryResult<Outcome> {
        let Found { snapshot, is_emptied } = found;
        let Some(found) = snapshot else {
            if !is_emptied {
                self.empty(false);
            }
            return Ok(Outcome::Primed);
        };
        self.memory.with(notes::clear_refused);
        let becomes_certain = before.is_some_and(|before| before.is_uncertain()) && !found.is_uncertain();
        let is_trusted = before.is_some() && !is_emptied && !becomes_certain && start != Start::Distrust;
        if let Some(before) = before.filter(|before| is_trusted && before.place == found.place) {
            if before.id == found.id {
                self.fill_again_if_uncertain(&found);
                if !asking.in_transaction && !found.is_uncertain() {
                    self.restore_statement_cache();
                }
                return Ok(Outcome::Unchanged);
            }
            if !self.memory.with(|oids| caches::conflict(oids, before, &found)) && !found.is_uncertain() {
                self.memory.with(|oids| caches::fill(oids, &found));
                return Ok(Outcome::Unchanged);
            }
        }
        let has_other_path = before.is_some_and(|before| before.place.path != found.place.path);
        if asking.in_transaction && !asking.is_end_noticed {
            if has_other_path {
                return Err(Error::QueryBuilderError(OTHER_SEARCH_PATH.into()));
            }
            if found.scope == Scope::Transaction {
                return Err(Error::QueryBuilderError(OWN_TYPES.into()));
            }
            if before.is_none() {
                // It is not known whether the session has this path, or the transaction alone.
                if !is_emptied {
                    self.empty(false);
                }
                return Ok(Outcome::Primed);
            }
        }
        if let Some(before) = before {
            note_move(before, &found);
        }
        if !is_emptied {
            let is_own = found.scope == Scope::Transaction;
            let is_for_now = asking.in_transaction && (has_other_path || is_own || start == Start::Distrust);
            let stays_suspended = before.is_none() && self.is_suspended;
            self.empty(is_for_now || stays_suspended || found.is_uncertain());
        }
        self.memory.with(|oids| {
            caches::fill(oids, &found);
            notes::set_emptied(oids);
        });
        Ok(match before {
            None => Outcome::Primed,
            Some(before) if before.id == found.id => Outcome::Primed,
            Some(before) => Outcome::Changed(notice(before, &found)),
        })
    }

    /// Is the innermost transaction or savepoint one of which this crate notices the end?
    fn is_end_noticed(&mut self) -> bool {
        let own_depth = self.memory.with(notes::lasting).own_depth;
        let Ok(depth) = self.depth() else { return false };
        has_mark(self.status()) && (depth == 1 || depth == own_depth)
    }

    /// Empties both caches. No round trip: tokio-postgres closes the statements on the server by itself.
    pub(super) fn empty(&mut self, is_suspended: bool) {
        let identified_at = self.identified_at.take();
        let was_suspended = self.is_suspended;
        self.memory.with(|oids| {
            caches::forget_oids(oids);
            if was_suspended {
                return;
            }
            if notes::lasting(oids).resets.is_some() {
                COUNTERS.resets.increment();
            }
            // Nothing is left behind on the server, so the connection does not wear.
            notes::change_lasting(oids, |lasting| lasting.resets = Some(0));
            if let Some(mark) = identified_at {
                notes::set_mark(oids, mark);
            }
        });
        self.suspend_statement_cache();
        if !is_suspended {
            self.restore_statement_cache();
        }
    }

    /// Empties it, and keeps it off.
    fn suspend_statement_cache(&mut self) {
        self.is_suspended = true;
        self.inner.set_prepared_statement_cache_size(CacheSize::Disabled);
    }

    /// Gives the user's setting back. No round trip.
    pub(super) fn restore_statement_cache(&mut self) {
        self.prefix.clear();
        if self.is_suspended {
            self.is_suspended = false;
            self.inner.set_prepared_statement_cache_size(self.cache_size);
        }
    }

    pub(super) fn forget_oids(&mut self) {
        self.memory.with(caches::forget_oids);
    }

    pub(super) fn forget_all(&mut self) {
        self.suspend_statement_cache();
        self.forget_oids();
    }

    pub(super) fn fill_again_if_uncertain(&mut self, snapshot: &Snapshot) {
        if snapshot.is_uncertain() {
            self.forget_all();
            self.memory.with(|oids| caches::fill(oids, snapshot));
        }
    }

    /// Can this connection still be asked something?
    pub(super) fn is_alive_after(&mut self, error: &Error) -> bool {
        !is_loss(error) && !self.is_lost()
    }
}
