//! How often a connection is asked.

use std::cell::Cell;
use std::time::Duration;

use diesel::pg::GetPgMetadataCache;

use crate::connection::generation::Generation;
use crate::connection::notes;

thread_local! {
    /// `BEGIN` will check the connection that this thread checks out now.
    static IS_CHECKED_BY_BEGIN: Cell<bool> = const { Cell::new(false) };
}

/// Checks out a connection that is checked with `BEGIN`, so that a check at checkout would only cost a round trip. r2d2
/// checks on the thread that asks for a connection.
pub(crate) fn checked_by_begin<T>(check_out: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IS_CHECKED_BY_BEGIN.set(false);
        }
    }
    let _reset = Reset;
    IS_CHECKED_BY_BEGIN.set(true);
    check_out()
}

/// The same for a future, each time it is polled.
#[cfg(any(feature = "bb8", feature = "deadpool"))]
pub(crate) async fn checked_by_begin_when_polled<F: Future>(check_out: F) -> F::Output {
    let mut check_out = std::pin::pin!(check_out);
    std::future::poll_fn(|context| checked_by_begin(|| check_out.as_mut().poll(context))).await
}

/// Will `BEGIN` check it? True once, so that what runs after the check, such as an event handler, is not concerned.
pub(crate) fn is_checked_by_begin() -> bool {
    IS_CHECKED_BY_BEGIN.take()
}

/// How often a pool checks whether a connection's caches belong to the server that answers.
///
/// Set with [`HotUpgradeManager::verify`](crate::HotUpgradeManager::verify). [`synchronize`](crate::synchronize) and
/// [verified transactions](crate::HotUpgradeExt::hot_transaction) always check.
///
/// ```
/// use std::time::Duration;
/// use diesel_postgres_hot_upgrade::{HotUpgradeManager, Verify};
///
/// let manager = HotUpgradeManager::new("postgres://app@pooler/app")
///     .verify(Verify::AtMostEvery(Duration::from_secs(10)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// At every checkout: one round trip, in place of the stock ping. Use this unless all statements are in verified
    /// transactions.
    ///
    /// The check says which server answered at that moment. Behind a pooler in transaction mode another server may
    /// answer the next statement: during a switch, and at any time if two servers with different OIDs take turns behind
    /// one address. Then only [verified transactions](crate::HotUpgradeExt::hot_transaction) are correct.
    #[default]
    EveryCheckout,
    /// Skips the check, an inner manager's included, if the connection was checked, and answered, within this time.
    /// Such a checkout costs no round trip.
    ///
    /// Use it if *every* statement runs in a [verified transaction](crate::HotUpgradeExt::hot_transaction), which has a
    /// check of its own: then nothing is lost, and a checkout is cheaper than the stock one. Do not use it otherwise:
    /// after a change of the server, plain statements fail or answer wrongly for up to this time.
    ///
    /// The window also covers [`target_session_attrs`](crate::HotUpgradeManager::target_session_attrs). To end all
    /// windows at once, call [`verify_at_next_checkout`].
    ///
    /// Within this time a connection that died meanwhile can be handed out, as with HikariCP's alive-bypass window.
    /// Seconds are long enough to save nearly all pings. An error that a function of this crate meets on a connection
    /// ends the time for that connection, and so does [`synchronize`](crate::synchronize) if it finds a change inside a
    /// transaction. The check that is sent with `BEGIN` does not extend it.
    AtMostEvery(Duration),
}

/// Ends every [window](Verify::AtMostEvery) of this process: each connection of each pool is checked at its next
/// checkout. For an operator who knows that a server changed, or that it no longer takes writes: call it from an
/// administrator's endpoint, or from a signal handler.
///
/// A check that is under way does not count as the next one. Without a window every checkout is checked anyway, and
/// connections that are checked out are not touched.
///
/// It increments an atomic integer, and does nothing else: it does not wait, and is async-signal-safe. No round trip.
///
/// ```
/// // The primary was replaced: do not wait for windows to end.
/// diesel_postgres_hot_upgrade::verify_at_next_checkout();
/// ```
pub fn verify_at_next_checkout() {
    Generation::begin_next();
}

impl Verify {
    /// Is the connection exempt from a check? No round trip.
    pub(crate) fn is_satisfied(self, conn: &mut impl GetPgMetadataCache) -> bool {
        match self {
            Verify::EveryCheckout => false,
            Verify::AtMostEvery(window) => notes::since_verified(conn).is_some_and(|elapsed| elapsed < window),
        }
    }
}
