//! Are the plans of prepared statements out of date? Behind a pooler that prepares statements for its clients, that
//! depends on the server connection, so it is asked before the pooler takes it back.

use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::BigInt;

use crate::catalog::database::CatalogState;
use crate::probe::check::{Mark, NONE_LEFT};
use crate::probe::sql::{OBJECTS, OLDEST_PREPARED_BY_POOLER, VANISHED_STATEMENTS, catalog_changes_since};

const EQUALS: &str = " OPERATOR(pg_catalog.=) ";

/// SQL that is true if no statement is out of date that was prepared at this mark or later. Behind a pooler: and if the
/// server connection has none from before `prepared_since`. An answer that takes long counts as a no: then the catalog
/// is asked in a way that measures the time.
fn condition(mark: Mark, prepared_since: Option<i64>) -> String {
    let Mark { oldest_open, changes, vanished, objects } = mark;
    let of_catalog = format!(
        "{}{EQUALS}({changes})::pg_catalog.int8 AND {OBJECTS}{EQUALS}{objects}::pg_catalog.int8",
        catalog_changes_since(oldest_open)
    );
    let of_statements = match prepared_since {
        None => format!(
            "({VANISHED_STATEMENTS} OPERATOR(pg_catalog.<=) {vanished}::pg_catalog.int8 \
             OR {VANISHED_STATEMENTS}{EQUALS}{NONE_LEFT}::pg_catalog.int8)"
        ),
        Some(since) => {
            format!("{OLDEST_PREPARED_BY_POOLER} OPERATOR(pg_catalog.>=) ({since})::pg_catalog.int8")
        }
    };
    let is_quick = "pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.statement_timestamp() \
         OPERATOR(pg_catalog.<) '10 ms'::pg_catalog.interval";
    format!("{of_statements} AND {of_catalog} AND {is_quick}")
}

/// `ROLLBACK` and the question in one message, which fails if statements may be out of date. Behind a pooler, the
/// server connection then stays with this client, in a transaction that was aborted.
pub(crate) fn roll_back_and_ask_text(mark: Mark, prepared_since: Option<i64>) -> String {
    let condition = condition(mark, prepared_since);
    let (begin, commit) = if prepared_since.is_some() { ("BEGIN; ", "; COMMIT") } else { ("", "") };
    format!(
        "/* diesel-postgres-hot-upgrade: rollback */ ROLLBACK; {begin}SELECT CASE WHEN {condition} THEN '' \
         ELSE pg_catalog.current_setting('{NO_SUCH_SETTING}') END{commit}"
    )
}

const NO_SUCH_SETTING: &str = "diesel-postgres-hot-upgrade prepares its statements anew, as the catalog changed";

/// What the catalog and a server connection's statements are now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plans {
    pub(crate) state: CatalogState,
    /// When the oldest statement was prepared that a pooler keeps on this server connection.
    pub(crate) oldest: i64,
    pub(crate) took: Duration,
}

impl Plans {
    pub(crate) fn decode((changes, objects, (oldest, now, took)): Row) -> Self {
        Plans {
            state: CatalogState {
                changes: changes.unsigned_abs(),
                objects: u32::try_from(objects).unwrap_or_default(),
                since: now,
            },
            oldest,
            took: Duration::from_micros(took.unsigned_abs()),
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        let CatalogState { changes, objects, .. } = self.state;
        Mark { oldest_open: 0, changes, objects, vanished: NONE_LEFT }
    }
}

/// Asks for [`Plans`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskPlans;

pub(crate) type Row = (i64, i64, (i64, i64, i64));

impl Query for AskPlans {
    type SqlType = (BigInt, BigInt, (BigInt, BigInt, BigInt));
}

impl RunQueryDsl<PgConnection> for AskPlans {}

impl QueryId for AskPlans {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for AskPlans {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        let changes = catalog_changes_since(0);
        let sql = [
            "/* diesel-postgres-hot-upgrade: plans */ SELECT ",
            &changes,
            ", ",
            OBJECTS,
            ", ",
            OLDEST_PREPARED_BY_POOLER,
            ", ",
            NOW,
            TOOK,
        ];
        sql.into_iter().for_each(|sql| out.push_sql(sql));
        Ok(())
    }
}

const NOW: &str = "(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) \
     OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8";

const TOOK: &str = ", (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) \
     pg_catalog.statement_timestamp()) OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8";

/// A statement that the pooler keeps. If it is prepared twice under two names, the pooler prepares it once for each
/// server connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept;

impl Query for Kept {
    type SqlType = diesel::sql_types::Integer;
}

impl RunQueryDsl<PgConnection> for Kept {}

impl QueryId for Kept {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Kept {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("/* diesel-postgres-hot-upgrade: kept */ SELECT 1");
        Ok(())
    }
}
