//! One transaction of a pool and all its tries, each on another connection. As in the blocking pool.

use std::error::Error as StdError;

use diesel::QueryResult;
use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::run::AsyncClosure;
use crate::asynchronous::source::Source;
use crate::connection::{notes, writable};
use crate::environment;
use crate::pool::transaction::builder::HotPoolTransactionBuilder;
use crate::pool::transaction::error::{CutCause, HotTransactionError};
use crate::pool::transaction::pauses::Evidence;
use crate::pool::transaction::progress::{Ending, Progress, Tried, may_be_of_lock};
use crate::pool::verify::checked_by_begin_when_polled;
use crate::probe::lost_attempt::{AS_THE_ROLE_THAT_LOGGED_IN, By, EndLostAttempt, Key, MayLock};
use crate::probe::writes::{Takes, Writes};
use crate::report::warnings;
use crate::transaction::begin::{Begin, Others};
use crate::transaction::run::Ended;

pub(super) struct Tries<'a, P> {
    pool: &'a P,
    options: HotPoolTransactionBuilder,
    progress: Progress,
}

impl<'a, P: Source> Tries<'a, P> {
    pub(super) fn new(pool: &'a P, options: HotPoolTransactionBuilder) -> Self {
        let time = options.time().unwrap_or_else(|| pool.patience());
        Tries { pool, options, progress: Progress::new(time, pool.size()) }
    }

    /// Runs until the transaction is committed, the application fails, or the deadline has passed.
    pub(super) async fn run<T, E, F>(mut self, closure: F) -> Result<T, HotTransactionError<E>>
    where
        F: AsyncClosure<T, E> + Clone,
        E: From<Error> + Send,
        T: Send,
    {
        if !environment::is_on() {
            return self.run_stock(closure).await;
        }
        loop {
            let (cause, evidence) = match self.try_once(closure.clone()).await {
                Tried::Over(result) => return result,
                Tried::Cut(cause, evidence) => (cause, evidence),
            };
            let (pause, cause) = self.progress.pause(cause, evidence)?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Progress::runs_again(&cause);
        }
    }

    async fn run_stock<T, E, F>(self, closure: F) -> Result<T, HotTransactionError<E>>
    where
        F: AsyncClosure<T, E> + Clone,
        E: From<Error> + Send,
        T: Send,
    {
        let mut conn = self.check_out().await.map_err(|error| HotTransactionError::NotCommitted {
            cause: CutCause::NoConnection(error),
            tries: 0,
        })?;
        let how = self.options.begin();
        conn.run_nested(&how, closure).await.map_err(HotTransactionError::Application)
    }

