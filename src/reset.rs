//! Emptying what a connection remembers of a server, and nothing of what its user set.

use diesel::connection::CacheSize;
use diesel::pg::{GetPgMetadataCache, PgMetadataCache};
use diesel::prelude::*;

use crate::server::Level;
use crate::stats::COUNTERS;
use crate::{marker, probe};

/// Empties the OID cache and the prepared statements of a connection, right after a probe or a ping on that level. One
/// round trip, to learn the `CacheSize`.
///
/// Afterwards the connection is *unknown*, also if this fails half-way. Instrumentation, `CacheSize` and the counter
/// that keeps statement names unique stay as they are; no `SET` is sent, since it would overwrite the user's.
pub(crate) fn reset(conn: &mut PgConnection, level: Level) -> QueryResult<()> {
    let resets = marker::resets(conn);
    *conn.get_metadata_cache() = PgMetadataCache::new();
    marker::set_resets(conn, resets.map_or(0, |resets| resets.saturating_add(1)));
    if resets.is_some() {
        COUNTERS.resets.increment();
    }

    let size = probe::statement_cache_size(conn, level)?;
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(size);
    Ok(())
}
