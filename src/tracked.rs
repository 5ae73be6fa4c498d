//! Which types are watched, if not all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lazy_static::lazy_static;

lazy_static! {
    static ref TRACKED: Mutex<Option<Tracked>> = Mutex::default();
}

/// Names of types, without their schemas: those of the same name in other schemas are watched with them.
pub(crate) type Tracked = Arc<Vec<String>>;

/// `None` while nothing is tracked: then every type of the database is watched.
pub(crate) fn tracked() -> Option<Tracked> {
    lock().clone()
}

/// Adds names, and says whether anything changed by that.
pub(crate) fn add(names: BTreeSet<String>) -> bool {
    let mut tracked = lock();
    let mut all = names;
    all.extend(tracked.iter().flat_map(|known| known.iter().cloned()));
    let is_new = tracked.as_ref().is_none_or(|known| known.len() < all.len());
    *tracked = Some(Arc::new(all.into_iter().collect()));
    is_new
}

fn lock() -> MutexGuard<'static, Option<Tracked>> {
    TRACKED.lock().unwrap_or_else(PoisonError::into_inner)
}
