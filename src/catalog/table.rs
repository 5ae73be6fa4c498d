//! The OIDs that this process knows, by the server they belong to.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::time::{Duration, Instant};

use lazy_static::lazy_static;

use crate::catalog::alternation::Alternation;
use crate::catalog::database::Database;
use crate::catalog::server::{IdentifiedBy, Identity, PgStart, Place};
use crate::catalog::snapshot::{Content, Loaded, Scope, Snapshot, SnapshotId, Successor};
use crate::catalog::tracked::tracked;
use crate::catalog::types::{View, size_of_types};
use crate::catalog::waiting::Waiting;

lazy_static! {
    /// One for the process, so that a change costs one catalog load and not one for each connection.
    pub(crate) static ref OID_TABLE: OidTable = OidTable::default();
}

/// The size of all snapshots, in bytes. The least recently used one goes first.
const MAX_SIZE: usize = 64 << 20;

/// How many snapshots are kept that no new connection is filled from: connections that were can still be compared.
const MAX_SUPERSEDED: usize = 64;

/// How long a connection waits for another one's catalog load before it loads for itself.
pub(crate) const LOAD_PATIENCE: Duration = Duration::from_secs(5);

/// More servers are not told apart in a catalog load.
const MAX_OTHER_STARTS: usize = 64;

/// The process-wide table of snapshots. No lock is held across a round trip or while user code runs, and checkouts only
/// read as long as nothing changes.
#[derive(Debug, Default)]
pub(crate) struct OidTable {
    state: RwLock<Snapshots>,
    loading: Mutex<HashSet<Place>>,
    loaded: Condvar,
    /// Tasks that wait for a load.
    pub(crate) waiting: Waiting,
    pub(crate) alternation: Alternation,
}

#[derive(Debug, Default)]
struct Snapshots {
    entries: HashMap<SnapshotId, Entry>,
    /// The latest snapshot of each place.
    current: HashMap<Place, SnapshotId>,
    databases: HashMap<Identity, Arc<Database>>,
    /// The oldest first.
    superseded: VecDeque<SnapshotId>,
    contents: HashMap<Identity, Vec<Weak<Content>>>,
    /// At least that of all snapshots together.
    size: usize,
    last_id: u64,
    clock: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    snapshot: Arc<Snapshot>,
    last_used: AtomicU64,
}

/// What the table has for a connection that was filled from a snapshot.
#[derive(Debug)]
pub(crate) enum Current {
    /// That is the latest one.
    Same,
    /// This one is.
    Newer(Arc<Snapshot>),
    /// Types are there that neither of them has, and it is not known how this search path sees them.
    Incomplete,
}

/// Who loads the catalog of a place.
#[derive(Debug)]
pub(crate) enum Claim<'a> {
    /// Not needed: this is what the table has. It may be out of date.
    Known(Arc<Snapshot>),
    /// The caller. Others wait until the permit is dropped.
    Load(LoadPermit<'a>),
    /// Another connection loads it at this moment.
    Busy,
}

#[derive(Debug)]
pub(crate) struct LoadPermit<'a> {
    /// `None`: no other connection waits for this load.
    announced: Option<(&'a OidTable, Place)>,
}

impl LoadPermit<'_> {
    /// For a load that no other connection waits for.
    pub(crate) const UNANNOUNCED: LoadPermit<'static> = LoadPermit { announced: None };
}

impl Drop for LoadPermit<'_> {
    fn drop(&mut self) {
        if let Some((table, place)) = &self.announced {
            table.loading().remove(place);
            table.loaded.notify_all();
            table.waiting.wake_all();
        }
    }
}

impl OidTable {
    /// The snapshot with that id, if it is still here.
    pub(crate) fn get(&self, id: SnapshotId) -> Option<Arc<Snapshot>> {
        self.read().touch(id)
    }

    fn database(&self, identity: &Identity) -> Arc<Database> {
        if let Some(database) = self.read().databases.get(identity) {
            return Arc::clone(database);
        }
        Arc::clone(self.write().databases.entry(identity.clone()).or_default())
    }

    /// Is there a later snapshot of the same place, whoever loaded it? No round trip.
    pub(crate) fn current(&self, snapshot: &Arc<Snapshot>) -> Current {
        if snapshot.scope == Scope::Transaction {
            return Current::Same;
        }
        let is_latest = !snapshot.is_superseded.load(Ordering::Relaxed);
        let latest = if is_latest { None } else { self.read().latest(&snapshot.place) };
        let latest = latest.as_ref().unwrap_or(snapshot);
        if !snapshot.database.has_digest(&latest.digest) {
            return self.seen_again(latest).map_or(Current::Incomplete, Current::Newer);
        }
        if latest.id == snapshot.id { Current::Same } else { Current::Newer(Arc::clone(latest)) }
    }

