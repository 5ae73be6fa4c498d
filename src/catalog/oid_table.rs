//! The OIDs that this process knows, by the server they belong to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use lazy_static::lazy_static;

use crate::catalog::horizon::Horizon;
use crate::catalog::server::{PgStart, Server};
use crate::catalog::snapshot::Snapshot;
use crate::catalog::watch::{SnapshotId, Watch};

lazy_static! {
    /// One for the process, so that a change costs one catalog load and not one for each connection.
    pub(crate) static ref OID_TABLE: OidTable = OidTable::default();
}

/// As many (server, database, search path) combinations are remembered; the least recently used one goes first.
const MAX_SNAPSHOTS: usize = 256;

/// As many of them may hold on no server any more.
const MAX_OUTDATED: usize = 8;

/// As many of them may belong to a transaction.
const MAX_PRIVATE: usize = 32;

/// A snapshot remembers as many restarts and physical replicas of its server.
const MAX_STARTS: usize = 32;

/// How long a connection waits for another one's catalog load before it loads for itself.
const LOAD_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    watch: Arc<Watch>,
    last_used: AtomicU64,
}

impl Entry {
    /// Holds on no server any more: never found again, but connections that were filled from it can still say what
    /// moved.
    fn is_outdated(&self) -> bool {
        self.watch.holds.is_empty()
    }

    fn is_private(&self) -> bool {
        self.watch.is_private
    }

    /// Looks before it removes: `make_mut` clones what connections hold at this moment.
    fn forget_start(&mut self, started: Option<PgStart>) {
        if self.watch.holds.iter().any(|(known, _)| *known == started) {
            Arc::make_mut(&mut self.watch).holds.retain(|(known, _)| *known != started);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<SnapshotId, Entry>,
    last_id: u64,
    clock: AtomicU64,
}

/// The process-wide table of snapshots. No lock is held across a round trip or while user code runs, and checkouts only
/// read as long as nothing changes.
#[derive(Debug, Default)]
pub(crate) struct OidTable {
    state: RwLock<State>,
    loading: Mutex<HashSet<Server>>,
    loaded: Condvar,
}

/// Who loads a server's catalog.
#[derive(Debug)]
pub(crate) enum Claim<'a> {
    /// Nobody needs to: this is what the table has. It may be out of date, so a probe verifies it.
    Known(Arc<Watch>),
    /// The caller. Others wait until the permit is dropped.
    Load(Option<LoadPermit<'a>>),
}

#[derive(Debug)]
pub(crate) struct LoadPermit<'a> {
    table: &'a OidTable,
    server: Server,
}

impl Drop for LoadPermit<'_> {
    fn drop(&mut self) {
        self.table.loading().remove(&self.server);
        self.table.loaded.notify_all();
    }
}

impl OidTable {
    /// The snapshot with that id, if it is still here.
    pub(crate) fn get(&self, id: SnapshotId) -> Option<Arc<Watch>> {
        self.read().touch(id)
    }

    /// The most recently used snapshot of `server` that is not among `refuted`.
    pub(crate) fn find(&self, server: &Server, refuted: &[SnapshotId]) -> Option<Arc<Watch>> {
        self.read().find(server, refuted)
    }

