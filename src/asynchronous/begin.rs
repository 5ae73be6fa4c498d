//! `BEGIN` and the check in one round trip. A pooler pins the server connection to the transaction, so what the check
//! says of the server holds until `COMMIT`.

use std::num::NonZeroU32;

use diesel::connection::{InstrumentationEvent, TransactionDepthChange, TransactionManagerStatus};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::asynchronous::catalog_wait::new_types_since;
use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::guard::Guard;
use crate::asynchronous::statements;
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::Snapshot;
use crate::catalog::table::OID_TABLE;
use crate::connection::notes;
use crate::probe::check::{begin_and_check_text, is_refusal};
use crate::report::stats::COUNTERS;
use crate::synchronize::{NewTypes, Start};
use crate::transaction::begin::{Begin, Begun, Left};

enum Checked {
    Begun,
    /// No transaction is open. Go on from there.
    Not(Start),
}

impl HotUpgradeAsyncPgConnection {
    /// Begins a transaction on a server that the connection's caches agree with. One round trip if nothing changed.
    pub(super) async fn begin(&mut self, how: &Begin) -> QueryResult<Begun> {
        if self.memory.with(notes::is_refused) {
            let before_probe = how.before_probe.as_deref().unwrap_or_default();
            self.send_begin(&format!("{}\n; {before_probe}", how.sql)).await?;
            self.forget_all();
            return Ok(Begun::OF_UNKNOWN_PATH);
        }
        let Some(before_probe) = &how.before_probe else {
            self.begin_verified(&how.sql).await?;
            return Ok(Begun::with_path_of(self.filled_from()));
        };
        if self.moved_to_latest().is_none() {
            self.synchronize().await?;
        }
        let begun = Begun::with_path_of(self.filled_from());
        self.begin_and_synchronize(&format!("{}\n; {before_probe}", how.sql), Start::Check).await?;
        Ok(begun)
    }

    /// As in the blocking connection: if the caches do not agree, they are corrected outside a transaction, and then,
    /// if yet another server answers, inside it.
    async fn begin_verified(&mut self, sql: &str) -> QueryResult<()> {
        let start = match self.begin_and_check(sql).await? {
            Checked::Begun => return Ok(()),
            Checked::Not(start) => start,
        };
        if start != Start::Distrust {
            self.synchronize_from(start).await?;
            if let Checked::Begun = self.begin_and_check(sql).await? {
                return Ok(());
            }
        }
        self.begin_and_synchronize(sql, Start::Distrust).await
    }

    /// Begins a transaction if the caches agree with the server that answers, and if it can be asked.
    async fn begin_and_check(&mut self, sql: &str) -> QueryResult<Checked> {
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
            return self.begin_and_pipeline_check(sql, &known).await;
        };
        // The look is not worth a prepared statement, which would be a round trip of its own.
        match self.send_begin(&begin_and_check_text(sql, &known, TargetSessionAttrs::Any, true, None)).await {
            Ok(()) => {
                look.found_nothing_new(None);
                self.fill_again_if_uncertain(&known);
                Ok(Checked::Begun)
            }
            Err(error) if !self.is_alive_after(&error) => Err(error),
            Err(error) if is_refusal(&error) => Ok(Checked::Not(Start::Refused { looked: true })),
            Err(_) => Ok(Checked::Not(Start::Check)),
        }
    }

    /// `BEGIN` and the prepared check are sent at once. "No" is a result without a row: nothing fails.
    async fn begin_and_pipeline_check(&mut self, sql: &str, known: &Snapshot) -> QueryResult<Checked> {
        self.depth()?;
        let sql = format!("/* diesel-postgres-hot-upgrade: begin */ {sql}");
        self.inner.instrumentation().on_connection_event(InstrumentationEvent::begin_transaction(NonZeroU32::MIN));
        let mut guard = Guard::new(self);
        let (begun, holds) = {
            let mut conn = &guard.inner;
            futures_util::future::join(conn.batch_execute(&sql), statements::check(&guard.inner, known)).await
        };
        if let Err(error) = begun {
            // The server refused `BEGIN` itself, so no transaction is open.
            guard.note_loss(&error);
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

    async fn begin_and_synchronize(&mut self, sql: &str, start: Start) -> QueryResult<()> {
        self.send_begin(sql).await?;
        let mut guard = Guard::new(self);
        let synchronized = guard.synchronize_from(start).await.map(drop);
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
