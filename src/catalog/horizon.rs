//! "No type was created since": a type that is in nobody's watch, used and then re-created, would go unnoticed.

use std::time::{Duration, Instant};

/// A settled horizon is looked at again after this time. It bounds what the rule of [`Horizon`] can't see: an OID
/// counter that wraps around while the process lives, a type created on the primary while a standby is asked (which
/// can't tell the next transaction's id), and the microseconds between drawing an OID and a transaction's id.
const LAPSE: Duration = Duration::from_secs(60);

/// Stands for a transaction's id that was not asked for.
const NO_XID: i64 = i64::MAX;

/// Up to which OID no type can appear any more that is not watched already.
///
/// The largest OID of `pg_type` alone doesn't tell: a transaction that is still open may hold a smaller one that it
/// drew before. So the horizon is settled only when all transactions have ended that were open when that largest OID
/// was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) newest_oid: u32,
    /// The next transaction's id when `newest_oid` was first seen.
    next_xid: i64,
    settled: Option<Instant>,
}

/// What a server shows of its types and transactions at one moment. All types are counted, not those above some OID:
/// the count is exact also where the OID counter has wrapped around.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    /// How many types there are that are watched.
    pub(crate) types: i64,
    pub(crate) newest_oid: u32,
    pub(crate) oldest_open_xid: i64,
    pub(crate) next_xid: i64,
}

impl Horizon {
    pub(crate) fn first(sighting: &Sighting) -> Self {
        Horizon { newest_oid: 0, next_xid: NO_XID, settled: None }.after(sighting)
    }

    /// This horizon, after another look that found nothing new.
    pub(crate) fn after(self, sighting: &Sighting) -> Self {
        let has_grown = self.newest_oid != sighting.newest_oid;
        let next_xid = if has_grown { sighting.next_xid } else { self.next_xid };
        let is_settled = next_xid != NO_XID && sighting.oldest_open_xid >= next_xid;
        // Without a transaction's id to wait for, the next look has to ask for one.
        let newest_oid = if next_xid == NO_XID { 0 } else { sighting.newest_oid };
        Horizon { newest_oid, next_xid, settled: is_settled.then(Instant::now) }
    }

    /// What [`Horizon::settled_oid`] is while nothing can be said: no type has it.
    pub(crate) const UNSETTLED: u32 = 0;

    /// While this is the largest OID there is, there is nothing new.
    pub(crate) fn settled_oid(&self) -> u32 {
        match self.settled {
            Some(settled) if settled.elapsed() < LAPSE => self.newest_oid,
            _ => Horizon::UNSETTLED,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sighting(newest_oid: u32, oldest_open_xid: i64, next_xid: i64) -> Sighting {
        Sighting { types: 1, newest_oid, oldest_open_xid, next_xid }
    }

    #[test]
    fn with_no_transaction_open_a_horizon_is_settled_at_once() {
        assert_eq!(Horizon::first(&sighting(20_000, 700, 700)).settled_oid(), 20_000);
    }

    #[test]
    fn an_open_transaction_may_hold_a_smaller_oid() {
        let horizon = Horizon::first(&sighting(20_000, 650, 700));
        assert_eq!(horizon.settled_oid(), 0);
        let horizon = horizon.after(&sighting(20_000, 699, NO_XID));
        assert_eq!(horizon.settled_oid(), 0, "one of the first look is still open");
        let horizon = horizon.after(&sighting(20_000, 700, NO_XID));
        assert_eq!(horizon.settled_oid(), 20_000, "those that are open now began later, and draw larger OIDs");
    }

    #[test]
    fn growth_begins_the_wait_anew() {
        let horizon = Horizon::first(&sighting(20_000, 650, 700)).after(&sighting(20_010, 750, 800));
        assert_eq!(horizon.settled_oid(), 0);
        assert_eq!(horizon.after(&sighting(20_010, 800, NO_XID)).settled_oid(), 20_010);
    }

    #[test]
    fn a_look_inside_a_transaction_settles_nothing() {
        let horizon = Horizon::first(&sighting(20_000, 700, NO_XID));
        assert_eq!(horizon.settled_oid(), 0);
        assert_eq!(horizon.newest_oid, 0, "the next look asks for a transaction's id");
        assert_eq!(horizon.after(&sighting(20_000, 800, 800)).settled_oid(), 20_000);
    }

    #[test]
    fn a_settled_horizon_lapses() {
        let mut horizon = Horizon::first(&sighting(20_000, 700, 700));
        horizon.settled = Instant::now().checked_sub(LAPSE);
        assert_eq!(horizon.settled_oid(), 0);
        assert_eq!(horizon.after(&sighting(20_000, 900, NO_XID)).settled_oid(), 20_000, "for another while");
    }
}
