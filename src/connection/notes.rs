//! What this crate remembers of a connection, kept inside the connection's own metadata cache: so it can't get out of
//! step with what it describes, and the connection's type stays `PgConnection`.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use diesel::pg::{GetPgMetadataCache, PgConnection, PgMetadataCacheKey};
use lazy_static::lazy_static;

use crate::catalog::watch::SnapshotId;

/// A name that no type can have: PostgreSQL allows no NUL byte in a name.
const RESERVED_SCHEMA: &str = "\0diesel-postgres-hot-upgrade";

/// The snapshot that the caches were filled from. `None` means *unknown*, never *new*.
pub(crate) fn snapshot(conn: &mut PgConnection) -> Option<SnapshotId> {
    let (high, low) = read(conn, "snapshot")?;
    SnapshotId::from_halves(high, low)
}

/// How often the caches were emptied because they could be wrong. `None` on a connection seen for the first time.
pub(crate) fn resets(conn: &mut PgConnection) -> Option<u32> {
    read(conn, "resets").map(|(resets, _)| resets)
}

pub(crate) fn set_snapshot(conn: &mut PgConnection, id: SnapshotId) {
    write(conn, "snapshot", id.halves());
}

pub(crate) fn set_resets(conn: &mut PgConnection, resets: u32) {
    write(conn, "resets", (resets, 0));
}

/// How long ago the connection was last asked whether its caches are right, and answered. `None` if it has to be asked
/// again.
pub(crate) fn since_verified(conn: &mut PgConnection) -> Option<Duration> {
    let (high, low) = read(conn, "verified")?;
    let nanoseconds = (u64::from(high) << 32 | u64::from(low)).checked_sub(1)?;
    Some(since_start().saturating_sub(Duration::from_nanos(nanoseconds)))
}

/// Notes that the connection was asked just now, and answered.
pub(crate) fn set_verified(conn: &mut PgConnection) {
    let nanoseconds = u64::try_from(since_start().as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
    write(conn, "verified", ((nanoseconds >> 32) as u32, nanoseconds as u32));
}

/// The next checkout asks again.
pub(crate) fn forget_verified(conn: &mut PgConnection) {
    if read(conn, "verified").is_some() {
        write(conn, "verified", (0, 0));
    }
}

/// An `Instant` can't be kept in the connection; the time since a first one can.
fn since_start() -> Duration {
    lazy_static! {
        static ref START: Instant = Instant::now();
    }
    START.elapsed()
}

fn key(name: &'static str) -> PgMetadataCacheKey<'static> {
    PgMetadataCacheKey::new(Some(Cow::Borrowed(RESERVED_SCHEMA)), Cow::Borrowed(name))
}

fn read(conn: &mut PgConnection, name: &'static str) -> Option<(u32, u32)> {
    let metadata = conn.get_metadata_cache().lookup_type(&key(name))?;
    Some((metadata.oid().ok()?, metadata.array_oid().ok()?))
}

fn write(conn: &mut PgConnection, name: &'static str, value: (u32, u32)) {
    conn.get_metadata_cache().store_type(key(name), value);
}
