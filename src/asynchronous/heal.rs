//! After a failed statement: was it the fault of what the connection remembers? As in the blocking connection.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel::prelude::*;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::catalog::snapshot::Question;
use crate::connection::{caches, notes};
use crate::probe::identify::Level;
use crate::synchronize::{Outcome, Start};
use crate::transaction::heal::{Healed, Healing, Unknown};

impl HotUpgradeAsyncPgConnection {
    /// Asks the server, and corrects the caches.
    pub(super) async fn heal(&mut self, unknown: Unknown) -> Healed {
        let may_be_wrong = self.filled_from().is_some() || unknown == Unknown::MayBeWrong;
        match self.synchronize_from(Start::Failed).await {
            // A verified transaction had begun with this search path.
            Ok(Outcome::Changed(change)) if change.is_of_search_path_only() && unknown == Unknown::IsEmpty => {
                Healed::Nothing
            }
            Ok(Outcome::Changed(_)) => Healed::Types,
            // This crate's own statements were gone, or it was not known what the caches were filled from.
            Ok(Outcome::Primed) if may_be_wrong && self.filled_from().is_some() => Healed::Types,
            Ok(Outcome::Unchanged) => self.heal_statements().await.unwrap_or(Healed::Nothing),
            _ => Healed::Nothing,
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
            let is_suspected = notes::was_rolled_back(oids) && !notes::was_suspected_in_vain(oids);
            (is_suspected, notes::is_prepared_by_pooler(oids) && notes::may_rerun_in_vain(oids))
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
