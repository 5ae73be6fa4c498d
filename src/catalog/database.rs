//! What is known of one database of one server, whatever the search path: which types it has, and since when that is
//! known.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::catalog::clock;
use crate::catalog::types::{PgType, Types};
use crate::catalog::waiting::Waiting;

/// Nothing is trusted to know all types for longer than this after it was last made sure of.
const FRESHNESS: Duration = Duration::from_secs(1);

/// A look that takes longer than this is made less often,
const SLOW_LOOK: Duration = Duration::from_millis(10);

/// by this factor: looks take at most a hundredth of a server process's time.
const SLOW_LOOK_FACTOR: u32 = 100;

/// One slow answer may be a server that is busy with something else.
const SLOW_ANSWERS: u32 = 3;

/// How long a connection waits for another one's look before it looks for itself. The other one may be queued behind a
/// transaction that the waiting thread holds open.
pub(crate) const LOOK_PATIENCE: Duration = Duration::from_millis(50);

/// How many former names are kept.
const MAX_FORMER: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Database {
    known: Mutex<Known>,
    looked: Condvar,
    /// Tasks that wait for a look.
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Default)]
struct Known {
    types: Option<Types>,
    /// What types were before they were moved, renamed or dropped, the latest last.
    former: VecDeque<PgType>,
    /// How many of them there were, with those that were forgotten.
    total_former: u64,
    digest: Option<Arc<str>>,
    /// When the last look began that was complete.
    looked: Option<Instant>,
    is_being_looked_at: bool,
    slow_look: Option<Duration>,
    /// Until then, the catalog is not asked for changes after an error.
    catalog_rests_until: Option<Instant>,
    /// How many answers in a row were slow.
    slow_answers: u32,
    catalog: Option<CatalogState>,
    pooler_follows: Option<bool>,
}

/// A state of the catalog, and since when this process knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CatalogState {
    pub(crate) changes: u64,
    pub(crate) objects: u32,
    /// By the server's clock, in microseconds since 1970. What was prepared before may be out of date.
    pub(crate) since: i64,
}

impl Known {
    fn replace(&mut self, types: &Types) {
        let before = self.types.replace(Arc::clone(types));
        for ty in before.iter().flat_map(|before| before.iter()) {
            if !types.binary_search_by_key(&ty.oid, |new| new.oid).is_ok_and(|index| types[index] == *ty) {
                self.former.push_back(ty.clone());
                self.total_former += 1;
            }
        }
        self.former.drain(..self.former.len().saturating_sub(MAX_FORMER));
    }

    fn bound(&self) -> Duration {
        self.slow_look.map_or(FRESHNESS, |took| (took * SLOW_LOOK_FACTOR).max(FRESHNESS))
    }

    fn is_fresh(&self) -> bool {
        self.looked.is_some_and(|looked| clock::now().saturating_duration_since(looked) < self.bound())
    }

    /// What began earlier than what is known already says nothing.
    fn is_newer(&self, began: Instant) -> bool {
        self.looked.is_none_or(|looked| looked <= began)
    }
}

/// Is it known which types there are?
#[derive(Debug)]
pub(crate) enum Freshness {
    /// The last look was a moment ago.
    Fresh,
    /// The caller looks.
    Look(LookPermit),
    /// Another connection looks at this moment.
    Busy,
}

/// Others wait until it is dropped.
#[derive(Debug)]
pub(crate) struct LookPermit {
    database: Arc<Database>,
    began: Instant,
    /// Others know of it.
    is_announced: bool,
}

impl LookPermit {
    /// Nothing was new. `took` is the server's time, if that is known.
    pub(crate) fn found_nothing_new(self, took: Option<Duration>) {
        let mut known = self.database.lock();
        if known.is_newer(self.began) {
            known.looked = Some(self.began);
        }
        if let Some(took) = took {
            known.slow_look = Some(took).filter(|took| *took > SLOW_LOOK);
        }
    }
}

