//! Which servers take turns behind one address.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::catalog::clock;
use crate::catalog::server::Identity;

/// How long two servers count as taking turns after a connection has come back from one to the other.
const MEMORY: Duration = Duration::from_secs(60);

/// More moves are not remembered; the oldest goes first.
const MAX_MOVES: usize = 64;

/// The moves of connections from one server to another in the last minute.
///
/// If two servers take turns, a plain statement may be answered by the one, and Diesel may look a type up there, while
/// every check is answered by the other. So nothing that a connection looked up by itself can be trusted. After a switch
/// and its undoing, that concerns connections that were there before; after one more move, all of them.
#[derive(Debug, Default)]
pub(crate) struct Alternation {
    moves: Mutex<Vec<Move>>,
    /// Spares the usual case, in which nothing ever moved, the lock.
    was_used: AtomicBool,
}

#[derive(Debug)]
struct Move {
    from: Identity,
    to: Identity,
    at: Instant,
    /// How often a move the other way was followed by this one.
    returns: u32,
}

impl Alternation {
    /// Notes that a connection that was filled on one server was answered by another one.
    pub(crate) fn note(&self, from: &Identity, to: &Identity) {
        let now = clock::now();
        let mut moves = self.lock();
        moves.retain(|known| now.saturating_duration_since(known.at) < MEMORY);
        let last =
            |from: &Identity, to: &Identity| moves.iter().find(|known| known.from == *from && known.to == *to);
        let back = last(to, from).map(|back| back.at);
        let (before, mut returns) = last(from, to).map_or((None, 0), |same| (Some(same.at), same.returns));
        let is_return = back.is_some_and(|back| before.is_none_or(|before| before <= back));
        if is_return || from == to {
            returns += 1;
        }
        moves.retain(|known| (&known.from, &known.to) != (from, to));
        if moves.len() >= MAX_MOVES {
            moves.remove(0);
        }
        moves.push(Move { from: from.clone(), to: to.clone(), at: now, returns });
        self.was_used.store(true, Ordering::Relaxed);
    }

    /// Notes that another server answered between two answers of this one.
    pub(crate) fn note_in_between(&self, identity: &Identity) {
        self.note(identity, identity);
    }

    /// Does this server take turns with another one, so that a connection whose caches were emptied then may know types of
    /// the other one?
    pub(crate) fn concerns(&self, identity: &Identity, emptied: Option<Instant>) -> bool {
        if !self.was_used.load(Ordering::Relaxed) {
            return false;
        }
        let now = clock::now();
        let moves = self.lock();
        let recent = moves.iter().filter(|known| now.saturating_duration_since(known.at) < MEMORY);
        let own = recent.filter(|known| known.from == *identity || known.to == *identity);
        own.clone().any(|one| {
            let back = own.clone().find(|back| back.from == one.to && back.to == one.from);
            back.is_some_and(|back| {
                let is_older = emptied.is_none_or(|emptied| emptied < one.at.max(back.at));
                let returns = if one.from == one.to { one.returns } else { one.returns + back.returns };
                match returns {
                    0 => false,
                    1 => is_older,
                    _ => true,
                }
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Move>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::server::Replicas;
    use crate::catalog::server::tests::server;

    #[test]
    fn an_undone_switch_concerns_connections_that_were_there_before() {
        let identity = |started| server(7, started, 120_022).place(Replicas::Distinct).identity;
        let (old, new, other) = (identity(1), identity(2), identity(3));
        let (alternation, before) = (Alternation::default(), clock::now());
        // Many connections move.
        for _ in 0..3 {
            alternation.note(&old, &new);
        }
        assert!(!alternation.concerns(&old, Some(before)), "a switch");
        for _ in 0..3 {
            alternation.note(&new, &old);
        }
        let after = clock::now();
        assert!(alternation.concerns(&old, Some(before)) && alternation.concerns(&old, None));
        assert!(!alternation.concerns(&old, Some(after)) && !alternation.concerns(&other, Some(before)));
        alternation.note(&old, &new);
        assert!(alternation.concerns(&old, Some(clock::now())), "they take turns");
        clock::tests::advance(MEMORY);
        assert!(!alternation.concerns(&old, None));
    }

    #[test]
    fn an_answer_in_between_concerns_connections_that_were_there() {
        let identity = server(7, 1, 120_022).place(Replicas::Distinct).identity;
        let (alternation, before) = (Alternation::default(), clock::now());
        alternation.note_in_between(&identity);
        assert!(
            alternation.concerns(&identity, Some(before)) && !alternation.concerns(&identity, Some(clock::now()))
        );
    }
}
