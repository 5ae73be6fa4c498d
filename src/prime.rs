//! Filling a connection's OID cache, so that it makes no lookup of its own.

use std::borrow::Cow;

use diesel::pg::{GetPgMetadataCache, PgConnection, PgMetadataCacheKey};

use crate::marker;
use crate::watch::Watch;

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
    marker::set_snapshot(conn, watch.id);
}
