//! Transactions as stock diesel-async runs them.

use diesel::result::Error;
use diesel_async::{AnsiTransactionManager, SimpleAsyncConnection, TransactionManager};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::asynchronous::run::AsyncClosure;
use crate::connection::notes;
use crate::transaction::begin::Begin;

impl HotUpgradeAsyncPgConnection {
    /// Runs `closure` as stock diesel-async does, in a savepoint if a transaction is open. If that is rolled back, so
    /// is a search path that it set: what the caches were filled with for that is forgotten.
    pub(super) async fn run_nested<T, E, F>(&mut self, how: &Begin, closure: F) -> Result<T, E>
    where
        F: AsyncClosure<T, E>,
        E: From<Error> + Send,
        T: Send,
    {
        let (filled_from, outer) =
            self.memory.with(|oids| (notes::snapshot(oids), notes::lasting(oids).own_depth));
        let inner = self.depth().map_or(0, |depth| depth + 1);
        self.set_own_depth(inner);
        let mut guard = Guard::new(self);
        let result = guard.run_stock(how, closure).await;
        guard.disarm();
        self.set_own_depth(outer);
        if result.is_err() {
            self.memory.with(notes::forget_verified);
            if self.memory.with(notes::snapshot) != filled_from {
                self.forget_oids();
            }
        }
        result
    }

    async fn run_stock<T, E, F>(&mut self, how: &Begin, closure: F) -> Result<T, E>
    where
        F: AsyncClosure<T, E>,
        E: From<Error> + Send,
        T: Send,
    {
        if self.is_in_transaction() {
            AnsiTransactionManager::begin_transaction(self).await?;
        } else {
            AnsiTransactionManager::begin_transaction_sql(self, &how.sql).await?;
        }
        let prepared = match &how.before_probe {
            Some(sql) => self.batch_execute(sql).await,
            None => Ok(()),
        };
        let result = match prepared {
            Ok(()) => closure(&mut *self).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(value) => AnsiTransactionManager::commit_transaction(self).await.map(|()| value).map_err(E::from),
            Err(error) => match AnsiTransactionManager::rollback_transaction(self).await {
                Ok(()) | Err(Error::BrokenTransactionManager) => Err(error),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn set_own_depth(&mut self, depth: u32) {
        self.memory.with(|oids| notes::change_lasting(oids, |lasting| lasting.own_depth = depth));
    }
}
