//! How fast a pool replaces connections that do not fit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::pg::GetPgMetadataCache;
use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::session::Unfit;
use crate::connection::notes;

/// A connection that is refused so soon after the pool connected would be so again.
const SOON: Duration = Duration::from_secs(1);

/// r2d2 pauses as long after a first failure to connect, and longer after each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// r2d2 replaces a connection that fails its check at once, without a pause. If new connections pass the check of
/// `connect` and then fail that of their first checkout (a customizer made the session read-only, or a pooler sends the
/// two to different servers), that would never end: then connecting fails for a while, after which r2d2 pauses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace(Arc<Mutex<Option<(Instant, Unfit)>>>);

impl Pace {
    pub(crate) fn may_connect(&self) -> QueryResult<()> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some((at, unfit)) if at.elapsed() < PAUSE => Err(unfit.into()),
            _ => Ok(()),
        }
    }

    /// Notes what the check of a checkout said.
    pub(crate) fn note(&self, conn: &mut impl GetPgMetadataCache, checked: &Result<(), Error>) {
        let Some(unfit) = checked.as_ref().err().and_then(Unfit::of) else {
            return;
        };
        if notes::since_connected(conn).is_some_and(|elapsed| elapsed < SOON) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), unfit));
        }
    }
}