    /// A connection that need not be checked, because `BEGIN` will check it.
    async fn check_out(&self) -> Result<P::Checkout<'a>, Box<dyn StdError + Send + Sync>> {
        let check_out = self.pool.check_out();
        let checked_out = tokio::time::timeout(self.progress.time_left(), check_out).await;
        checked_out.unwrap_or_else(|elapsed| Err(elapsed.into()))
    }

    async fn try_once<T, E, F>(&mut self, closure: F) -> Tried<T, E>
    where
        F: AsyncClosure<T, E> + Clone,
        E: From<Error> + Send,
        T: Send,
    {
        let mut conn = match checked_by_begin_when_polled(self.check_out()).await {
            Ok(conn) => conn,
            Err(error) => return Tried::Cut(CutCause::NoConnection(error), Evidence::Fresh),
        };
        self.progress.add_try();
        self.try_on(&mut conn, closure).await
    }

    async fn try_on<T, E, F>(&mut self, conn: &mut HotUpgradeAsyncPgConnection, closure: F) -> Tried<T, E>
    where
        F: AsyncClosure<T, E> + Clone,
        E: From<Error> + Send,
        T: Send,
    {
        if conn.is_in_transaction() {
            // A test transaction, which ends with its connection.
            let result = conn.run_nested(&self.options.begin(), closure).await;
            return Tried::Over(result.map_err(HotTransactionError::Application));
        }
        if let Err((cause, evidence)) = self.end_lost_attempts(conn).await {
            return Tried::Cut(cause, evidence);
        }
        let mut how = self.how(conn).await;
        let mut ended = conn.run(&how, closure.clone()).await;
        let may_not_lock = match &ended {
            Ended::NotBegun(error) => conn.may_not_lock(error).await,
            _ => false,
        };
        if may_not_lock {
            how.lock = None;
            ended = conn.run(&how, closure).await;
        }
        let evidence = conn.memory.with(|oids| self.progress.evidence(oids));
        match self.progress.settle(ended, evidence) {
            Ok(tried) => tried,
            Err(error) => self.not_begun(conn, &how, error).await,
        }
    }

    /// How the next try begins.
    async fn how(&self, conn: &mut HotUpgradeAsyncPgConnection) -> Begin {
        let mut how = self.options.begin();
        if self.progress.asks_for_writes(how.others) && !conn.was_writable().await {
            how.others = Others::IfLost;
        }
        how.lock = Some(self.progress.lock());
        how
    }

    async fn not_begun<T: Send, E: From<Error> + Send>(
        &mut self,
        conn: &mut HotUpgradeAsyncPgConnection,
        how: &Begin,
        error: Error,
    ) -> Tried<T, E> {
        // An error with which a server or a pooler ends the session looks like any other.
        let is_lost = conn.is_lost() || !conn.answers().await;
        let evidence = conn.memory.with(|oids| self.progress.evidence(oids));
        match self.progress.not_begun(error, is_lost, how.before_probe.is_some(), evidence) {
            Ok(tried) => tried,
            Err(error) => {
                let Others::IfLostOrWithout(writes) = how.others else {
                    return Tried::application(error);
                };
                if !matches!(conn.takes(writes).await, Ok(false)) {
                    return Tried::application(error);
                }
                conn.status().set_in_error();
                self.progress.read_only(error.into(), evidence)
            }
        }
    }

    /// Returns once no lost attempt of this transaction is left on the server.
    async fn end_lost_attempts<E: From<Error>>(
        &self,
        conn: &mut HotUpgradeAsyncPgConnection,
    ) -> Result<(), (CutCause<E>, Evidence)> {
        let Some(key) = self.progress.lost_attempts() else {
            return Ok(());
        };
        let mut ending = Ending::begin();
        loop {
            match conn.end_lost_attempt(key, ending.by()).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if conn.is_lost() || !conn.answers().await => {
                    let evidence = conn.memory.with(|oids| self.progress.evidence(oids));
                    return Err((CutCause::Lost(error.into()), evidence));
                }
                // This role may not end it. `BEGIN` will notice whether it has ended by itself.
                Err(_) => return Ok(()),
            }
            match ending.pause(self.progress.time_left()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err((CutCause::StillRunning, Evidence::Fresh)),
            }
        }
    }
}

impl HotUpgradeAsyncPgConnection {
    /// Did this server, or another one at the same address, take writes? One round trip for each address, and one to
    /// prepare it.
    async fn was_writable(&mut self) -> bool {
        if let Some(was_writable) = self.memory.with(writable::was_writable) {
            return was_writable;
        }
        let takes_writes = self.takes(Writes::ByDefault).await;
        if let Ok(takes_writes) = takes_writes {
            self.memory.with(|oids| writable::note(oids, takes_writes));
        }
        takes_writes.unwrap_or(false)
    }

    /// Did `BEGIN` fail because this role may not take the locks?
    async fn may_not_lock(&mut self, error: &Error) -> bool {
        let may_be = !self.is_lost() && may_be_of_lock(error);
        let may_not = may_be && matches!(self.may_lock().await, Ok(false));
        if may_not {
            let server = self.known_server();
            self.memory.with(|oids| notes::set_may_not_lock_on(oids, server));
            warnings::that_locks_are_refused();
        }
        may_not
    }

    /// Does the server take such writes?
    async fn takes(&mut self, writes: Writes) -> QueryResult<bool> {
        RunQueryDsl::get_result(Takes(writes), &mut self.inner).await
    }

    /// Ends the sessions of a transaction's lost attempts, and returns how many there were. Again as the role that
    /// logged in, if the one that was `SET` may not.
    async fn end_lost_attempt(&mut self, key: Key, by: By) -> QueryResult<usize> {
        let end = EndLostAttempt { key, by };
        let ended = RunQueryDsl::execute(end, &mut self.inner).await;
        if ended.is_ok() || self.is_closed() {
            return ended;
        }
        let again = async |conn: &mut AsyncPgConnection| {
            conn.batch_execute(AS_THE_ROLE_THAT_LOGGED_IN).await?;
            RunQueryDsl::execute(end, conn).await
        };
        self.inner.transaction(again).await
    }

    /// May this role take the locks of a pool's transaction?
    async fn may_lock(&mut self) -> QueryResult<bool> {
        RunQueryDsl::get_result::<i64>(MayLock, &mut self.inner).await.map(|yes| yes == 1)
    }
}
