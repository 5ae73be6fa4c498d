//! How fast bb8 replaces connections that do not fit. It has no manager of this crate, so the pace belongs to an
//! address.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use diesel::prelude::*;
use lazy_static::lazy_static;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::connection::notes;
use crate::pool::pace::Pace;

lazy_static! {
    static ref PACES: Mutex<HashMap<u64, Pace>> = Mutex::default();
}

/// More addresses have none.
const MAX_ADDRESSES: usize = 1024;

impl HotUpgradeAsyncPgConnection {
    /// Fails for a while after a new connection to the same address was refused at its first checkout. The pool pauses
    /// after such a failure.
    pub(super) fn may_connect(&self) -> QueryResult<()> {
        self.pace().map_or(Ok(()), |pace| pace.may_connect())
    }

    /// Notes what the check of a checkout said.
    pub(super) fn note_checked(&self, checked: &QueryResult<()>) {
        if let Some(pace) = self.pace().filter(|_| checked.is_err()) {
            self.memory.with(|oids| pace.note(oids, checked));
        }
    }

    fn pace(&self) -> Option<Pace> {
        let address = self.memory.with(notes::manager)?;
        let mut paces = PACES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = paces.contains_key(&address);
        (is_known || paces.len() < MAX_ADDRESSES).then(|| paces.entry(address).or_default().clone())
    }
}
