//! `BEGIN` and the check in one round trip. A pooler pins the server connection to the transaction, so what the check
//! says of the server holds until `COMMIT`.

use std::num::NonZeroU32;

use diesel::connection::{InstrumentationEvent, TransactionDepthChange, TransactionManagerStatus};
use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::asynchronous::catalog_wait::new_types_since;
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::asynchronous::statements;
use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::Snapshot;
use crate::catalog::table::OID_TABLE;
use crate::connection::notes;
use crate::probe::check::{begin_and_check_text, is_refusal};
use crate::probe::lost_attempt::{Lock, is_still_there};
use crate::probe::session;
use crate::report::stats::COUNTERS;
use crate::synchronize::{NewTypes, Start, mark_if_unfit};
use crate::transaction::begin::{Begin, Begun, Left};

enum Checked {
    Begun,
    /// No transaction is open. Go on from there.
    Not(Start),
}

impl HotUpgradeAsyncPgConnection {
    /// Begins a transaction on a server that the connection's caches agree with, and that fits what is accepted. One
    /// round trip if nothing changed.
    pub(super) async fn begin(&mut self, how: &Begin) -> QueryResult<Begun> {
        self.memory.with(|oids| notes::set_unfit(oids, false));
        let error = match self.begin_unmarked(how).await {
            Ok(begun) => return Ok(begun),
            Err(error) => self.unfit_instead(error).await,
        };
        self.memory.with(|oids| mark_if_unfit(oids, &error));
        Err(error)
    }

    /// As in the blocking connection: something else may have failed before the server was checked, because it does not
    /// fit.
    async fn unfit_instead(&mut self, error: Error) -> Error {
        if !self.is_alive_after(&error) {
            return error;
        }
        match self.require_fit().await {
            Err(unfit) if Unfit::of(&unfit).is_some() => unfit,
            _ => error,
        }
    }

    async fn begin_unmarked(&mut self, how: &Begin) -> QueryResult<Begun> {
        if self.memory.with(notes::is_refused) {
            let and_requirement = match self.wanted() {
                TargetSessionAttrs::Any => String::new(),
                wanted => format!("\n; {}", session::requirement(wanted)),
            };
            let message = how.message(self.permitted_lock(how));
            self.send_begin(&format!("{message}{and_requirement}")).await?;
            self.forget_all();
            return Ok(Begun::OF_UNKNOWN_PATH);
        }
        if how.before_probe.is_none() {
            self.begin_verified(how).await?;
            return Ok(Begun::with_path_of(self.filled_from()));
        }
        if self.moved_to_latest().is_none() {
            self.synchronize().await?;
        }
        let begun = Begun::with_path_of(self.filled_from());
        self.begin_and_synchronize(how, Start::Check).await?;
        Ok(begun)
    }

    /// As in the blocking connection: if the caches do not agree, they are corrected outside a transaction, and then,
    /// if yet another server answers, inside it.
    async fn begin_verified(&mut self, how: &Begin) -> QueryResult<()> {
        let start = match self.begin_and_check(how).await? {
            Checked::Begun => return Ok(()),
            Checked::Not(start) => start,
        };
        if start != Start::Distrust {
            self.synchronize_from(start).await?;
            if let Checked::Begun = self.begin_and_check(how).await? {
                return Ok(());
            }
        }
        self.begin_and_synchronize(how, Start::Distrust).await
    }

    /// Begins a transaction if the caches agree with the server that answers, and if it can be asked.
    async fn begin_and_check(&mut self, how: &Begin) -> QueryResult<Checked> {
        let Some(known) = self.moved_to_latest() else {
            return Ok(Checked::Not(Start::Check));
        };
        let emptied = self.memory.with(notes::emptied_at);
        if OID_TABLE.alternation.concerns(&known.place.identity, emptied) {
            return Ok(Checked::Not(Start::Distrust));
        }
        let look = match new_types_since(&known, false, false).await {
            NewTypes::None => None,
            NewTypes::Unknown(look) => Some(look),
            NewTypes::Found => return Ok(Checked::Not(Start::Check)),
        };
        COUNTERS.probes.increment();
        let Some(look) = look else {
            return self.begin_and_pipeline_check(how, &known).await;
        };
        // The look is not worth a prepared statement, which would be a round trip of its own.
        let lock = self.permitted_lock(how);
        let text = begin_and_check_text(&how.sql, &known, self.wanted(), true, lock);
        match self.send_begin(&text).await {
            Ok(()) => {
                look.found_nothing_new(None);
                self.fill_again_if_uncertain(&known);
                Ok(Checked::Begun)
            }
            Err(error) if !self.is_alive_after(&error) || is_still_there(&error) => Err(error),
            Err(error) if is_refusal(&error) => Ok(Checked::Not(Start::Refused { looked: true })),
            Err(_) => Ok(Checked::Not(Start::Check)),
        }
    }

