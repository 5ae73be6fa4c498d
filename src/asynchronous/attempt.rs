//! A verified transaction on one connection, and when it runs again there.

use std::time::Instant;

use diesel::result::Error;

use crate::asynchronous::commit::{NotCommitted, RolledBack};
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::asynchronous::run::AsyncClosure;
use crate::connection::notes;
use crate::report::log;
use crate::report::stats::COUNTERS;
use crate::transaction::begin::{Begin, Others};
use crate::transaction::heal::{Healed, MAX_RERUNS, Unknown};
use crate::transaction::run::Ended;

enum Attempt<T, E> {
    Over(Ended<T, E>),
    /// A statement failed, and the transaction was rolled back without having been committed.
    Aborted(E),
}

impl HotUpgradeAsyncPgConnection {
    /// Runs `closure` in a verified transaction.
    pub(super) async fn run<T, E, F>(&mut self, how: &Begin, closure: F) -> Ended<T, E>
    where
        F: AsyncClosure<T, E> + Clone,
        E: From<Error> + Send,
        T: Send,
    {
        // A broken connection is refused before anything is sent.
        if let Err(error) = self.depth() {
            return Ended::NotBegun(error);
        }
        let ended = self.run_until_over(how, closure).await;
        if !matches!(ended, Ended::Committed(_)) {
            self.memory.with(notes::forget_verified);
        }
        ended
    }

    async fn run_until_over<T, E, F>(&mut self, how: &Begin, closure: F) -> Ended<T, E>
    where
        F: AsyncClosure<T, E> + Clone,
        E: From<Error> + Send,
        T: Send,
    {
        let mut healed = Healed::Nothing;
        for reruns in 0.. {
            let began = Instant::now();
            let begun = match self.begin(how).await {
                Ok(begun) => begun,
                Err(error) => return Ended::NotBegun(error),
            };
            let mut guard = Guard::new(self);
            let attempted = guard.attempt(how.others, began, closure.clone()).await;
            guard.disarm();
            self.memory.set_over();
            self.leave(&begun);
            let error = match attempted {
                Attempt::Over(ended) => {
                    self.memory.with(|oids| match ended {
                        Ended::Committed(_) => healed.succeeded(oids),
                        _ => notes::set_rolled_back(oids),
                    });
                    return ended;
                }
                Attempt::Aborted(error) => error,
            };
            self.memory.with(|oids| healed.was_in_vain(oids));
            healed = self.heal(Unknown::IsEmpty).await;
            if how.others != Others::None && self.memory.with(notes::is_unfit) {
                return Ended::Unfit(error);
            }
            if reruns == MAX_RERUNS || matches!(healed, Healed::Nothing) {
                self.give_up(healed);
                return Ended::Failed(error);
            }
            healed.runs_again();
            log::note(format_args!(
                "a transaction failed and was rolled back; types or the catalog changed, so it runs again"
            ));
        }
        unreachable!("it returns after the last rerun")
    }

    /// The error is the application's. The next use of the connection finds correct caches all the same.
    fn give_up(&mut self, healed: Healed) {
        COUNTERS.failures_left.increment();
        self.memory.with(|oids| {
            healed.was_in_vain(oids);
            notes::set_rolled_back(oids);
        });
        if self.filled_from().is_some_and(|snapshot| !snapshot.is_uncertain()) {
            self.restore_statement_cache();
        }
    }

    async fn attempt<T, E, F>(&mut self, others: Others, began: Instant, closure: F) -> Attempt<T, E>
    where
        F: AsyncClosure<T, E>,
        E: From<Error> + Send,
        T: Send,
    {
        let value = match closure(&mut *self).await {
            Ok(value) => value,
            Err(error) => return self.after_error(others, began, error).await,
        };
        match self.commit(others).await {
            Ok(()) => Attempt::Over(Ended::Committed(value)),
            Err(NotCommitted::Aborted(error)) if self.memory.may_have_ended() => {
                Attempt::Over(Ended::Failed(error.into()))
            }
            Err(NotCommitted::Aborted(error)) => Attempt::Aborted(error.into()),
            Err(NotCommitted::StillOpen(error)) => self.after_error(others, began, error.into()).await,
            Err(NotCommitted::Lost(error)) => Attempt::Over(Ended::Lost(error.into())),
            Err(NotCommitted::Unknown(error)) => Attempt::Over(Ended::Unknown(error)),
            Err(NotCommitted::Otherwise(error)) => Attempt::Over(Ended::Failed(error.into())),
        }
    }

    async fn after_error<T, E>(&mut self, others: Others, began: Instant, error: E) -> Attempt<T, E> {
        match self.roll_back_after_error(others, began).await {
            RolledBack::Lost => Attempt::Over(Ended::Lost(error)),
            RolledBack::WithoutWrites => Attempt::Over(Ended::ReadOnly(error)),
            RolledBack::Aborted => Attempt::Aborted(error),
            RolledBack::Otherwise => Attempt::Over(Ended::Failed(error)),
        }
    }
}
