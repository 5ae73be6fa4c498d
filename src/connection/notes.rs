//! What this crate remembers of a connection, kept inside the connection's own OID cache: so it can't get out of step
//! with what it describes, and the connection's type stays `PgConnection`.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel::pg::{GetPgMetadataCache, PgMetadataCacheKey};
use lazy_static::lazy_static;

use crate::catalog::clock;
use crate::catalog::server::Replicas;
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::SnapshotId;
use crate::connection::generation::Generation;
use crate::probe::check::Mark;

/// A name that no type can have: PostgreSQL allows no NUL byte in a name.
const RESERVED_SCHEMA: &str = "\0diesel-postgres-hot-upgrade";

/// What the caches were filled from. `None` means *unknown*, never *new*.
pub(crate) fn snapshot(conn: &mut impl GetPgMetadataCache) -> Option<SnapshotId> {
    std::num::NonZeroU64::new(read(conn, "snapshot")?).map(SnapshotId)
}

pub(crate) fn set_snapshot(conn: &mut impl GetPgMetadataCache, id: SnapshotId) {
    write(conn, "snapshot", id.0.get());
}

/// The state of the catalog when the caches were emptied last. Statements that are prepared later can't be older.
pub(crate) fn mark(conn: &mut impl GetPgMetadataCache) -> Mark {
    read_mark(conn, MARK).unwrap_or_default()
}

pub(crate) fn set_mark(conn: &mut impl GetPgMetadataCache, mark: Mark) {
    write_mark(conn, MARK, mark);
}

const MARK: [&str; 3] = ["mark", "changes at mark", "objects at mark"];
const NOW: [&str; 3] = ["now", "changes now", "objects now"];

/// What was found after a statement failed. `None` if the catalog was not asked.
pub(crate) fn take_state_after_failure(conn: &mut impl GetPgMetadataCache) -> Option<Mark> {
    let now = read_mark(conn, NOW).filter(|now| *now != Mark::default());
    write_mark(conn, NOW, Mark::default());
    now
}

pub(crate) fn set_state_after_failure(conn: &mut impl GetPgMetadataCache, now: Mark) {
    write_mark(conn, NOW, now);
}