impl Drop for LookPermit {
    fn drop(&mut self) {
        if self.is_announced {
            self.database.lock().is_being_looked_at = false;
            self.database.looked.notify_all();
            self.database.waiting.wake_all();
        }
    }
}

impl Database {
    /// Which types there are, as far as that is known.
    pub(crate) fn known(&self) -> Option<(Types, Arc<str>)> {
        let known = self.lock();
        Some((known.types.clone()?, known.digest.clone()?))
    }

    /// Are these the types that are known to be there?
    pub(crate) fn has_digest(&self, digest: &str) -> bool {
        self.lock().digest.as_deref() == Some(digest)
    }

    /// Takes over what a catalog load found that began then. An equal list is shared.
    pub(crate) fn learn(&self, types: &mut Types, digest: &Arc<str>, began: Instant) {
        let mut known = self.lock();
        if let Some(same) = known.types.as_ref().filter(|known| *known == types) {
            *types = Arc::clone(same);
        }
        if known.is_newer(began) {
            known.replace(types);
            known.digest = Some(Arc::clone(digest));
            known.looked = Some(began);
        }
    }

    /// How many types had been moved, renamed or dropped by now.
    pub(crate) fn total_former(&self) -> u64 {
        self.lock().total_former
    }

    /// Is one of the types stored that were moved, renamed or dropped after so many others? They are shown as they were
    /// before. Also true if that is no longer known.
    pub(crate) fn is_former(&self, after: u64, is_stored: impl FnMut(&PgType) -> bool) -> bool {
        let known = self.lock();
        let count = usize::try_from(known.total_former.saturating_sub(after)).unwrap_or(usize::MAX);
        count > known.former.len() || known.former.iter().rev().take(count).any(is_stored)
    }

    /// Is another connection looking, whose look would be of use?
    #[cfg(feature = "diesel-async")]
    pub(crate) fn is_being_looked_at(&self) -> bool {
        let known = self.lock();
        known.is_being_looked_at && !known.is_fresh()
    }

    /// No round trip, and no waiting.
    pub(crate) fn freshness(self: &Arc<Self>) -> Freshness {
        let mut known = self.lock();
        if known.is_fresh() {
            Freshness::Fresh
        } else if known.is_being_looked_at {
            Freshness::Busy
        } else {
            known.is_being_looked_at = true;
            Freshness::Look(self.permit(true))
        }
    }

    /// The look for new types that the caller has to make, if it is due. Waits a moment for another connection's look,
    /// and then looks too.
    pub(crate) fn due_after_waiting(self: &Arc<Self>) -> Option<LookPermit> {
        match self.freshness() {
            Freshness::Fresh => return None,
            Freshness::Look(permit) => return Some(permit),
            Freshness::Busy => {}
        }
        let waited = self.looked.wait_timeout_while(self.lock(), LOOK_PATIENCE, |known| known.is_being_looked_at);
        let is_fresh = waited.unwrap_or_else(PoisonError::into_inner).0.is_fresh();
        (!is_fresh).then(|| self.permit(false))
    }

    /// The same without waiting.
    pub(crate) fn due_at_once(self: &Arc<Self>) -> Option<LookPermit> {
        match self.freshness() {
            Freshness::Fresh => None,
            Freshness::Look(permit) => Some(permit),
            Freshness::Busy => Some(self.permit(false)),
        }
    }

    /// May the catalog be asked for changes after an error?
    pub(crate) fn may_ask_for_changes(&self) -> bool {
        self.lock().catalog_rests_until.is_none_or(|until| until <= clock::now())
    }

