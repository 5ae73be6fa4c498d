//! What a connection of diesel-async remembers, beside the prepared statements: the OIDs of types, and this crate's
//! notes. The connection's own OID cache is private, so queries are sent with OIDs from here, and it stays empty.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::pg::{GetPgMetadataCache, PgMetadataCache, PgMetadataCacheKey};

/// Shared with queries that are under way.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    oids: Mutex<Oids>,
    /// A verified transaction is open, so it is of interest what ends it.
    is_begun: AtomicBool,
    /// A statement failed since the last verified transaction began.
    has_failed: AtomicBool,
    /// A statement since then ended the transaction.
    has_ended: AtomicBool,
    /// Statements since then may have ended it, and were not seen.
    may_have_ended: AtomicBool,
    /// Queries, by their id, that end no transaction.
    end_nothing: Mutex<HashSet<TypeId>>,
}

/// The same cache that a blocking connection has, so that the same functions fill and compare it.
#[derive(Default)]
pub(super) struct Oids(PgMetadataCache);

impl GetPgMetadataCache for Oids {
    fn get_metadata_cache(&mut self) -> &mut PgMetadataCache {
        &mut self.0
    }
}

/// A type's name, and its schema if that was given.
pub(super) type Key = (Option<String>, String);

/// The OIDs of a type and of its array.
pub(super) type OidPair = (u32, u32);

impl Memory {
    /// Reads or changes what is remembered. No user code may run in it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Oids) -> T) -> T {
        work(&mut self.0.oids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn find(&self, schema: Option<&str>, name: &str) -> Option<OidPair> {
        let key = PgMetadataCacheKey::new(schema.map(Cow::Borrowed), Cow::Borrowed(name));
        let known = self.with(|oids| oids.0.lookup_type(&key))?;
        Some((known.oid().ok()?, known.array_oid().ok()?))
    }

    pub(super) fn store(&self, (schema, name): &Key, found: OidPair) {
        let key = PgMetadataCacheKey::new(schema.as_deref().map(Cow::Borrowed), Cow::Borrowed(name));
        self.with(|oids| oids.0.store_type(key, found));
    }

    pub(super) fn is_begun(&self) -> bool {
        self.0.is_begun.load(Ordering::Relaxed)
    }

    pub(super) fn set_over(&self) {
        self.0.is_begun.store(false, Ordering::Relaxed);
    }

    pub(super) fn set_begun(&self) {
        self.0.is_begun.store(true, Ordering::Relaxed);
        self.0.has_failed.store(false, Ordering::Relaxed);
        self.0.has_ended.store(false, Ordering::Relaxed);
        self.0.may_have_ended.store(false, Ordering::Relaxed);
    }

    pub(super) fn set_failed(&self) {
        self.0.has_failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_ended(&self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_ended_unseen(&self) {
        self.0.may_have_ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Relaxed)
    }

    pub(super) fn may_have_ended(&self) -> bool {
        self.has_ended() || self.0.may_have_ended.load(Ordering::Relaxed)
    }

    pub(super) fn ends_nothing(&self, query: TypeId) -> bool {
        self.0.end_nothing.lock().unwrap_or_else(PoisonError::into_inner).contains(&query)
    }

    pub(super) fn set_ends_nothing(&self, query: TypeId) {
        self.0.end_nothing.lock().unwrap_or_else(PoisonError::into_inner).insert(query);
    }
}
