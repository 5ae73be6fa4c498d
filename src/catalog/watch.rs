//! A snapshot that is in use: what a probe compares a server with.

use std::num::NonZeroU64;
use std::sync::Arc;

use diesel::data_types::PgTimestamp;

use crate::catalog::horizon::Horizon;
use crate::catalog::server::{PgStart, Server};
use crate::catalog::snapshot::Snapshot;

/// Names a snapshot. Never reused, so that a connection whose snapshot was dropped is *unknown*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SnapshotId(pub(crate) NonZeroU64);

impl SnapshotId {
    pub(crate) fn halves(self) -> (u32, u32) {
        let id = self.0.get();
        ((id >> 32) as u32, id as u32)
    }

    pub(crate) fn from_halves(high: u32, low: u32) -> Option<Self> {
        NonZeroU64::new(u64::from(high) << 32 | u64::from(low)).map(SnapshotId)
    }
}

/// What a probe compares a server with.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) id: SnapshotId,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where the snapshot holds: on the server as of that start, up to that horizon. Restarts and physical replicas
    /// share a snapshot, but not a horizon. A server that tells no start time has the start `None`.
    pub(crate) holds: Vec<(Option<PgStart>, Horizon)>,
    /// Loaded inside a transaction that had written: its own DDL nobody else can see, and it may be rolled back.
    pub(crate) is_private: bool,
}

impl Watch {
    /// Could it hold for a connection of which nothing is known? What it may ask the server is not known either.
    pub(crate) fn is_likely(&self) -> bool {
        !self.is_private && !self.holds.is_empty() && self.snapshot.server().is_identified()
    }

    /// Is `server` one of those that the snapshot was seen on?
    pub(crate) fn holds_on(&self, server: &Server) -> bool {
        self.snapshot.server().looks_like(server) && self.horizon_on(server).is_some()
    }

    /// The starts, and an OID of each one's horizon, in the same order. (A server that tells no start is the only one.)
    pub(crate) fn by_start(&self, oid: impl Fn(&Horizon) -> u32) -> (Vec<PgTimestamp>, Vec<u32>) {
        let holds = self.holds.iter();
        holds.map(|(started, horizon)| (PgTimestamp(started.unwrap_or_default()), oid(horizon))).unzip()
    }

    pub(crate) fn horizon_on(&self, server: &Server) -> Option<Horizon> {
        self.holds.iter().find(|(started, _)| *started == server.started).map(|(_, horizon)| *horizon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_split() {
        for id in [1, u64::from(u32::MAX), u64::MAX] {
            let id = SnapshotId(NonZeroU64::new(id).expect("not zero"));
            let (high, low) = id.halves();
            assert_eq!(SnapshotId::from_halves(high, low), Some(id));
        }
        assert_eq!(SnapshotId::from_halves(0, 0), None);
    }
}