    /// The catalog had not changed, and it took the server that long to say so. If several such answers in a row are
    /// slow, the catalog is large, and is not asked for a while, so that an application whose statements fail all the
    /// time does not keep the server busy.
    pub(crate) fn has_not_changed(&self, took: Duration) {
        let mut known = self.lock();
        known.slow_answers = if took > SLOW_LOOK { known.slow_answers.saturating_add(1) } else { 0 };
        let rests = known.slow_answers >= SLOW_ANSWERS;
        known.catalog_rests_until = rests.then(|| clock::now() + took * SLOW_LOOK_FACTOR);
    }

    pub(crate) fn catalog_state(&self) -> Option<CatalogState> {
        self.lock().catalog
    }

    /// Notes what the catalog is now, and says since when that is known.
    pub(crate) fn saw(&self, now: CatalogState) -> i64 {
        let mut known = self.lock();
        let is_same = |before: &CatalogState| (before.changes, before.objects) == (now.changes, now.objects);
        let state = known.catalog.filter(is_same).unwrap_or(now);
        known.catalog = Some(state);
        state.since
    }

    /// Does the pooler notice that its server connection's statements were deallocated? `None` if that was not tried.
    pub(crate) fn pooler_follows(&self) -> Option<bool> {
        self.lock().pooler_follows
    }

    pub(crate) fn set_pooler_follows(&self, follows: bool) {
        self.lock().pooler_follows = Some(follows);
    }

    /// A look that no other connection waits for.
    pub(crate) fn unannounced_look(self: &Arc<Self>) -> LookPermit {
        self.permit(false)
    }

    pub(crate) fn freshness_bound(&self) -> Duration {
        self.lock().bound()
    }

    fn permit(self: &Arc<Self>, is_announced: bool) -> LookPermit {
        LookPermit { database: Arc::clone(self), began: clock::now(), is_announced }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::types::tests::ty;

    fn permit(database: &Arc<Database>) -> LookPermit {
        match database.freshness() {
            Freshness::Look(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_looks_and_what_it_found_holds_for_a_second() {
        let database = Arc::new(Database::default());
        let looking = permit(&database);
        assert!(matches!(database.freshness(), Freshness::Busy));
        looking.found_nothing_new(None);
        assert!(matches!(database.freshness(), Freshness::Fresh));
        clock::tests::advance(Duration::from_secs(2));
        assert!(matches!(database.freshness(), Freshness::Look(_)));
    }

    #[test]
    fn a_look_that_fails_lets_the_next_one_look() {
        let database = Arc::new(Database::default());
        drop(permit(&database));
        assert!(matches!(database.freshness(), Freshness::Look(_)));
    }

    #[test]
    fn a_connection_does_not_wait_for_ever() {
        let database = Arc::new(Database::default());
        let _looking = permit(&database);
        assert!(database.due_after_waiting().is_some());
    }

    #[test]
    fn what_types_were_called_is_kept_for_a_while() {
        let database = Database::default();
        let learn = |types: &[PgType]| database.learn(&mut Types::from(types), &"".into(), clock::now());
        learn(&[ty("public", "mood", 20), ty("public", "other", 30)]);
        let before = database.total_former();
        learn(&[ty("public", "mood_old", 20)]);
        let is_mood = |known: &PgType| *known == ty("public", "mood", 20);
        assert!(database.is_former(before, is_mood), "it was renamed");
        assert!(database.is_former(before, |known| known.oid == 30), "it is gone");
        assert!(!database.is_former(database.total_former(), |_| true), "nothing since");
        (0..MAX_FORMER).for_each(|number| learn(&[ty("public", &format!("mood_{number}"), 20)]));
        assert!(database.is_former(before, |_| false), "that is too long ago to know");
    }

    #[test]
    fn a_slow_look_is_made_less_often() {
        let database = Arc::new(Database::default());
        permit(&database).found_nothing_new(Some(Duration::from_millis(30)));
        assert_eq!(database.freshness_bound(), Duration::from_secs(3));
        database.permit(false).found_nothing_new(Some(Duration::from_millis(9)));
        assert_eq!(database.freshness_bound(), Duration::from_secs(1));
    }
}