    /// `BEGIN` and the prepared check are sent at once. "No" is a result without a row: nothing fails.
    async fn begin_and_pipeline_check(&mut self, how: &Begin, known: &Snapshot) -> QueryResult<Checked> {
        self.depth()?;
        let (lock, wanted) = (self.permitted_lock(how), self.wanted());
        let sql = format!("/* diesel-postgres-hot-upgrade: begin */ {}", how.message(lock));
        self.inner.instrumentation().on_connection_event(InstrumentationEvent::begin_transaction(NonZeroU32::MIN));
        let mut guard = Guard::new(self);
        let (begun, holds) = {
            let mut conn = &guard.inner;
            futures_util::future::join(conn.batch_execute(&sql), statements::check(&guard.inner, known, wanted))
                .await
        };
        if let Err(error) = begun {
            guard.note_loss(&error);
            if lock.is_some() && !guard.is_lost() {
                // The lock may have failed, after `BEGIN`. An error of this marks the connection broken.
                let _ = guard.roll_back().await;
            }
            guard.disarm();
            return Err(error);
        }
        guard.note_begun()?;
        let checked = match holds {
            Ok(true) => {
                guard.fill_again_if_uncertain(known);
                Ok(Checked::Begun)
            }
            Ok(false) => guard.roll_back().await.map(|()| Checked::Not(Start::Refused { looked: false })),
            Err(error) if !guard.is_alive_after(&error) => {
                guard.status().set_in_error();
                Err(error)
            }
            Err(_) => guard.roll_back().await.map(|()| Checked::Not(Start::Check)),
        };
        guard.disarm();
        checked
    }

    async fn begin_and_synchronize(&mut self, how: &Begin, start: Start) -> QueryResult<()> {
        let lock = self.permitted_lock(how);
        self.send_begin(&how.message(lock)).await?;
        let mut guard = Guard::new(self);
        let mut synchronized = guard.synchronize_from(start).await.map(drop);
        // Another server may answer than the one that refuses the lock.
        let left_out = if lock.is_none() { guard.permitted_lock(how) } else { None };
        if let (Ok(()), Some(left_out)) = (&synchronized, left_out) {
            synchronized = guard.take(left_out).await;
        }
        let mut rolled_back = Ok(());
        if synchronized.is_err() {
            guard.leave(&Begun::OF_UNKNOWN_PATH);
            if !guard.is_lost() {
                rolled_back = guard.roll_back().await;
            }
        }
        guard.disarm();
        rolled_back.and(synchronized)
    }

    /// The lock, unless the server that the connection knows has refused it.
    fn permitted_lock(&mut self, how: &Begin) -> Option<Lock> {
        let refusing = self.memory.with(notes::may_not_lock_on);
        how.lock.filter(|_| refusing.is_none_or(|server| server != self.known_server()))
    }

    /// The number of the server that the caches agree with. 0 if that is not known.
    pub(super) fn known_server(&mut self) -> u64 {
        self.filled_from().map_or(0, |snapshot| snapshot.place.identity.number())
    }

    /// Forgets what the caches were filled with for this transaction alone. No round trip.
    pub(super) fn leave(&mut self, begun: &Begun) {
        match self.memory.with(|oids| begun.left(oids)) {
            Left::Nothing => {}
            Left::Oids => self.forget_oids(),
            Left::ForTheSession => self.restore_statement_cache(),
        }
    }

    /// Marks the transaction, so that its end, and who begins savepoints in it, is known. If it fails, no transaction
    /// is open.
    async fn send_begin(&mut self, sql: &str) -> QueryResult<()> {
        self.depth()?;
        let sql = format!("/* diesel-postgres-hot-upgrade: begin */ {sql}");
        self.inner.instrumentation().on_connection_event(InstrumentationEvent::begin_transaction(NonZeroU32::MIN));
        let mut guard = Guard::new(self);
        let begun = guard.inner.batch_execute(&sql).await;
        let result = match begun {
            Ok(()) => guard.note_begun(),
            Err(error) => {
                guard.note_loss(&error);
                // A statement after `BEGIN` failed.
                let rolled_back = if guard.is_lost() { Ok(()) } else { guard.roll_back().await };
                let error = session::unfit(guard.wanted(), &error).map_or(error, Error::from);
                rolled_back.and(Err(error))
            }
        };
        guard.disarm();
        result
    }

    fn note_begun(&mut self) -> QueryResult<()> {
        if let TransactionManagerStatus::Valid(status) = self.status() {
            status.change_transaction_depth(TransactionDepthChange::IncreaseDepth)?;
        }
        self.status().set_test_transaction_flag();
        self.memory.set_begun();
        self.memory.with(|oids| notes::change_lasting(oids, |lasting| lasting.own_depth = 0));
        Ok(())
    }
}
