//! Waiting for another connection's load or look, as tasks wait.

use std::task::Poll;
use std::time::Instant;

use crate::catalog::database::{Database, LOOK_PATIENCE};
use crate::catalog::server::Place;
use crate::catalog::snapshot::{Scope, Snapshot, SnapshotId};
use crate::catalog::table::{Claim, LOAD_PATIENCE, LoadPermit, OID_TABLE};
use crate::synchronize::NewTypes;

/// The latest snapshot of a place, unless it is the `refuted` one. If there is none, one caller loads, and the others
/// wait.
pub(super) async fn claim(place: &Place, refuted: Option<SnapshotId>) -> Claim<'static> {
    let deadline = Instant::now() + LOAD_PATIENCE;
    std::future::poll_fn(|context| {
        match OID_TABLE.claim(place, refuted) {
            Claim::Busy if Instant::now() < deadline => OID_TABLE.waiting.register(context.waker(), LOAD_PATIENCE),
            Claim::Busy => return Poll::Ready(Claim::Load(LoadPermit::UNANNOUNCED)),
            claim => return Poll::Ready(claim),
        }
        // It may have ended before this task was registered.
        match OID_TABLE.claim(place, refuted) {
            Claim::Busy => Poll::Pending,
            claim => Poll::Ready(claim),
        }
    })
    .await
}

/// As [`NewTypes::since`], but a task waits where a thread would.
pub(super) async fn new_types_since(snapshot: &Snapshot, in_transaction: bool, always_looks: bool) -> NewTypes {
    let is_of_interest = !snapshot.content.has_all_tracked && snapshot.scope != Scope::Transaction;
    if !in_transaction && !always_looks && is_of_interest {
        wait_for_look(&snapshot.database).await;
    }
    // Nothing waits from here on.
    NewTypes::since_at_once(snapshot, always_looks)
}

async fn wait_for_look(database: &Database) {
    let deadline = Instant::now() + LOOK_PATIENCE;
    let is_over = || !database.is_being_looked_at() || Instant::now() >= deadline;
    std::future::poll_fn(|context| {
        if is_over() {
            return Poll::Ready(());
        }
        database.waiting.register(context.waker(), LOOK_PATIENCE);
        if is_over() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
