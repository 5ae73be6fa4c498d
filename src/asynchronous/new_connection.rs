//! A new connection is most likely on the server that the last one of the same URL was filled from. If so, one round
//! trip fills it.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::prelude::*;
use diesel_async::SimpleAsyncConnection;
use lazy_static::lazy_static;

use crate::asynchronous::catalog_wait::new_types_since;
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::SnapshotId;
use crate::catalog::table::{Current, OID_TABLE};
use crate::connection::generation::Generation;
use crate::connection::{caches, notes, writable};
use crate::environment;
use crate::probe::check::{Mark, begin_and_check_text};
use crate::report::observers::notice;
use crate::report::stats::COUNTERS;
use crate::synchronize::asking::shared;
use crate::synchronize::{NewTypes, Outcome, Start};

lazy_static! {
    /// By the hash of the URL, which may have a password.
    static ref LAST: Mutex<HashMap<u64, Last>> = Mutex::default();
}

const COMMENT: &str = "/* diesel-postgres-hot-upgrade: check */";

/// More URLs are not remembered.
const MAX_URLS: usize = 1024;

/// What the last new connection of a URL was filled from.
#[derive(Debug, Clone, Copy)]
struct Last {
    snapshot: SnapshotId,
    /// An earlier state of the catalog than that of any statement of a new connection.
    mark: Mark,
}

fn last() -> MutexGuard<'static, HashMap<u64, Last>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HotUpgradeAsyncPgConnection {
    /// A new connection, which a pool does not ask again before its first use.
    pub(super) async fn synchronize_new(&mut self, url: &str) -> QueryResult<()> {
        if !environment::is_on() {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        url.hash(&mut hasher);
        let key = hasher.finish();
        self.memory.with(|oids| {
            notes::set_manager(oids, writable::address(key));
            notes::set_connected(oids);
        });
        let before = last().get(&key).copied();
        if let Some(before) = before {
            if self.is_filled_from(before).await? {
                return Ok(());
            }
        }
        let start = Start::New(before.map(|before| before.snapshot));
        let outcome = self.synchronize_from(start).await?;
        let (snapshot, mark) = self.memory.with(|oids| (notes::snapshot(oids), notes::mark(oids)));
        let Some(snapshot) = snapshot else {
            return Ok(());
        };
        {
            let mut last = last();
            if last.len() < MAX_URLS || last.contains_key(&key) {
                last.insert(key, Last { snapshot, mark });
            }
        }
        // Connections that are open notice a change themselves. If all of them ended with the old server, this one
        // does.
        let before = before.map(|before| before.snapshot).filter(|before| *before != snapshot);
        if let (Some(before), Outcome::Primed) = (before, outcome) {
            if let (Some(before), Some(now)) = (OID_TABLE.get(before), OID_TABLE.get(snapshot)) {
                notice(&before, &now);
            }
        }
        Ok(())
    }

    /// Fills the connection if its server is the last one's. As text: it is asked only once.
    async fn is_filled_from(&mut self, last: Last) -> QueryResult<bool> {
        let Some(known) = shared(last.snapshot).filter(|known| !known.is_uncertain()) else {
            return Ok(false);
        };
        let known = match OID_TABLE.current(&known) {
            Current::Same => known,
            Current::Newer(newer) => newer,
            Current::Incomplete => return Ok(false),
        };
        let look = match new_types_since(&known, false, false).await {
            NewTypes::None => None,
            NewTypes::Unknown(look) => Some(look),
            NewTypes::Found => return Ok(false),
        };
        let generation = Generation::current();
        COUNTERS.probes.increment();
        let text = begin_and_check_text(COMMENT, &known, TargetSessionAttrs::Any, look.is_some(), None);
        match self.inner.batch_execute(&text).await {
            Ok(()) => {}
            Err(error) if !self.is_alive_after(&error) => return Err(error),
            Err(_) => return Ok(false),
        }
        if let Some(look) = look {
            look.found_nothing_new(None);
        }
        self.memory.with(|oids| {
            caches::fill(oids, &known);
            notes::change_lasting(oids, |lasting| lasting.resets = Some(0));
            notes::set_mark(oids, last.mark);
            notes::set_emptied(oids);
            notes::set_verified(oids, generation);
        });
        Ok(true)
    }
}
