//! What a connection remembers of a server: the OIDs of types, by name, and the statements that were prepared with
//! them.

use std::borrow::Cow;

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::pg::{GetPgMetadataCache, PgConnection, PgMetadataCache, PgMetadataCacheKey};
use diesel::prelude::*;

use crate::catalog::snapshot::Snapshot;
use crate::catalog::types::PgType;
use crate::connection::notes;
use crate::connection::statements;
use crate::probe::identify::{Level, Prepared};
use crate::report::stats::COUNTERS;

/// Is the statement cache on after the caches were emptied?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementCache {
    AsTheUserSetIt,
    /// It stays off until [`restore_statement_cache`], because the caches will be emptied again soon: so no prepared
    /// statement is left behind.
    Suspended,
}

/// Empties the OID cache and the prepared statements of a connection, right after an `identify` or a `ping` on that
/// level. One round trip, to learn the `CacheSize`, and one to deallocate the statements, if they are this session's
/// alone; none if the statement cache is suspended. (`DEALLOCATE ALL` also drops what a user prepared by SQL.)
///
/// Afterwards the connection is *unknown*, also if this fails half-way. Instrumentation, `CacheSize` and the counter
/// that keeps statement names unique stay as they are; no `SET` is sent, since it would overwrite the user's.
pub(crate) fn empty(conn: &mut PgConnection, level: Level, statements: StatementCache) -> QueryResult<()> {
    forget_oids(conn);
    let size = match notes::lasting(conn).suspended_cache {
        Some(size) => size,
        None => empty_statements(conn, level)?,
    };
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    notes::change_lasting(conn, |lasting| lasting.suspended_cache = Some(size));
    if statements == StatementCache::AsTheUserSetIt {
        restore_statement_cache(conn);
    }
    Ok(())
}

/// Returns the user's setting.
fn empty_statements(conn: &mut PgConnection, level: Level) -> QueryResult<CacheSize> {
    let resets = notes::lasting(conn).resets;
    if resets.is_some() {
        COUNTERS.resets.increment();
    }
    let Prepared { size, is_own, is_prepared_by_pooler, mark } = statements::statement_cache(conn, level)?;
    if let Some(is_prepared_by_pooler) = is_prepared_by_pooler {
        notes::set_prepared_by_pooler(conn, is_prepared_by_pooler);
    }
    if let Some(mark) = mark {
        notes::set_mark(conn, mark);
    }
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    if is_own {
        conn.batch_execute("/* diesel-postgres-hot-upgrade: deallocate */ DEALLOCATE ALL")?;
    }
    // A reset leaves prepared statements behind, unless they were deallocated. The first look at a connection leaves
    // none.
    let wear = resets.filter(|_| !is_own).map_or(0, |resets| resets.saturating_add(1));
    notes::change_lasting(conn, |lasting| lasting.resets = Some(wear));
    Ok(size)
}

/// Gives the user's setting back. No round trip.
pub(crate) fn restore_statement_cache(conn: &mut PgConnection) {
    if let Some(size) = notes::lasting(conn).suspended_cache {
        conn.set_prepared_statement_cache_size(size);
        notes::change_lasting(conn, |lasting| lasting.suspended_cache = None);
    }
}

/// Runs something with the user's setting while the statement cache is suspended.
pub(crate) fn with_statement_cache<T>(conn: &mut PgConnection, work: impl FnOnce(&mut PgConnection) -> T) -> T {
    let Some(size) = notes::lasting(conn).suspended_cache else {
        return work(conn);
    };
    conn.set_prepared_statement_cache_size(size);
    let done = work(conn);
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    done
}

/// Empties the OID cache. No round trip. The connection is *unknown* afterwards.
pub(crate) fn forget_oids(conn: &mut impl GetPgMetadataCache) {
    notes::keep_lasting(conn, |conn| *conn.get_metadata_cache() = PgMetadataCache::new());
    notes::set_emptied(conn);
}

/// Empties both caches. No round trip, since the statement cache is suspended.
pub(crate) fn forget_all(conn: &mut PgConnection) {
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    forget_oids(conn);
}

/// If a clone or another session may have answered, what Diesel looked up by itself is forgotten, and so is each
/// statement. No round trip, since the statement cache is suspended.
pub(crate) fn fill_again_if_uncertain(conn: &mut PgConnection, snapshot: &Snapshot) {
    if snapshot.is_uncertain() {
        forget_all(conn);
        fill(conn, snapshot);
    }
}

