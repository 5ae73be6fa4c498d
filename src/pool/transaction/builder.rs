//! The options of a pool's transaction.

use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error;

use crate::probe::writes::Writes;
use crate::transaction::begin::{Begin, Others};
use crate::transaction::builder::HotTransactionBuilder;
use crate::transaction::run::run_nested;

/// Options of a pool's transaction: those of [`HotTransactionBuilder`], and a [deadline](Self::within). See
/// [`HotUpgradePool::hot_transaction_with`](crate::HotUpgradePool::hot_transaction_with).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct HotPoolTransactionBuilder {
    access: Option<Access>,
    deferrable: Option<bool>,
    isolation: Option<Isolation>,
    before_probe: Option<String>,
    within: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    ReadWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl HotPoolTransactionBuilder {
    /// `READ ONLY`. Then it is no failure of the server if it takes no writes.
    pub fn read_only(self) -> Self {
        HotPoolTransactionBuilder { access: Some(Access::ReadOnly), ..self }
    }

    /// `READ WRITE`. Then a server that is read-only by default takes the writes. Only one in recovery does not.
    pub fn read_write(self) -> Self {
        HotPoolTransactionBuilder { access: Some(Access::ReadWrite), ..self }
    }

    /// `DEFERRABLE`
    pub fn deferrable(self) -> Self {
        HotPoolTransactionBuilder { deferrable: Some(true), ..self }
    }

    /// `NOT DEFERRABLE`
    pub fn not_deferrable(self) -> Self {
        HotPoolTransactionBuilder { deferrable: Some(false), ..self }
    }

    /// `ISOLATION LEVEL READ COMMITTED`
    pub fn read_committed(self) -> Self {
        HotPoolTransactionBuilder { isolation: Some(Isolation::ReadCommitted), ..self }
    }

    /// `ISOLATION LEVEL REPEATABLE READ`: as [`HotTransactionBuilder::repeatable_read`].
    pub fn repeatable_read(self) -> Self {
        HotPoolTransactionBuilder { isolation: Some(Isolation::RepeatableRead), ..self }
    }

    /// `ISOLATION LEVEL SERIALIZABLE`: as [`HotTransactionBuilder::serializable`].
    pub fn serializable(self) -> Self {
        HotPoolTransactionBuilder { isolation: Some(Isolation::Serializable), ..self }
    }

    /// SQL that has to run before the check: as [`HotTransactionBuilder::before_probe`]. It runs again with each try.
    pub fn before_probe(self, sql: impl Into<String>) -> Self {
        HotPoolTransactionBuilder { before_probe: Some(sql.into()), ..self }
    }

    /// For how long it may be tried, from the call on: waiting for a connection, all tries, and the pauses between them.
    /// The default is the pool's `connection_timeout`.
    ///
    /// A statement that is under way is not interrupted, nor is a closure that runs: the deadline only decides whether
    /// there is another try. If an address may accept connections and never answer, set `connect_timeout` in the
    /// database URL; without it, such connections occupy r2d2's threads, and the pool does not come back.
    pub fn within(self, time: Duration) -> Self {
        HotPoolTransactionBuilder { within: Some(time), ..self }
    }

    pub(crate) fn time(&self) -> Option<Duration> {
        self.within
    }

    pub(crate) fn others(&self) -> Others {
        match self.access {
            Some(Access::ReadOnly) => Others::IfLost,
            Some(Access::ReadWrite) => Others::IfLostOrWithout(Writes::AskedFor),
            None => Others::IfLostOrWithout(Writes::ByDefault),
        }
    }

    fn is_plain(&self) -> bool {
        self.access.is_none() && self.deferrable.is_none() && self.isolation.is_none()
    }

    /// Runs `closure` inside an open transaction: in a savepoint, which has no options.
    pub(crate) fn run_inside<T, E: From<Error>>(
        &self,
        conn: &mut PgConnection,
        closure: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        run_nested(conn, |conn| {
            if self.is_plain() && self.before_probe.is_none() {
                conn.transaction(closure)
            } else {
                self.on(conn).run_stock(closure)
            }
        })
    }

    pub(crate) fn build(&self, conn: &mut PgConnection) -> QueryResult<Begin> {
        if self.is_plain() {
            return Ok(Begin { before_probe: self.before_probe.clone(), ..Begin::PLAIN });
        }
        self.on(conn).build()
    }

    /// How a transaction with these options begins.
    #[cfg(any(feature = "bb8", feature = "deadpool"))]
    pub(crate) fn begin(&self) -> Begin {
        let isolation = self.isolation.map_or("", |isolation| match isolation {
            Isolation::ReadCommitted => " ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => " ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => " ISOLATION LEVEL SERIALIZABLE",
        });
        let access = self.access.map_or("", |access| match access {
            Access::ReadOnly => " READ ONLY",
            Access::ReadWrite => " READ WRITE",
        });
        let deferrable = self.deferrable.map_or("", |is| if is { " DEFERRABLE" } else { " NOT DEFERRABLE" });
        let sql = format!("BEGIN TRANSACTION{isolation}{access}{deferrable}");
        let before_probe = self.before_probe.clone();
        Begin { sql: sql.into(), before_probe, lock: None, others: self.others() }
    }

    /// The same options for a connection.
    pub(crate) fn on<'a>(&self, conn: &'a mut PgConnection) -> HotTransactionBuilder<'a> {
        let builder = HotTransactionBuilder::new(conn);
        let builder = match self.access {
            None => builder,
            Some(Access::ReadOnly) => builder.read_only(),
            Some(Access::ReadWrite) => builder.read_write(),
        };
        let builder = match self.deferrable {
            None => builder,
            Some(true) => builder.deferrable(),
            Some(false) => builder.not_deferrable(),
        };
        let builder = match self.isolation {
            None => builder,
            Some(Isolation::ReadCommitted) => builder.read_committed(),
            Some(Isolation::RepeatableRead) => builder.repeatable_read(),
            Some(Isolation::Serializable) => builder.serializable(),
        };
        match &self.before_probe {
            None => builder,
            Some(sql) => builder.before_probe(sql.clone()),
        }
    }
}
