//! An attempt whose connection was lost, as the server sees it: its session may go on, with all its locks, until the
//! server notices that the client is gone. Each attempt of a transaction holds an advisory lock of the same random key,
//! by which the next one finds it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool};

use crate::probe::check::says_no;

/// The key of one transaction and of all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn random() -> Self {
        Key(RandomState::new().hash_one(0_u8))
    }

    fn halves(self) -> [u32; 2] {
        [(self.0 >> 32) as u32, self.0 as u32]
    }
}

/// How an attempt takes the lock of its key, in `BEGIN`'s message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// The first attempt. It never waits: nobody else has the key.
    First(Key),
    /// A later attempt. It fails if an earlier one is still there.
    Alone(Key),
}

impl Lock {
    /// An expression of SQL.
    pub(crate) fn sql(self) -> String {
        match self {
            Lock::First(key) => format!("pg_catalog.pg_advisory_xact_lock_shared({key})"),
            Lock::Alone(key) => format!(
                "CASE WHEN pg_catalog.pg_try_advisory_xact_lock({key}) THEN '' \
                 ELSE pg_catalog.current_setting('{IS_STILL_THERE}') END"
            ),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})::pg_catalog.int8", self.0 as i64)
    }
}

const IS_STILL_THERE: &str = "diesel-postgres-hot-upgrade waits for the end of a lost attempt of this transaction";

/// Did `BEGIN` fail because an earlier attempt is still there?
pub(crate) fn is_still_there(error: &Error) -> bool {
    says_no(error, IS_STILL_THERE)
}

/// How the session of a lost attempt is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The statement is cancelled. Then the server notices that the client is gone.
    Cancel,
    Terminate,
}

/// The session of an attempt belongs to the role that logged in. If another role was `SET`, that one may not end it.
pub(crate) const AS_THE_ROLE_THAT_LOGGED_IN: &str = "SET LOCAL ROLE NONE";

/// Ends the sessions that hold the key. A row for each.
///
/// They are found and ended in one statement: poolers reuse sessions, and the next client has nothing to do with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndLostAttempt {
    pub(crate) key: Key,
    pub(crate) by: By,
}

impl Query for EndLostAttempt {
    type SqlType = Bool;
}

impl RunQueryDsl<PgConnection> for EndLostAttempt {}

impl QueryId for EndLostAttempt {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for EndLostAttempt {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        let function = match self.by {
            By::Cancel => "pg_cancel_backend",
            By::Terminate => "pg_terminate_backend",
        };
        let [high, low] = self.key.halves();
        out.push_sql(&format!(
            "/* diesel-postgres-hot-upgrade: end lost attempt */ SELECT pg_catalog.{function}(l.pid) \
             FROM pg_catalog.pg_locks l \
             WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text \
             AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d \
             WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
             AND l.classid OPERATOR(pg_catalog.=) {high}::pg_catalog.oid \
             AND l.objid OPERATOR(pg_catalog.=) {low}::pg_catalog.oid \
             AND l.objsubid OPERATOR(pg_catalog.=) 1::pg_catalog.int2 \
             AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"
        ));
        Ok(())
    }
}

/// May this role take the locks? 1 for yes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayLock;

impl Query for MayLock {
    type SqlType = BigInt;
}

impl RunQueryDsl<PgConnection> for MayLock {}

impl QueryId for MayLock {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for MayLock {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: may lock */ SELECT CASE WHEN ");
        for (number, function) in
            ["pg_advisory_xact_lock_shared(bigint)", "pg_try_advisory_xact_lock(bigint)"].iter().enumerate()
        {
            out.push_sql(if number == 0 { "" } else { " AND " });
            out.push_sql(&format!(
                "pg_catalog.has_function_privilege('pg_catalog.{function}'::pg_catalog.text, \
                 'execute'::pg_catalog.text)"
            ));
        }
        out.push_sql(" THEN 1::pg_catalog.int8 ELSE 0::pg_catalog.int8 END");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_by_its_halves_as_pg_locks_has_them() {
        let key = Key(0xffff_fffe_0000_0001);
        assert_eq!(key.to_string(), "(-8589934591)::pg_catalog.int8");
        assert_eq!(key.halves(), [0xffff_fffe, 1]);
    }

    #[test]
    fn no_two_transactions_have_the_same_key() {
        let keys: std::collections::BTreeSet<_> = (0..10_000).map(|_| Key::random().0).collect();
        assert_eq!(keys.len(), 10_000);
    }
}
