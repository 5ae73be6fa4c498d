//! The one path, as in the blocking connection: move, check, identify, settle. Only sending and waiting are different.
//! Nothing waits between emptying and filling, so a future that is dropped leaves no half of it.

use std::sync::Arc;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::AsyncConnection;

use crate::asynchronous::connection::{HotUpgradeAsyncPgConnection, says_lost};
use crate::asynchronous::find::Found;
use crate::asynchronous::guard::Guard;
use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::Snapshot;
use crate::connection::generation::Generation;
use crate::connection::transaction_state::has_mark;
use crate::connection::{caches, notes};
use crate::environment;
use crate::report::stats::COUNTERS;
use crate::synchronize::asking::Asking;
use crate::synchronize::settle::{Settled, decide, note_move, outcome};
use crate::synchronize::{Outcome, Start, mark_if_unfit, move_to_latest, snapshot_of};

impl HotUpgradeAsyncPgConnection {
    /// Makes the connection's caches agree with the server that answers now. As [`synchronize`](crate::synchronize),
    /// which says when to call it, what is compared, and which errors it returns.
    ///
    /// # Cost
    ///
    /// One round trip if nothing changed. (The first check of a snapshot on a connection is one more, to prepare it,
    /// and once a second for each process and database a look for new types is, too.) Another server: 3 or 4, or 6 for
    /// the first connection of the process, which reads the catalog. Inside a transaction 5, since it looks for new types
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
                self.memory.with(|oids| {
                    notes::forget_verified(oids);
                    mark_if_unfit(oids, error);
                });
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
        let (in_transaction, is_end_noticed) = (self.is_in_transaction(), self.is_end_noticed());
        let asking = Asking::new(before.as_ref(), start, in_transaction, is_end_noticed);
        let found = if asking.in_transaction {
            let mut guard = Guard::savepoint(self).await?;
            let found = guard.find(asking, before.as_ref(), start).await;
            let ended = guard.end_savepoint(found.is_ok()).await;
            ended.and(found)
        } else {
            self.find(asking, before.as_ref(), start).await
        };
        let found = match found {
            Ok(snapshot) => Found { snapshot, is_emptied: false },
            // An answer that is no change of types.
            Err(error) if Unfit::of(&error).is_some() => return Err(error),
            Err(error) => self.recover(asking, error).await?,
        };
        self.settle(asking, before.as_ref(), found, start)
    }

    async fn guarded_ping(&mut self) -> QueryResult<()> {
        if !self.is_in_transaction() {
            return self.ping_or_require_fit().await;
        }
        let mut guard = Guard::savepoint(self).await?;
        let answer = guard.ping_or_require_fit().await;
        guard.end_savepoint(answer.is_ok()).await.and(answer)
    }

    async fn ping_or_require_fit(&mut self) -> QueryResult<()> {
        if self.wanted() == TargetSessionAttrs::Any { self.ping().await } else { self.require_fit().await }
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
        let was_suspended = self.is_suspended;
        let settled =
            self.memory.with(|oids| decide(oids, asking, before, snapshot, is_emptied, was_suspended, start));
        match settled? {
            Settled::Held(found) => {
                self.fill_again_if_uncertain(&found);
                if !asking.in_transaction && !found.is_uncertain() {
                    self.restore_statement_cache();
                }
                Ok(Outcome::Unchanged)
            }
            Settled::Grown(found) => {
                self.memory.with(|oids| caches::fill(oids, &found));
                Ok(Outcome::Unchanged)
            }
            Settled::Unknown => {
                if !is_emptied {
                    self.empty(false);
                }
                Ok(Outcome::Primed)
            }
            Settled::Anew { found, is_suspended } => {
                note_move(before, &found);
                self.note_wear(before, &found);
                if !is_emptied {
                    self.empty(is_suspended);
                }
                self.memory.with(|oids| {
                    caches::fill(oids, &found);
                    notes::set_emptied(oids);
                });
                Ok(outcome(before, &found))
            }
        }
    }

    /// If nobody prepares statements on the new server, those that tokio-postgres keeps for itself are gone. With a
    /// statement cache, the check is gone too, and that is noticed; without one, it is prepared each time.
    fn note_wear(&mut self, before: Option<&Arc<Snapshot>>, found: &Snapshot) {
        let has_other_server = before.is_some_and(|before| before.place.identity != found.place.identity);
        if has_other_server && matches!(self.cache_size, CacheSize::Disabled) {
            self.is_worn |= !self.memory.with(notes::is_prepared_by_pooler);
        }
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

    /// Can this connection still be asked something, and does its server fit?
    pub(super) fn is_alive_after(&mut self, error: &Error) -> bool {
        !says_lost(error) && Unfit::of(error).is_none() && !self.is_lost()
    }
}
