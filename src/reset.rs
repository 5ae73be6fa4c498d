//! Emptying what a connection remembers of a server, and nothing of what its user set.

use diesel::connection::CacheSize;
use diesel::pg::{GetPgMetadataCache, Pg, PgMetadataCache};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Integer;

use crate::marker;
use crate::stats::COUNTERS;

/// Empties the OID cache and the prepared statements of a connection. Two round trips, to learn the `CacheSize`.
///
/// Afterwards the connection is *unknown*, also if this fails half-way. Instrumentation, `CacheSize` and the counter
/// that keeps statement names unique stay as they are; no `SET` is sent, since it would overwrite the user's.
pub(crate) fn reset(conn: &mut PgConnection) -> QueryResult<()> {
    let resets = marker::resets(conn);
    *conn.get_metadata_cache() = PgMetadataCache::new();
    marker::set_resets(conn, resets.map_or(0, |resets| resets.saturating_add(1)));
    if resets.is_some() {
        COUNTERS.resets.increment();
    }

    let size = statement_cache_size(conn)?;
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(size);
    Ok(())
}

/// Asks the connection whether it keeps prepared statements, for which Diesel has no getter. The two runs share one
/// static `QueryId`, but not their text: what comes back from the second says which text ran.
///
/// Asked anew at every reset, and remembered nowhere: the user may have changed it in between.
fn statement_cache_size(conn: &mut PgConnection) -> QueryResult<CacheSize> {
    WhichText(1).get_result::<i32>(conn)?;
    match WhichText(2).get_result::<i32>(conn)? {
        1 => Ok(CacheSize::Unbounded),
        _ => Ok(CacheSize::Disabled),
    }
}

struct WhichText(u8);

impl Query for WhichText {
    type SqlType = Integer;
}

impl RunQueryDsl<PgConnection> for WhichText {}

impl QueryId for WhichText {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for WhichText {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(match self.0 {
            1 => "/* diesel-postgres-hot-upgrade: statement cache */ SELECT 1",
            _ => "/* diesel-postgres-hot-upgrade: statement cache */ SELECT 2",
        });
        Ok(())
    }
}