/// Stores the OIDs of the types that the bare name finds, under both keys that Diesel may ask for. Diesel looks up the
/// others by itself, so that what is there was used.
pub(crate) fn fill(conn: &mut impl GetPgMetadataCache, snapshot: &Snapshot) {
    // The check of the snapshot before is left behind.
    if notes::snapshot(conn).is_some_and(|before| before != snapshot.id) {
        notes::change_lasting(conn, |lasting| lasting.resets = lasting.resets.map(|wear| wear.saturating_add(1)));
    }
    let cache = conn.get_metadata_cache();
    for (ty, is_visible) in snapshot.content.filled() {
        let oids = (ty.oid, ty.array_oid);
        cache.store_type(in_schema(ty, &ty.name), oids);
        if is_visible {
            cache.store_type(bare(&ty.name), oids);
        }
    }
    notes::set_snapshot(conn, snapshot.id);
}

/// Does the OID cache have something that was correct by the old snapshot, or that Diesel looked up itself since, and
/// that is wrong by the new snapshot of the same server? Prepared statements hold the same OIDs.
pub(crate) fn conflict(conn: &mut impl GetPgMetadataCache, old: &Snapshot, new: &Snapshot) -> bool {
    let cache = conn.get_metadata_cache();
    let is_stored_otherwise = new.content.view.iter().any(|(ty, is_visible)| {
        let array = ty.array_name();
        is_other(cache, ty, &ty.name, is_visible, (ty.oid, ty.array_oid))
            || array.is_some_and(|array| is_other(cache, ty, &array, is_visible, (ty.array_oid, 0)))
    });
    is_stored_otherwise
        || moved(old, new).any(|ty| is_stored(cache, ty))
        || new.database.is_former(old.former, |ty| is_stored(cache, ty) || is_stored_as_unknown(cache, ty, new))
}

/// Does the cache have the type, or its array, by a name that it had?
fn is_stored(cache: &PgMetadataCache, ty: &PgType) -> bool {
    let by_name = |name: &str, oid| {
        [in_schema(ty, name), bare(name)]
            .iter()
            .any(|key| cached(cache, key).is_some_and(|(known, _)| known == oid))
    };
    by_name(&ty.name, ty.oid) || ty.array_name().is_some_and(|array| by_name(&array, ty.array_oid))
}

/// Does the cache have an OID by a name that a type had, which no type of that name has now? Diesel may have looked up a
/// type by that name which was renamed before anybody saw it.
fn is_stored_as_unknown(cache: &PgMetadataCache, former: &PgType, new: &Snapshot) -> bool {
    let types = new.types();
    let is_known = |oid: u32| {
        let found = types.binary_search_by_key(&oid, |ty| ty.oid);
        found.is_ok_and(|index| types[index].name == former.name)
    };
    let keys = [in_schema(former, &former.name), bare(&former.name)];
    keys.iter().any(|key| cached(cache, key).is_some_and(|(oid, _)| !is_known(oid)))
}

/// Does the cache have other OIDs for the type, or for its array, of that name?
fn is_other(cache: &PgMetadataCache, ty: &PgType, name: &str, is_visible: bool, oids: (u32, u32)) -> bool {
    let is_other = |key| cached(cache, &key).is_some_and(|known| known != oids);
    is_other(in_schema(ty, name)) || is_visible && is_other(bare(name))
}

/// The types of the old snapshot whose OID has another name, schema or visibility in the new one, or is gone: then the
/// name may come back with another OID at any time.
fn moved<'a>(old: &'a Snapshot, new: &'a Snapshot) -> impl Iterator<Item = &'a PgType> {
    let new_types = new.types();
    let is_same = move |ty: &PgType, was_visible| {
        let found = new_types.binary_search_by_key(&ty.oid, |new| new.oid);
        found.is_ok_and(|index| new_types[index] == *ty && new.content.view.visible[index] == was_visible)
    };
    old.content.view.iter().filter_map(move |(ty, was_visible)| (!is_same(ty, was_visible)).then_some(ty))
}

fn cached(cache: &PgMetadataCache, key: &PgMetadataCacheKey<'_>) -> Option<(u32, u32)> {
    let metadata = cache.lookup_type(key)?;
    Some((metadata.oid().ok()?, metadata.array_oid().ok()?))
}

fn in_schema<'a>(ty: &'a PgType, name: &'a str) -> PgMetadataCacheKey<'a> {
    PgMetadataCacheKey::new(Some(Cow::Borrowed(&ty.schema)), Cow::Borrowed(name))
}

fn bare(name: &str) -> PgMetadataCacheKey<'_> {
    PgMetadataCacheKey::new(None, Cow::Borrowed(name))
}
