//! The options of a verified transaction, whichever driver runs it.

use crate::probe::writes::Writes;
use crate::transaction::begin::{Begin, Others};

/// Options of a transaction: those of Diesel's [`TransactionBuilder`](diesel::pg::TransactionBuilder), and [SQL that
/// runs before the check](HotTransactionBuilder::before_probe). See
/// [`HotUpgradeExt::hot_transaction_with`](crate::HotUpgradeExt::hot_transaction_with).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct HotTransactionBuilder {
    isolation: Option<Isolation>,
    access: Option<Access>,
    deferrable: Option<bool>,
    before_probe: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    ReadWrite,
}

impl HotTransactionBuilder {
    /// `READ ONLY`
    pub fn read_only(self) -> Self {
        HotTransactionBuilder { access: Some(Access::ReadOnly), ..self }
    }

    /// `READ WRITE`
    pub fn read_write(self) -> Self {
        HotTransactionBuilder { access: Some(Access::ReadWrite), ..self }
    }

    /// `DEFERRABLE`
    pub fn deferrable(self) -> Self {
        HotTransactionBuilder { deferrable: Some(true), ..self }
    }

    /// `NOT DEFERRABLE`
    pub fn not_deferrable(self) -> Self {
        HotTransactionBuilder { deferrable: Some(false), ..self }
    }

    /// `ISOLATION LEVEL READ COMMITTED`
    pub fn read_committed(self) -> Self {
        HotTransactionBuilder { isolation: Some(Isolation::ReadCommitted), ..self }
    }

    /// `ISOLATION LEVEL REPEATABLE READ`. The check is the transaction's first query, so the snapshot is that of the
    /// transaction's beginning, not of the closure's first query.
    pub fn repeatable_read(self) -> Self {
        HotTransactionBuilder { isolation: Some(Isolation::RepeatableRead), ..self }
    }

    /// `ISOLATION LEVEL SERIALIZABLE`. The check is the transaction's first query, so the snapshot is that of the
    /// transaction's beginning, not of the closure's first query.
    pub fn serializable(self) -> Self {
        HotTransactionBuilder { isolation: Some(Isolation::Serializable), ..self }
    }

    /// SQL, of one statement or several, that has to run before the check, which is a query: `SET TRANSACTION`, a
    /// tenant's `SET LOCAL search_path`, or a `LOCK` that has to come before a `REPEATABLE READ` transaction takes its
    /// snapshot.
    ///
    /// It is sent with a plain `BEGIN`, and the check follows in a savepoint: three round trips more than without. If
    /// it sets another search path than the session's, what was filled for the transaction ends with it: the next
    /// checkout costs one more. The SQL runs again if the transaction does.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use diesel::prelude::*;
    /// use diesel_postgres_hot_upgrade::HotUpgradeExt;
    ///
    /// # fn transfer(conn: &mut PgConnection) -> QueryResult<()> { Ok(()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut conn = PgConnection::establish("postgres://app@pooler/app")?;
    /// conn.hot_transaction_with(
    ///     |builder| builder.repeatable_read().before_probe("LOCK TABLE accounts IN EXCLUSIVE MODE"),
    ///     transfer,
    /// )?;
    /// conn.hot_transaction_with(
    ///     |builder| builder.before_probe("SET LOCAL search_path = tenant_7, public"),
    ///     transfer,
    /// )?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn before_probe(self, sql: impl Into<String>) -> Self {
        HotTransactionBuilder { before_probe: Some(sql.into()), ..self }
    }

    /// How a transaction with these options begins.
    pub(crate) fn begin(self) -> Begin {
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
        let sql = format!("{}{isolation}{access}{deferrable}", Begin::PLAIN.sql);
        Begin { sql: sql.into(), before_probe: self.before_probe, ..Begin::PLAIN }
    }

    /// On which other connections of a pool it may run again.
    pub(crate) fn others(&self) -> Others {
        match self.access {
            Some(Access::ReadOnly) => Others::IfLost,
            Some(Access::ReadWrite) => Others::IfLostOrWithout(Writes::AskedFor),
            None => Others::IfLostOrWithout(Writes::ByDefault),
        }
    }
}

/// The methods of a builder that has these `options`, and something more.
macro_rules! forward_options {
    ($($(#[$documentation:meta])* $option:ident)*) => {
        $(
            $(#[$documentation])*
            pub fn $option(self) -> Self {
                Self { options: self.options.$option(), ..self }
            }
        )*
    };
}
pub(crate) use forward_options;

#[cfg(test)]
mod tests {
    use super::HotTransactionBuilder;

    #[test]
    fn options_are_in_the_order_of_the_grammar() {
        let how = HotTransactionBuilder::default().deferrable().read_only().serializable().begin();
        assert_eq!(how.sql, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE");
        assert_eq!(HotTransactionBuilder::default().begin().sql, "BEGIN");
    }
}
