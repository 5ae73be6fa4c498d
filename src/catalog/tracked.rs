//! Which types are watched, if not all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lazy_static::lazy_static;

use crate::catalog::types::PgType;

lazy_static! {
    static ref TRACKED: Mutex<Option<Arc<Tracked>>> = Mutex::default();
}

/// What Diesel asks for: a type's name, and its schema if that was given.
pub(crate) type Key = (Option<String>, String);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) keys: BTreeSet<Key>,
    /// Without their schemas: types of the same name in other schemas are watched with them.
    pub(crate) names: Vec<String>,
}

impl Tracked {
    /// Was the type named together with its schema?
    pub(crate) fn names_with_its_schema(&self, ty: &PgType) -> bool {
        self.keys.iter().any(|(schema, name)| schema.as_deref() == Some(&*ty.schema) && **name == *ty.name)
    }
}

/// `None` while nothing is tracked: then every type of the database is watched.
pub(crate) fn tracked() -> Option<Arc<Tracked>> {
    lock().clone()
}

/// Adds keys, and says whether anything changed by that.
pub(crate) fn add(mut keys: BTreeSet<Key>) -> bool {
    let mut tracked = lock();
    keys.extend(tracked.iter().flat_map(|known| known.keys.iter().cloned()));
    if tracked.as_ref().is_some_and(|known| known.keys == keys) {
        return false;
    }
    let names = keys.iter().map(|(_, name)| name.clone()).collect();
    *tracked = Some(Arc::new(Tracked { keys, names }));
    true
}

fn lock() -> MutexGuard<'static, Option<Arc<Tracked>>> {
    TRACKED.lock().unwrap_or_else(PoisonError::into_inner)
}
