//! After a failed statement: was it the fault of what the connection remembers? As in the blocking connection.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel::prelude::*;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::catalog::snapshot::Question;
use crate::connection::{caches, notes};
use crate::probe::identify::Level;
use crate::synchronize::{Start, mark_if_unfit};
use crate::transaction::heal::{Healed, Healing, Unknown, is_rolled_back_suspect};

impl HotUpgradeAsyncPgConnection {
    /// Asks the server, and corrects the caches.
    pub(super) async fn heal(&mut self, unknown: Unknown) -> Healed {
        let was_filled = self.filled_from().is_some();
        let outcome = self.synchronize_from(Start::Failed).await;
        let is_filled = self.filled_from().is_some();
        match Healed::types(outcome, unknown, was_filled, is_filled) {
            Some(healed) => healed,
            None => self.heal_statements().await.unwrap_or_else(|error| {
                self.memory.with(|oids| mark_if_unfit(oids, &error));
                Healed::Nothing
            }),
        }
    }

    /// What comes next is sent with another text, since tokio-postgres names every statement: a pooler, or the server,
    /// then prepares it anew.
    async fn heal_statements(&mut self) -> QueryResult<Healed> {
        let (mark, now) = self.memory.with(|oids| (notes::mark(oids), notes::take_state_after_failure(oids)));
        let Some(snapshot) = self.filled_from() else {
            return Ok(Healed::Nothing);
        };
        let (is_suspected, is_pooled) = self.memory.with(|oids| {
            (is_rolled_back_suspect(oids), notes::is_prepared_by_pooler(oids) && notes::may_rerun_in_vain(oids))
        });
        let healing = match now {
            Some(now) if mark.differs(now) => Healing::Catalog(now),
            _ if is_pooled => Healing::Pooler,
            _ if is_suspected => Healing::RolledBack,
            _ => return Ok(Healed::Nothing),
        };
        // An uncertain connection prepares nothing for long, and looks up everything again.
        if snapshot.is_uncertain() {
            return Ok(Healed::Nothing);
        }
        self.identify(&Question::default(), Level::Identified).await?;
        self.empty(true);
        self.memory.with(|oids| caches::fill(oids, &snapshot));
        static RERUNS: AtomicU64 = AtomicU64::new(1);
        self.prefix =
            format!("/* diesel-postgres-hot-upgrade: rerun {} */ ", RERUNS.fetch_add(1, Ordering::Relaxed));
        Ok(Healed::Statements(healing))
    }
}
