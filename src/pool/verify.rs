//! How often a connection is asked.

use std::time::Duration;

use diesel::pg::PgConnection;

use crate::connection::notes;

/// How often a pool asks its connections whether their caches still belong to the server that answers.
///
/// Set with [`HotUpgradeManager::verify`](crate::HotUpgradeManager::verify). [`synchronize`](crate::synchronize) and
/// [verified transactions](crate::HotUpgradeExt::hot_transaction) always ask.
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
    /// At every checkout: one round trip, in place of the stock ping. Right for everyone whose statements are not all
    /// in verified transactions.
    ///
    /// It says which server answered *then*. Behind a pooler in transaction mode the next statement may be answered by
    /// another one: during a switch, and at any time where two servers with different OIDs take turns behind one address.
    /// There, no check at checkout can promise anything, and only
    /// [verified transactions](crate::HotUpgradeExt::hot_transaction) are right.
    #[default]
    EveryCheckout,
    /// Skips the check, an inner manager's included, if the connection was asked, and answered, within this time: such a
    /// checkout costs no round trip.
    ///
    /// Right where *every* statement runs in a [verified transaction](crate::HotUpgradeExt::hot_transaction), which
    /// asks for itself: then nothing is lost, and a checkout is cheaper than the stock one. Wrong for anything else:
    /// after a change of the server, plain statements fail or answer wrongly for up to this time.
    ///
    /// Within this time a connection that died meanwhile can be handed out, as with HikariCP's alive-bypass window;
    /// seconds are long enough to save nearly all pings. An error that a function of this crate meets on a connection
    /// ends the time for that connection, and so does [`synchronize`](crate::synchronize) where it finds a change inside
    /// a transaction.
    ///
    /// The probe that travels with `BEGIN` does not look for types that were created since, as a checkout's does, so it
    /// does not extend this time. Until the next checkout that asks, such a type, used and then created anew, is noticed
    /// by the error that it causes, which a verified transaction heals.
    AtMostEvery(Duration),
}

impl Verify {
    /// Need the connection not be asked yet? No round trip.
    pub(crate) fn is_satisfied(self, conn: &mut PgConnection) -> bool {
        match self {
            Verify::EveryCheckout => false,
            Verify::AtMostEvery(window) => notes::since_verified(conn).is_some_and(|elapsed| elapsed < window),
        }
    }
}