    /// The snapshot of the same place with the types that are known by now, if nothing has to be asked for that.
    fn seen_again(&self, latest: &Snapshot) -> Option<Arc<Snapshot>> {
        let (types, digest) = latest.database.known()?;
        let view = latest.content.view.after(&types, |schema| latest.place.path.may_contain(schema))?;
        let (server, place, scope) = (latest.server.clone(), latest.place.clone(), latest.scope);
        let mut state = self.write();
        let database = Arc::clone(&latest.database);
        let added = state.add(Loaded { server, place, scope, digest, view }, database);
        state.evict();
        Some(added)
    }

    /// Were the types of this place ever loaded?
    pub(crate) fn knows(&self, place: &Place) -> bool {
        self.read().current.contains_key(place)
    }

    /// The latest snapshot of a place, unless it is the `refuted` one; if there is none, one caller loads.
    pub(crate) fn claim(&self, place: &Place, refuted: Option<SnapshotId>) -> Claim<'_> {
        let mut loading = self.loading();
        match self.read().latest(place).filter(|snapshot| Some(snapshot.id) != refuted) {
            Some(snapshot) => Claim::Known(snapshot),
            None if loading.insert(place.clone()) => {
                Claim::Load(LoadPermit { announced: Some((self, place.clone())) })
            }
            None => Claim::Busy,
        }
    }

    /// As [`OidTable::claim`], but waits for another connection's load.
    pub(crate) fn claim_after_waiting(&self, place: &Place, refuted: Option<SnapshotId>) -> Claim<'_> {
        let deadline = Instant::now() + LOAD_PATIENCE;
        loop {
            let claim = self.claim(place, refuted);
            let left = deadline.saturating_duration_since(Instant::now());
            if !matches!(claim, Claim::Busy) {
                return claim;
            }
            if left.is_zero() {
                return Claim::Load(LoadPermit::UNANNOUNCED);
            }
            let waited = self.loaded.wait_timeout_while(self.loading(), left, |loading| loading.contains(place));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Adds what a load found that began then. If that is what the table has already, nothing is added.
    pub(crate) fn insert(&self, mut loaded: Loaded, began: Instant) -> Arc<Snapshot> {
        let database = self.database(&loaded.place.identity);
        if loaded.scope != Scope::Transaction {
            database.learn(&mut loaded.view.types, &loaded.digest, began);
        }
        let mut state = self.write();
        // It may have been forgotten meanwhile.
        let database = Arc::clone(state.databases.entry(loaded.place.identity.clone()).or_insert(database));
        let known = state.latest(&loaded.place);
        if let Some(known) =
            known.filter(|known| known.content.view == loaded.view && known.digest == loaded.digest)
        {
            return known;
        }
        let added = state.add(loaded, database);
        state.evict();
        added
    }

    /// Forgets everything: every connection becomes *unknown*.
    pub(crate) fn clear(&self) {
        let mut state = self.write();
        let last_id = state.last_id;
        *state = Snapshots { last_id, ..Snapshots::default() };
    }

    /// When those servers were started that are known, but for this one. None if it is not known by its start: other
    /// connections of this process may know the same server by its start.
    pub(crate) fn other_starts(&self, identity: &Identity) -> BTreeSet<PgStart> {
        let IdentifiedBy::Start { at: own, .. } = identity.by else {
            return BTreeSet::new();
        };
        let state = self.read();
        let others = state.databases.keys().filter(|known| *known != identity);
        let starts = others.filter_map(|known| match known.by {
            IdentifiedBy::Start { at, .. } => Some(at),
            _ => None,
        });
        starts.filter(|start| *start != own).take(MAX_OTHER_STARTS).collect()
    }

    /// The longest that a new type may go unnoticed, of all databases that are known.
    pub(crate) fn freshness_bound(&self) -> Duration {
        let state = self.read();
        let bounds = state.databases.values().map(|database| database.freshness_bound());
        bounds.max().unwrap_or_else(|| Database::default().freshness_bound())
    }

    fn read(&self) -> RwLockReadGuard<'_, Snapshots> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Snapshots> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked before the state, if both are.
    fn loading(&self) -> MutexGuard<'_, HashSet<Place>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshots {
    fn touch(&self, id: SnapshotId) -> Option<Arc<Snapshot>> {
        let entry = self.entries.get(&id)?;
        entry.last_used.store(self.tick(), Ordering::Relaxed);
        Some(Arc::clone(&entry.snapshot))
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn latest(&self, place: &Place) -> Option<Arc<Snapshot>> {
        self.touch(*self.current.get(place)?)
    }

    fn add(&mut self, loaded: Loaded, database: Arc<Database>) -> Arc<Snapshot> {
        let Loaded { server, place, scope, digest, view } = loaded;
        self.last_id += 1;
        let id = SnapshotId(NonZeroU64::new(self.last_id).expect("counted from 1"));
        let content = self.content(view, &place);
        let snapshot = Arc::new(Snapshot {
            id,
            scope,
            server,
            place,
            digest,
            former: database.total_former(),
            database,
            is_superseded: AtomicBool::new(false),
            successor: Successor::default(),
            path_condition: OnceLock::new(),
            content,
        });
        self.size += Size::default().with(&snapshot);
        let superseded = match scope {
            Scope::Everyone => self.current.insert(snapshot.place.clone(), id),
            Scope::Session | Scope::Transaction => Some(id),
        };
        if let Some(entry) = superseded.and_then(|id| self.entries.get(&id)) {
            entry.snapshot.is_superseded.store(true, Ordering::Relaxed);
        }
        self.superseded.extend(superseded);
        self.entries.insert(id, Entry { snapshot: Arc::clone(&snapshot), last_used: self.tick().into() });
        snapshot
    }

    /// Shared with another search path of the same server that sees the same.
    fn content(&mut self, view: View, place: &Place) -> Arc<Content> {
        let known = self.contents.entry(place.identity.clone()).or_default();
        let has_several_schemas = place.path.has_several_schemas();
        let is_same =
            |known: &Arc<Content>| known.has_several_schemas == has_several_schemas && known.view == view;
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(is_same) {
            return same;
        }
        let content = Arc::new(Content::new(view, place, tracked().as_deref()));
        known.retain(|content| content.strong_count() > 0);
        known.push(Arc::downgrade(&content));
        content
    }

    fn evict(&mut self) {
        while self.superseded.len() > MAX_SUPERSEDED {
            let oldest = self.superseded.pop_front();
            oldest.into_iter().for_each(|id| self.remove(id));
        }
        if self.size <= MAX_SIZE {
            return;
        }
        let mut by_age: Vec<_> =
            self.entries.iter().map(|(id, entry)| (entry.last_used.load(Ordering::Relaxed), *id)).collect();
        by_age.sort_unstable_by_key(|(last_used, _)| std::cmp::Reverse(*last_used));
        let (mut size, mut kept) = (Size::default(), 0);
        for (_, id) in by_age {
            if size.with(&self.entries[&id].snapshot) > MAX_SIZE {
                self.remove(id);
            } else {
                kept = size.bytes;
            }
        }
        self.size = kept;
        let used: HashSet<_> = self.entries.values().map(|entry| &entry.snapshot.place.identity).collect();
        self.databases.retain(|identity, _| used.contains(identity));
        self.contents.retain(|identity, _| used.contains(identity));
    }

    fn remove(&mut self, id: SnapshotId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        if self.current.get(&entry.snapshot.place) == Some(&id) {
            self.current.remove(&entry.snapshot.place);
        }
    }
}

/// Adds up snapshots; what they share counts once.
#[derive(Debug, Default)]
struct Size {
    bytes: usize,
    shared: HashSet<*const u8>,
}

impl Size {
    fn with(&mut self, snapshot: &Snapshot) -> usize {
        self.bytes += size_of::<Snapshot>() + 4 * snapshot.place.path.size();
        if self.shared.insert(Arc::as_ptr(&snapshot.content).cast()) {
            self.bytes += snapshot.content.size();
        }
        if self.shared.insert(Arc::as_ptr(snapshot.types()).cast()) {
            self.bytes += size_of_types(snapshot.types());
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::server::tests::{server, server_in};
    use crate::catalog::server::{Replicas, Server};
    use crate::catalog::types::tests::{ty, view};

    fn loaded(server: Server, scope: Scope, hstore: u32) -> Loaded {
        let place = server.place(Replicas::Distinct);
        let view = view(vec![(ty("public", "hstore", hstore), true)]);
        Loaded { server, place, scope, digest: hstore.to_string().into(), view }
    }

    fn insert(table: &OidTable, server: Server, hstore: u32) -> Arc<Snapshot> {
        table.insert(loaded(server, Scope::Everyone, hstore), Instant::now())
    }

    fn known(table: &OidTable, server: &Server) -> Option<SnapshotId> {
        match table.claim(&server.place(Replicas::Distinct), None) {
            Claim::Known(snapshot) => Some(snapshot.id),
            _ => None,
        }
    }

    #[test]
    fn a_restart_is_another_place_and_shares_nothing() {
        let table = OidTable::default();
        let first = insert(&table, server(7, 1, 120_022), 16_500);
        let restarted = insert(&table, server(7, 2, 120_022), 16_500);
        assert_ne!(first.id, restarted.id);
        assert!(matches!(table.current(&first), Current::Same));
    }

    #[test]
    fn a_connection_moves_to_what_another_one_loaded() {
        let table = OidTable::default();
        let before = insert(&table, server(7, 1, 120_022), 16_500);
        let after = insert(&table, server(7, 1, 120_022), 16_600);
        assert!(matches!(table.current(&before), Current::Newer(newer) if newer.id == after.id));
        assert!(matches!(table.current(&after), Current::Same));
    }

    #[test]
    fn what_is_found_again_unchanged_stays() {
        let table = OidTable::default();
        let before = insert(&table, server(7, 1, 120_022), 16_500);
        assert_eq!(before.id, insert(&table, server(7, 1, 120_022), 16_500).id);
    }

    #[test]
    fn what_a_transaction_saw_is_found_by_its_id_only() {
        let table = OidTable::default();
        let place = server(7, 1, 120_022);
        let shared = insert(&table, place.clone(), 16_500);
        let own = table.insert(loaded(place.clone(), Scope::Transaction, 16_600), Instant::now());
        assert_eq!(known(&table, &place), Some(shared.id));
        assert!(table.get(own.id).is_some());
        assert!(matches!(table.current(&shared), Current::Same));
    }

    #[test]
    fn another_search_path_follows_without_a_load_if_the_new_type_is_elsewhere() {
        let table = OidTable::default();
        let load = |schemas: &[&str], types: Vec<_>, digest: &str| {
            let server = server_in(7, 1, 120_022, schemas);
            let place = server.place(Replicas::Distinct);
            let (digest, view) = (digest.into(), view(types));
            table.insert(Loaded { server, place, scope: Scope::Everyone, digest, view }, Instant::now())
        };
        let public = load(&["public"], vec![(ty("public", "mood", 20), true)], "1");
        let tenant = load(&["tenant"], vec![(ty("public", "mood", 20), false)], "1");
        load(&["other"], vec![(ty("public", "mood", 20), false), (ty("tenant", "mood", 30), false)], "2");

        match table.current(&public) {
            Current::Newer(newer) => assert_eq!(newer.content.shown.names, "mood,tenant.mood"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(table.current(&tenant), Current::Incomplete), "the new type is in its path");
    }

    #[test]
    fn search_paths_that_see_the_same_share_it() {
        let table = OidTable::default();
        let one = insert(&table, server_in(7, 1, 120_022, &["a", "public"]), 16_500);
        let other = insert(&table, server_in(7, 1, 120_022, &["b", "public"]), 16_500);
        assert!(Arc::ptr_eq(&one.content, &other.content));
    }

    #[test]
    fn the_table_is_bounded_by_its_size_and_ids_are_never_used_again() {
        let table = OidTable::default();
        let mut ids = HashSet::new();
        let wide = "x".repeat(MAX_SIZE / 200);
        for start in 0..200 {
            let server = server_in(7, start, 120_022, &[&wide]);
            assert!(ids.insert(insert(&table, server, 16_500).id));
        }
        let mut size = Size::default();
        let total = table.read().entries.values().map(|entry| size.with(&entry.snapshot)).last();
        assert!(total.is_some_and(|total| total <= MAX_SIZE));
        assert_eq!(table.read().databases.len(), table.read().entries.len());
    }

    #[test]
    fn thousands_of_small_search_paths_are_kept() {
        let table = OidTable::default();
        let path = |tenant| server_in(7, 1, 120_022, &[&format!("tenant_{tenant}"), "public"]);
        for tenant in 0..5_000 {
            insert(&table, path(tenant), 16_500);
        }
        assert!((0..5_000).all(|tenant| known(&table, &path(tenant)).is_some()));
    }

    #[test]
    fn one_loads_and_all_others_wait_for_it() {
        let table = OidTable::default();
        let loads = AtomicU64::new(0);
        let place = server(7, 1, 120_022).place(Replicas::Distinct);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| match table.claim_after_waiting(&place, None) {
                    Claim::Load(permit) => {
                        loads.fetch_add(1, Ordering::SeqCst);
                        insert(&table, server(7, 1, 120_022), 16_500);
                        drop(permit);
                    }
                    other => drop(other),
                });
            }
        });
        assert_eq!(loads.into_inner(), 1);
    }

    #[test]
    fn a_load_that_fails_lets_the_next_one_try() {
        let table = OidTable::default();
        let place = server(7, 1, 120_022).place(Replicas::Distinct);
        let Claim::Load(permit) = table.claim(&place, None) else { panic!("nothing is known yet") };
        assert!(matches!(table.claim(&place, None), Claim::Busy));
        std::thread::scope(|scope| {
            let next = scope.spawn(|| matches!(table.claim_after_waiting(&place, None), Claim::Load(_)));
            drop(permit);
            assert!(next.join().expect("no panic"));
        });
    }
}