fn read_mark(conn: &mut impl GetPgMetadataCache, [name, changes, objects]: [&'static str; 3]) -> Option<Mark> {
    let (bits, changes, objects) = (read(conn, name)?, read(conn, changes)?, read(conn, objects)?);
    Some(Mark { oldest_open: (bits >> 32) as u32, vanished: bits as u32, changes, objects: objects as u32 })
}

fn write_mark(conn: &mut impl GetPgMetadataCache, [name, changes, objects]: [&'static str; 3], mark: Mark) {
    write(conn, name, u64::from(mark.oldest_open) << 32 | u64::from(mark.vanished));
    write(conn, changes, mark.changes);
    write(conn, objects, u64::from(mark.objects));
}

/// Was a verified transaction rolled back since the caches were emptied?
pub(crate) fn was_rolled_back(conn: &mut impl GetPgMetadataCache) -> bool {
    read(conn, "rolled back").is_some()
}

pub(crate) fn set_rolled_back(conn: &mut impl GetPgMetadataCache) {
    write(conn, "rolled back", 1);
}

/// After it was no use to suspect a rolled-back transaction, none is suspected for this time.
const UNSUSPECTED_FOR: Duration = Duration::from_secs(10);

pub(crate) fn was_suspected_in_vain(conn: &mut impl GetPgMetadataCache) -> bool {
    since(conn, "suspected").is_some_and(|elapsed| elapsed < UNSUSPECTED_FOR)
}

pub(crate) fn set_suspected_in_vain(conn: &mut impl GetPgMetadataCache) {
    set_since(conn, "suspected");
}

/// Does a pooler prepare the statements of this connection?
pub(crate) fn is_prepared_by_pooler(conn: &mut impl GetPgMetadataCache) -> bool {
    read(conn, BY_POOLER) == Some(1)
}

pub(crate) fn set_prepared_by_pooler(conn: &mut impl GetPgMetadataCache, is: bool) {
    write(conn, BY_POOLER, u64::from(is));
}

const BY_POOLER: &str = "by pooler";

/// Behind a pooler, it is not known which of its server connections have statements that are out of date. So many
/// reruns in vain are made after a change, before only one is made every ten seconds.
const MAX_RERUNS_IN_VAIN: u64 = 8;

pub(crate) fn may_rerun_in_vain(conn: &mut impl GetPgMetadataCache) -> bool {
    read(conn, IN_VAIN).unwrap_or_default() < MAX_RERUNS_IN_VAIN || !was_suspected_in_vain(conn)
}

pub(crate) fn add_rerun_in_vain(conn: &mut impl GetPgMetadataCache) {
    let before = read(conn, IN_VAIN).unwrap_or_default();
    write(conn, IN_VAIN, before.saturating_add(1));
    set_suspected_in_vain(conn);
}

pub(crate) fn forget_reruns_in_vain(conn: &mut impl GetPgMetadataCache) {
    write(conn, IN_VAIN, 0);
}

const IN_VAIN: &str = "in vain";

/// Did a statement fail in a nested verified transaction, which was then rolled back?
pub(crate) fn take_failed_in_savepoint(conn: &mut impl GetPgMetadataCache) -> bool {
    let failed = read(conn, FAILED_IN_SAVEPOINT) == Some(1);
    if failed {
        write(conn, FAILED_IN_SAVEPOINT, 0);
    }
    failed
}

pub(crate) fn set_failed_in_savepoint(conn: &mut impl GetPgMetadataCache) {
    write(conn, FAILED_IN_SAVEPOINT, 1);
}

const FAILED_IN_SAVEPOINT: &str = "failed in savepoint";

/// After it was no use to suspect that all statements are gone, it is not suspected for this time.
pub(crate) fn was_none_left_in_vain(conn: &mut impl GetPgMetadataCache) -> bool {
    since(conn, NONE_LEFT).is_some_and(|elapsed| elapsed < UNSUSPECTED_FOR)
}

pub(crate) fn set_none_left_in_vain(conn: &mut impl GetPgMetadataCache) {
    set_since(conn, NONE_LEFT);
}

const NONE_LEFT: &str = "none left";

/// What stays when the caches are emptied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lasting {
    /// How often the caches were emptied because they could be wrong. `None` on a connection seen for the first time.
    pub(crate) resets: Option<u32>,
    pub(crate) replicas: Replicas,
    /// Which servers the pool accepts.
    pub(crate) wanted: TargetSessionAttrs,
    /// The user's setting, while the statement cache is off.
    pub(crate) suspended_cache: Option<CacheSize>,
    /// How many transactions and savepoints are open in the innermost one that this crate began.
    pub(crate) own_depth: u32,
}

const RESETS: u64 = 0xffff_ffff;
const WAS_SEEN: u64 = 1 << 32;
const INTERCHANGEABLE: u64 = 1 << 33;
const SUSPENDED: u64 = 1 << 34;
const SUSPENDED_UNBOUNDED: u64 = 1 << 35;
const WANTED_SHIFT: u32 = 36;
const WANTED_MASK: u64 = 0b111;
const DEPTH_SHIFT: u32 = 39;

pub(crate) fn lasting(conn: &mut impl GetPgMetadataCache) -> Lasting {
    let bits = read(conn, "lasting").unwrap_or_default();
    let suspended = if bits & SUSPENDED_UNBOUNDED != 0 { CacheSize::Unbounded } else { CacheSize::Disabled };
    Lasting {
        resets: (bits & WAS_SEEN != 0).then_some((bits & RESETS) as u32),
        replicas: if bits & INTERCHANGEABLE != 0 { Replicas::Interchangeable } else { Replicas::Distinct },
        wanted: TargetSessionAttrs::from_bits(bits >> WANTED_SHIFT & WANTED_MASK),
        suspended_cache: (bits & SUSPENDED != 0).then_some(suspended),
        own_depth: (bits >> DEPTH_SHIFT) as u32,
    }
}

fn set_lasting(conn: &mut impl GetPgMetadataCache, lasting: Lasting) {
    let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
    let bits = lasting.resets.map_or(0, |resets| u64::from(resets) | WAS_SEEN)
        | flag(lasting.replicas == Replicas::Interchangeable, INTERCHANGEABLE)
        | flag(lasting.suspended_cache.is_some(), SUSPENDED)
        | flag(lasting.suspended_cache == Some(CacheSize::Unbounded), SUSPENDED_UNBOUNDED)
        | lasting.wanted.to_bits() << WANTED_SHIFT
        | u64::from(lasting.own_depth) << DEPTH_SHIFT;
    write(conn, "lasting", bits);
}

pub(crate) fn change_lasting(conn: &mut impl GetPgMetadataCache, change: impl FnOnce(&mut Lasting)) {
    let mut lasting = lasting(conn);
    change(&mut lasting);
    set_lasting(conn, lasting);
}

/// A server that refused to show its types is asked again after this time.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Did the server refuse to show its types a moment ago? Then nothing is kept.
pub(crate) fn is_refused(conn: &mut impl GetPgMetadataCache) -> bool {
    since(conn, "refused").is_some_and(|elapsed| elapsed < REFUSED_FOR)
}

/// Notes that the server shows its types.
pub(crate) fn clear_refused(conn: &mut impl GetPgMetadataCache) {
    if read(conn, "refused").is_some() {
        write(conn, "refused", 0);
    }
}

/// Takes over what has to stay when the OID cache is emptied.
pub(crate) fn keep_lasting<C: GetPgMetadataCache>(conn: &mut C, empty: impl FnOnce(&mut C)) {
    let kept = [
        "lasting",
        "refused",
        "suspected",
        "connected",
        "unfit",
        "manager",
        "was writable",
        "may not lock",
        BY_POOLER,
        IN_VAIN,
        FAILED_IN_SAVEPOINT,
        NONE_LEFT,
    ];
    let kept: Vec<_> = kept.into_iter().chain(MARK).map(|name| (name, read(conn, name))).collect();
    empty(conn);
    for (name, value) in kept {
        if let Some(value) = value {
            write(conn, name, value);
        }
    }
}

/// Notes that the server has just refused to show its types.
pub(crate) fn set_refused(conn: &mut impl GetPgMetadataCache) {
    set_since(conn, "refused");
}

/// The number of the manager that opened the connection.
pub(crate) fn manager(conn: &mut impl GetPgMetadataCache) -> Option<u64> {
    read(conn, "manager")
}

pub(crate) fn set_manager(conn: &mut impl GetPgMetadataCache, number: u64) {
    write(conn, "manager", number);
}

/// Did the server take writes when this connection was asked? `None` if it was not asked.
pub(crate) fn was_writable(conn: &mut impl GetPgMetadataCache) -> Option<bool> {
    read(conn, "was writable").map(|writable| writable == 1)
}

pub(crate) fn set_was_writable(conn: &mut impl GetPgMetadataCache, writable: bool) {
    write(conn, "was writable", u64::from(writable));
}

/// The number of the server on which this role may not take the locks by which a lost attempt is found.
pub(crate) fn may_not_lock_on(conn: &mut impl GetPgMetadataCache) -> Option<u64> {
    read(conn, "may not lock")
}

pub(crate) fn set_may_not_lock_on(conn: &mut impl GetPgMetadataCache, server: u64) {
    write(conn, "may not lock", server);
}

/// How long ago the connection was last checked, and answered. `None` if it has to be checked again.
pub(crate) fn since_verified(conn: &mut impl GetPgMetadataCache) -> Option<Duration> {
    let elapsed = since(conn, "verified")?;
    let generation = read(conn, "generation").map(Generation);
    (generation == Some(Generation::current())).then_some(elapsed)
}

/// Notes that the connection was checked just now, and answered. `generation` is of before the check was sent.
pub(crate) fn set_verified(conn: &mut impl GetPgMetadataCache, generation: Generation) {
    set_since(conn, "verified");
    write(conn, "generation", generation.0);
}

/// Did a server answer that does not fit `target_session_attrs`, and has no verified transaction begun since? The pool
/// drops the connection when it is given back.
pub(crate) fn is_unfit(conn: &mut impl GetPgMetadataCache) -> bool {
    read(conn, "unfit").is_some_and(|unfit| unfit != 0)
}

pub(crate) fn set_unfit(conn: &mut impl GetPgMetadataCache, is_unfit: bool) {
    if is_unfit || read(conn, "unfit").is_some() {
        write(conn, "unfit", u64::from(is_unfit));
    }
}

/// How long ago the pool connected.
pub(crate) fn since_connected(conn: &mut impl GetPgMetadataCache) -> Option<Duration> {
    since(conn, "connected")
}

pub(crate) fn set_connected(conn: &mut impl GetPgMetadataCache) {
    set_since(conn, "connected");
}

/// The next checkout asks again.
pub(crate) fn forget_verified(conn: &mut impl GetPgMetadataCache) {
    if read(conn, "verified").is_some() {
        write(conn, "verified", 0);
    }
}

/// When the caches were emptied last. `None` if that is not known.
pub(crate) fn emptied_at(conn: &mut impl GetPgMetadataCache) -> Option<Instant> {
    clock::now().checked_sub(since(conn, "emptied")?)
}

pub(crate) fn set_emptied(conn: &mut impl GetPgMetadataCache) {
    set_since(conn, "emptied");
}

fn since(conn: &mut impl GetPgMetadataCache, name: &'static str) -> Option<Duration> {
    let nanoseconds = read(conn, name)?.checked_sub(1)?;
    Some(since_start().saturating_sub(Duration::from_nanos(nanoseconds)))
}

fn set_since(conn: &mut impl GetPgMetadataCache, name: &'static str) {
    let nanoseconds = u64::try_from(since_start().as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
    write(conn, name, nanoseconds);
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

/// The cache holds pairs of OIDs.
fn read(conn: &mut impl GetPgMetadataCache, name: &'static str) -> Option<u64> {
    let metadata = conn.get_metadata_cache().lookup_type(&key(name))?;
    Some(u64::from(metadata.oid().ok()?) << 32 | u64::from(metadata.array_oid().ok()?))
}

fn write(conn: &mut impl GetPgMetadataCache, name: &'static str, value: u64) {
    conn.get_metadata_cache().store_type(key(name), ((value >> 32) as u32, value as u32));
}
