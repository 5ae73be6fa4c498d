//! Does the server take writes? Not if it is in recovery, nor if transactions are read-only by default.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::Bool;

use crate::probe::check::says_no;

/// Of a transaction that did not say `READ ONLY`. A server in recovery says `on` too.
const TAKES_WRITES: &str = "pg_catalog.current_setting('transaction_read_only') \
     OPERATOR(pg_catalog.=) 'off'::pg_catalog.text";

/// SQL that fails if the server takes no writes.
pub(crate) fn fails_without_writes() -> String {
    format!("SELECT CASE WHEN {TAKES_WRITES} THEN '' ELSE pg_catalog.current_setting('{NO_SUCH_SETTING}') END")
}

const NO_SUCH_SETTING: &str = "diesel-postgres-hot-upgrade looks for a server that takes writes";

/// Did it fail for that reason?
pub(crate) fn is_without_writes(error: &Error) -> bool {
    says_no(error, NO_SUCH_SETTING)
}

/// The question by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakesWrites;

impl Query for TakesWrites {
    type SqlType = Bool;
}

impl RunQueryDsl<PgConnection> for TakesWrites {}

impl QueryId for TakesWrites {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for TakesWrites {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Once for each pool: not worth a prepared statement.
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: takes writes */ SELECT ");
        out.push_sql(TAKES_WRITES);
        Ok(())
    }
}
