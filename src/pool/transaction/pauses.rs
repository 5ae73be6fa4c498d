//! How long a transaction waits before it runs again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// The first rerun comes at once, and each later one after twice the time, up to a second. The time is jittered, so that
/// transactions that were cut together do not come together when a server is back.
#[derive(Debug)]
pub(crate) struct Pauses {
    reruns: u32,
    /// How many connections may turn out to be dead before a pause is due: one cut leaves a pool full of them.
    dead_ones_left: u32,
}

/// What a failed attempt says of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Nothing: the connection may have been dead before.
    WasIdle,
    /// It does not serve now.
    Fresh,
}

impl Pauses {
    pub(crate) fn new(pool_size: u32) -> Self {
        Pauses { reruns: 0, dead_ones_left: pool_size }
    }

    /// Before the next rerun.
    pub(crate) fn next(&mut self, evidence: Evidence) -> Duration {
        if evidence == Evidence::WasIdle && self.dead_ones_left > 0 {
            self.dead_ones_left -= 1;
            return Duration::ZERO;
        }
        let reruns = self.reruns;
        self.reruns += 1;
        reruns.checked_sub(1).map_or(Duration::ZERO, |earlier| jittered(longest(earlier)))
    }
}

fn longest(earlier: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(earlier)).min(LONGEST)
}

/// Between a half and the whole.
pub(crate) fn jittered(longest: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64;
    longest.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rerun_comes_at_once_and_later_ones_wait_longer_and_longer() {
        let mut pauses = Pauses::new(4);
        let taken: Vec<_> = (0..12).map(|_| pauses.next(Evidence::Fresh)).collect();
        assert_eq!(taken[0], Duration::ZERO);
        for (number, pause) in taken.iter().enumerate().skip(1) {
            let longest = longest(number as u32 - 1);
            assert!(*pause >= longest / 2 && *pause <= longest, "{number}: {pause:?}");
        }
        assert_eq!(longest(0), FIRST);
        assert_eq!([longest(7), longest(u32::MAX)], [LONGEST; 2]);
    }

    #[test]
    fn a_thousand_transactions_that_wait_do_not_come_back_at_once() {
        let mut moments: Vec<_> = (0..1_000).map(|_| jittered(LONGEST)).collect();
        moments.sort();
        let busiest = moments
            .iter()
            .map(|from| {
                moments.iter().filter(|moment| (*from..*from + Duration::from_millis(10)).contains(moment)).count()
            })
            .max();
        // 20 on average. All at once without jitter.
        assert!(busiest < Some(60), "{busiest:?} came within 10 ms");
    }

    #[test]
    fn a_pool_full_of_dead_connections_costs_no_pause() {
        let mut pauses = Pauses::new(3);
        let taken: Vec<_> = (0..6).map(|_| pauses.next(Evidence::WasIdle)).collect();
        assert_eq!(taken[..4], [Duration::ZERO; 4]);
        assert!(taken[4..].iter().all(|pause| *pause > Duration::ZERO), "{taken:?}");
    }
}
