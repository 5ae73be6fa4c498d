//! Emptying what a connection remembers of a server, and nothing of what its user set.

use std::borrow::Cow;

use diesel::connection::CacheSize;
use diesel::pg::{GetPgMetadataCache, PgMetadataCache, PgMetadataCacheKey};
use diesel::prelude::*;

use crate::catalog::watch::Watch;
use crate::connection::notes;
use crate::probe::compare;
use crate::probe::identity::Level;
use crate::report::stats::COUNTERS;

/// Empties the OID cache and the prepared statements of a connection, right after a probe or a ping on that level. One
/// round trip, to learn the `CacheSize`.
///
/// Afterwards the connection is *unknown*, also if this fails half-way. Instrumentation, `CacheSize` and the counter
/// that keeps statement names unique stay as they are; no `SET` is sent, since it would overwrite the user's.
pub(crate) fn reset(conn: &mut PgConnection, level: Level) -> QueryResult<()> {
    let resets = notes::resets(conn);
    *conn.get_metadata_cache() = PgMetadataCache::new();
    notes::set_resets(conn, resets.map_or(0, |resets| resets.saturating_add(1)));
    if resets.is_some() {
        COUNTERS.resets.increment();
    }

    let size = compare::statement_cache_size(conn, level)?;
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(size);
    Ok(())
}

/// Diesel asks for a type with its schema or without: both keys get the OID where the bare name finds the type.
pub(crate) fn prime(conn: &mut PgConnection, watch: &Watch) {
    let cache = conn.get_metadata_cache();
    for ty in watch.snapshot.types() {
        let oids = (ty.oid, ty.array_oid);
        let name = || Cow::Borrowed(ty.name.as_str());
        cache.store_type(PgMetadataCacheKey::new(Some(Cow::Borrowed(&ty.schema)), name()), oids);
        if ty.visible {
            cache.store_type(PgMetadataCacheKey::new(None, name()), oids);
        }
    }
    notes::set_snapshot(conn, watch.id);
}
