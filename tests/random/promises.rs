//! What is judged, and how strictly: the table in the documentation of this test program, for the compiler.

use std::time::Duration;

use diesel_postgres_hot_upgrade::stats;

/// How old a type is before this test moves it: more than the crate's bound, within which a new type may be created,
/// used, moved and used again without anybody looking for new types. On a busy machine a look can be slow, and the bound
/// longer than one second.
pub(crate) fn bound() -> Duration {
    stats().freshness_bound() + Duration::from_millis(300)
}

/// Must a plain statement that a server answers by itself, on a connection that was last asked on another server, do no
/// harm to a verified transaction that follows on the first server? If not, the keys that it looked up are not judged
/// until the connection is asked on another server.
pub(crate) const STRAYS_ARE_HARMLESS: bool = true;

/// May a plain statement fail, for as long as [`bound`], if it uses a name whose type was dropped long ago and has come
/// back just now?
pub(crate) const NAMES_THAT_COME_BACK_MAY_FAIL: bool = false;

/// How strictly an answer is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// Neither wrong nor failed.
    Strict,
    /// Not failed; wrong answers can't be prevented.
    Healed,
    /// Not wrong; it may fail, as a type that was rolled back does.
    NotWrong,
    /// Nothing is promised.
    Unjudged,
}

/// How a type is used. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// A plain statement, or a plain transaction, after a checkout that asked.
    Plain,
    /// A verified transaction after a checkout that asked.
    Verified,
    /// A verified transaction within a window.
    Window,
    /// A verified transaction on a connection that is held.
    Held,
    /// Anything under a tenant's path.
    Tenant,
    /// `hot_query`.
    Query,
    /// A plain statement with no promise: on a held connection, or within a window.
    Stray,
    /// A plain statement of the control, a stock pool.
    Stock,
}