    /// As [`OidTable::find`]; where there is none, one caller loads and all others wait for it.
    pub(crate) fn find_or_claim(&self, server: &Server, refuted: &[SnapshotId]) -> Claim<'_> {
        let deadline = Instant::now() + LOAD_PATIENCE;
        let mut loading = self.loading();
        loop {
            if let Some(watch) = self.find(server, refuted) {
                return Claim::Known(watch);
            }
            if loading.insert(server.clone()) {
                return Claim::Load(Some(LoadPermit { table: self, server: server.clone() }));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Claim::Load(None);
            }
            loading = self.loaded.wait_timeout(loading, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Adds what was loaded. Where the same server, or a physical replica of it, is known with exactly these types,
    /// its start time is adopted instead: a restart or a switch between replicas resets nothing.
    ///
    /// What was loaded inside a transaction that has written may be its own doing: where it is not just what is known of
    /// that server, it stays private, found by its id and never by its server.
    pub(crate) fn insert(&self, snapshot: Snapshot, horizon: Horizon, is_own: bool) -> Arc<Watch> {
        let mut state = self.write();
        let hold = (snapshot.server().started, horizon);
        let twin = state.twin(&snapshot);
        let watch = if is_own {
            let known = twin.filter(|watch| watch.holds_on(snapshot.server()));
            known.unwrap_or_else(|| state.add(snapshot, hold, true))
        } else {
            state.forget_start(snapshot.server());
            match twin {
                Some(watch) => state.adopt(watch.id, hold),
                None => state.add(snapshot, hold, false),
            }
        };
        state.evict();
        watch
    }

    /// Forgets everything: every connection becomes *unknown*.
    pub(crate) fn clear(&self) {
        self.write().entries.clear();
    }

    /// Sets how far a snapshot holds on `server`.
    pub(crate) fn advance(&self, id: SnapshotId, server: &Server, horizon: Horizon) {
        if let Some(entry) = self.write().entries.get_mut(&id) {
            let holds = &mut Arc::make_mut(&mut entry.watch).holds;
            for (_, known) in holds.iter_mut().filter(|(started, _)| *started == server.started) {
                *known = horizon;
            }
        }
    }

    /// When those servers were started that are known, but for `server`.
    pub(crate) fn other_starts(&self, server: &Server) -> BTreeSet<PgStart> {
        let state = self.read();
        let holds = state.entries.values().flat_map(|entry| &entry.watch.holds);
        holds.filter_map(|(started, _)| *started).filter(|started| Some(*started) != server.started).collect()
    }

    /// Drops a snapshot that no longer holds on `server`. Where other servers share it, it stays for them.
    pub(crate) fn refute(&self, id: SnapshotId, server: &Server) {
        let mut state = self.write();
        if let Some(entry) = state.entries.get_mut(&id) {
            entry.forget_start(server.started);
        }
        state.evict();
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked before the state, where both are.
    fn loading(&self) -> MutexGuard<'_, HashSet<Server>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn touch(&self, id: SnapshotId) -> Option<Arc<Watch>> {
        let entry = self.entries.get(&id)?;
        entry.last_used.store(self.tick(), Ordering::Relaxed);
        Some(Arc::clone(&entry.watch))
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn find(&self, server: &Server, refuted: &[SnapshotId]) -> Option<Arc<Watch>> {
        let id = self
            .entries
            .values()
            .filter(|entry| !entry.is_private() && !refuted.contains(&entry.watch.id))
            .filter(|entry| entry.watch.holds_on(server))
            .max_by_key(|entry| entry.last_used.load(Ordering::Relaxed))?
            .watch
            .id;
        self.touch(id)
    }

    /// A known snapshot that says the same of a server that looks the same.
    fn twin(&self, snapshot: &Snapshot) -> Option<Arc<Watch>> {
        self.entries
            .values()
            .filter(|entry| !entry.is_private())
            .map(|entry| &entry.watch)
            .find(|watch| watch.snapshot.is_twin_of(snapshot))
            .cloned()
    }

    fn adopt(&mut self, id: SnapshotId, hold: (Option<PgStart>, Horizon)) -> Arc<Watch> {
        if let Some(entry) = self.entries.get_mut(&id) {
            let holds = &mut Arc::make_mut(&mut entry.watch).holds;
            holds.push(hold);
            if holds.len() > MAX_STARTS {
                holds.remove(0);
            }
        }
        self.touch(id).expect("the entry was found under the same lock")
    }

    fn add(&mut self, snapshot: Snapshot, hold: (Option<PgStart>, Horizon), is_private: bool) -> Arc<Watch> {
        self.last_id += 1;
        let id = SnapshotId(NonZeroU64::new(self.last_id).expect("counted from 1"));
        let watch = Arc::new(Watch { id, snapshot: Arc::new(snapshot), holds: vec![hold], is_private });
        self.entries.insert(id, Entry { watch: Arc::clone(&watch), last_used: self.tick().into() });
        watch
    }

    fn forget_start(&mut self, server: &Server) {
        for entry in self.entries.values_mut().filter(|entry| !entry.is_private()) {
            if entry.watch.snapshot.server().looks_like(server) {
                entry.forget_start(server.started);
            }
        }
    }

    fn evict(&mut self) {
        self.keep_latest(MAX_OUTDATED, Entry::is_outdated);
        self.keep_latest(MAX_PRIVATE, Entry::is_private);
        self.keep_latest(MAX_SNAPSHOTS, |_| true);
    }

    fn keep_latest(&mut self, limit: usize, concerned: fn(&Entry) -> bool) {
        let mut candidates: Vec<_> = self.entries.values().filter(|entry| concerned(entry)).collect();
        candidates.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.last_used.load(Ordering::Relaxed)));
        let surplus: Vec<_> = candidates.iter().skip(limit).map(|entry| entry.watch.id).collect();
        for id in surplus {
            self.entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::horizon::tests::sighting;
    use crate::catalog::server::tests::server;
    use crate::catalog::snapshot::PgType;

    /// Equal to itself whenever it is asked for: settled by no moment.
    fn horizon() -> Horizon {
        Horizon::first(&sighting(20_000, 600, 700))
    }

    fn snapshot(server: Server, hstore: u32) -> Snapshot {
        let ty = PgType {
            oid: hstore,
            array_oid: hstore + 1,
            schema: "public".into(),
            name: "hstore".into(),
            visible: true,
        };
        Snapshot::new(server, vec![ty], "{hstore}", None)
    }

    #[test]
    fn a_restart_and_a_replica_share_the_snapshot_of_their_server() {
        let table = OidTable::default();
        let first = table.insert(snapshot(server(7, 1, 120_022), 16_500), horizon(), false);
        let restarted = table.insert(snapshot(server(7, 2, 120_022), 16_500), horizon(), false);
        assert_eq!(first.id, restarted.id);
        assert_eq!(restarted.holds, [(Some(1), horizon()), (Some(2), horizon())]);
        let other = table.insert(snapshot(server(8, 3, 120_022), 16_500), horizon(), false);
        assert_ne!(first.id, other.id, "the same types on another cluster");
    }

    #[test]
    fn types_that_changed_on_one_replica_still_hold_on_the_other() {
        let table = OidTable::default();
        let (primary, replica) = (server(7, 1, 120_022), server(7, 2, 120_022));
        let before = table.insert(snapshot(primary.clone(), 16_500), horizon(), false);
        table.insert(snapshot(replica.clone(), 16_500), horizon(), false);
        let after = table.insert(snapshot(primary.clone(), 16_600), horizon(), false);

        assert_eq!(table.find(&primary, &[]).map(|watch| watch.id), Some(after.id));
        assert_eq!(table.find(&replica, &[]).map(|watch| watch.id), Some(before.id));
    }

    #[test]
    fn an_outdated_snapshot_is_never_found_but_can_still_say_what_moved() {
        let table = OidTable::default();
        let watch = table.insert(snapshot(server(7, 1, 120_022), 16_500), horizon(), false);
        table.refute(watch.id, watch.snapshot.server());
        assert!(table.find(watch.snapshot.server(), &[]).is_none());
        assert!(table.get(watch.id).is_some());
    }

    #[test]
    fn a_private_snapshot_is_found_by_its_id_only() {
        let table = OidTable::default();
        let shared = table.insert(snapshot(server(7, 1, 120_022), 16_500), horizon(), false);
        let private = table.insert(snapshot(server(7, 1, 120_022), 16_600), horizon(), true);
        assert_eq!(table.find(private.snapshot.server(), &[]).map(|watch| watch.id), Some(shared.id));
        assert!(table.get(private.id).is_some());
    }

    #[test]
    fn a_transaction_does_not_bring_an_outdated_snapshot_back() {
        let table = OidTable::default();
        let before = table.insert(snapshot(server(7, 1, 120_022), 16_500), horizon(), false);
        let after = table.insert(snapshot(server(7, 1, 120_022), 16_600), horizon(), false);
        let inside = table.insert(snapshot(server(7, 1, 120_022), 16_500), horizon(), true);
        assert_ne!(inside.id, before.id);
        assert_eq!(table.find(after.snapshot.server(), &[]).map(|watch| watch.id), Some(after.id));
    }

    #[test]
    fn the_table_is_bounded_and_ids_are_never_used_again() {
        let table = OidTable::default();
        let mut ids = HashSet::new();
        for identifier in 0..1_000 {
            let watch = table.insert(snapshot(server(identifier, identifier, 120_022), 16_500), horizon(), false);
            assert!(ids.insert(watch.id));
        }
        assert_eq!(table.read().entries.len(), MAX_SNAPSHOTS);
        for recreated in 0..1_000 {
            table.insert(snapshot(server(7, 1, 120_022), 17_000 + recreated), horizon(), false);
        }
        let state = table.read();
        assert!(state.entries.values().filter(|entry| entry.is_outdated()).count() <= MAX_OUTDATED);
    }

    #[test]
    fn one_loads_and_all_others_wait_for_it() {
        let table = OidTable::default();
        let loads = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| match table.find_or_claim(&server(7, 1, 120_022), &[]) {
                    Claim::Known(watch) => drop(watch),
                    Claim::Load(permit) => {
                        loads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        table.insert(snapshot(server(7, 1, 120_022), 16_500), horizon(), false);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(loads.into_inner(), 1);
    }

    #[test]
    fn a_load_that_fails_lets_the_next_one_try() {
        let table = OidTable::default();
        let Claim::Load(Some(permit)) = table.find_or_claim(&server(7, 1, 120_022), &[]) else {
            panic!("nothing is known yet")
        };
        std::thread::scope(|scope| {
            let next =
                scope.spawn(|| matches!(table.find_or_claim(&server(7, 1, 120_022), &[]), Claim::Load(Some(_))));
            drop(permit);
            assert!(next.join().expect("no panic"));
        });
    }
}
