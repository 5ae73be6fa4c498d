//! Does the server take writes? Not if it is in recovery, nor if transactions are read-only by default,
//! unless they say `READ WRITE`.

use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::Bool;

use crate::probe::check::says_no;
use crate::probe::sql::IN_RECOVERY;

/// Of which transactions a server takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Of one that said nothing.
    ByDefault,
    /// Of one that said `READ WRITE`. It writes also if transactions are read-only by default.
    AskedFor,
}

impl Writes {
    /// SQL that is true if the server takes them.
    fn are_taken(self) -> String {
        match self {
            // A server in recovery says `on` too.
            Writes::ByDefault => "pg_catalog.current_setting('transaction_read_only') \
                 OPERATOR(pg_catalog.=) 'off'::pg_catalog.text"
                .to_owned(),
            Writes::AskedFor => format!("NOT {IN_RECOVERY}"),
        }
    }
}

/// SQL that fails if the server takes no writes, or if it may have taken none this long ago. (What transactions are by
/// default is a setting. If it is loaded anew after one has begun, the question is answered for the next one only.)
pub(crate) fn fails_without(writes: Writes, began: Duration) -> String {
    let mut are_taken = writes.are_taken();
    if writes == Writes::ByDefault {
        are_taken += &format!(
            " AND pg_catalog.pg_conf_load_time() OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() \
             OPERATOR(pg_catalog.-) '{} us'::pg_catalog.interval)",
            began.as_micros()
        );
    }
    format!("SELECT CASE WHEN {are_taken} THEN '' ELSE pg_catalog.current_setting('{NO_SUCH_SETTING}') END")
}

const NO_SUCH_SETTING: &str = "diesel-postgres-hot-upgrade looks for a server that takes writes";

/// Did it fail for that reason?
pub(crate) fn is_without_writes(error: &Error) -> bool {
    says_no(error, NO_SUCH_SETTING)
}

/// The question by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes(pub(crate) Writes);

impl Query for Takes {
    type SqlType = Bool;
}

impl RunQueryDsl<PgConnection> for Takes {}

impl QueryId for Takes {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Takes {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Once for each pool: not worth a prepared statement.
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: takes writes */ SELECT ");
        out.push_sql(&self.0.are_taken());
        Ok(())
    }
}
