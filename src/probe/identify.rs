//! Which server answers, and what does it call these types? One statement, so that no pooler can let two servers
//! answer.

use diesel::connection::CacheSize;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, BigInt, Bool, Integer, Oid};

use crate::catalog::server::Server;
use crate::catalog::snapshot::{Question, Shown};
use crate::probe::check::Mark;
use crate::probe::sql::{
    CATALOG_FILE, DATABASE, DEFAULT_READ_ONLY, FOUND, IN_RECOVERY, IS_PREPARED_BY_POOLER, LAST_STATEMENT, OBJECTS,
    OLDEST_OPEN, ROLE, SEARCH_PATH, SHOWN, STARTED, SYSTEM_IDENTIFIER, VANISHED_STATEMENTS, VERSION,
};

/// What a role may ask a server. Whether it may execute a function is checked when a statement that names it starts, so
/// no `CASE` around the call helps: there is a statement for each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Everything.
    Identified,
    /// Not who the server is: then it is told apart by its types alone.
    Unidentified,
    /// Nothing but whether it is there.
    Mute,
}

/// SQL for an array of texts that says which server answers: see
/// [`Server::from_fields`](crate::catalog::server::Server::from_fields).
pub(crate) fn identity_fields(level: Level) -> String {
    let (system_identifier, started, in_recovery, catalog) = if level == Level::Identified {
        // Microseconds since 2000.
        let started = format!(
            "(pg_catalog.date_part('epoch', {STARTED} \
             OPERATOR(pg_catalog.-) '2000-01-01 00:00+00'::pg_catalog.timestamptz) \
             OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8::pg_catalog.text"
        );
        (
            format!("{SYSTEM_IDENTIFIER}::pg_catalog.text"),
            started,
            format!("{IN_RECOVERY}::pg_catalog.text"),
            CATALOG_FILE,
        )
    } else {
        ("''".to_owned(), "''".to_owned(), "'false'".to_owned(), DATABASE)
    };
    let schemas = if level == Level::Identified {
        " OPERATOR(pg_catalog.||) pg_catalog.current_schemas(true)::pg_catalog.text[]"
    } else {
        ""
    };
    format!(
        "ARRAY[{system_identifier}, {started}, {in_recovery}, {catalog}, {VERSION}, \
         {DATABASE}, \
         pg_catalog.current_setting('quote_all_identifiers'), {SEARCH_PATH}, {ROLE}, \
         {DEFAULT_READ_ONLY}]::pg_catalog.text[]{schemas}"
    )
}

/// What a server says of itself, and of some types.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(crate) server: Server,
    pub(crate) shown: Shown,
}

impl Identified {
    pub(crate) fn decode((_, _, (names, oids), fields): Row) -> QueryResult<Self> {
        Ok(Identified { server: Server::from_fields(fields)?, shown: Shown { names, oids } })
    }
}

/// The statements that a session has prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Does Diesel keep them?
    pub(crate) size: CacheSize,
    /// They are this session's alone, so `DEALLOCATE ALL` concerns no other client.
    pub(crate) is_own: bool,
    /// A pooler prepares them for its clients. `None` if the role may not ask.
    pub(crate) is_prepared_by_pooler: Option<bool>,
    /// What to compare with after that. `None` if older plans than this may be met.
    pub(crate) mark: Option<Mark>,
}

impl Prepared {
    /// Of the second text, after the first one was run: what comes back says which text ran.
    pub(crate) fn decode((text, mark, ..): Row, level: Level) -> Self {
        let size = if text == FIRST_TEXT { CacheSize::Unbounded } else { CacheSize::Disabled };
        let (oldest_open, objects, (last, vanished, is_prepared_by_pooler)) = mark;
        let is_own = last > 0 && !is_prepared_by_pooler;
        // After `DEALLOCATE ALL`, every number up to the last one is gone.
        let vanished = u32::try_from(if is_own { last } else { vanished }).unwrap_or_default();
        // A transaction's id has 32 bits where rows are compared with it.
        let objects = u32::try_from(objects).unwrap_or_default();
        let mark = Mark { oldest_open: oldest_open as u32, changes: 0, vanished, objects };
        Prepared {
            size,
            is_own,
            is_prepared_by_pooler: (level == Level::Identified).then_some(is_prepared_by_pooler),
            mark: (!is_prepared_by_pooler).then_some(mark),
        }
    }
}

type Statements = (i64, i64, bool);
pub(crate) type Row = (i32, (i64, i64, Statements), (String, String), Vec<String>);

pub(crate) const IDENTIFIED: u8 = 0;
pub(crate) const UNIDENTIFIED: u8 = 1;
pub(crate) const MUTE: u8 = 2;

const FIRST_TEXT: i32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    First,
    Second,
}

/// For a role that may not ask: after an error, a transaction runs once more than it has to.
const UNMARKED: &str = "0::pg_catalog.int8, 0::pg_catalog.int8, 0::pg_catalog.int8, 0::pg_catalog.int8, true";

/// One statement for each [`Level`], as each has a static `QueryId`.
pub(crate) struct Identify<'a, const LEVEL: u8> {
    pub(crate) question: &'a Question,
    pub(crate) text: Text,
}

impl<const LEVEL: u8> Query for Identify<'_, LEVEL> {
    type SqlType = (
        Integer,
        (BigInt, BigInt, (BigInt, BigInt, Bool)),
        (sql_types::Text, sql_types::Text),
        Array<sql_types::Text>,
    );
}

impl<const LEVEL: u8> RunQueryDsl<PgConnection> for Identify<'_, LEVEL> {}

impl<const LEVEL: u8> QueryId for Identify<'_, LEVEL> {
    type QueryId = Identify<'static, LEVEL>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const LEVEL: u8> QueryFragment<Pg> for Identify<'_, LEVEL> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(if LEVEL == MUTE {
            "/* diesel-postgres-hot-upgrade: ping */ SELECT "
        } else {
            "/* diesel-postgres-hot-upgrade: identify */ SELECT "
        });
        out.push_sql(if self.text == Text::First { "1, " } else { "2, " });
        let level = match LEVEL {
            IDENTIFIED => Level::Identified,
            UNIDENTIFIED => Level::Unidentified,
            _ => {
                out.push_sql(UNMARKED);
                out.push_sql(", '', '', '{}'::pg_catalog.text[]");
                return Ok(());
            }
        };
        if level == Level::Identified {
            for sql in [OLDEST_OPEN, ", CASE WHEN "] {
                out.push_sql(sql);
            }
            // Counting takes milliseconds if there are thousands of objects. Only the second answer is used.
            out.push_bind_param::<Bool, _>(if self.text == Text::Second { &true } else { &false })?;
            let statements = [LAST_STATEMENT, VANISHED_STATEMENTS, IS_PREPARED_BY_POOLER].join(", ");
            for sql in [" THEN ", OBJECTS, " ELSE 0::pg_catalog.int8 END, ", &statements] {
                out.push_sql(sql);
            }
        } else {
            out.push_sql(UNMARKED);
        }
        out.push_sql(", ");
        out.push_sql(SHOWN[0]);
        out.push_bind_param::<Array<Oid>, _>(&self.question.oids)?;
        out.push_sql(SHOWN[1]);
        out.push_sql(", ");
        out.push_sql(FOUND[0]);
        out.push_bind_param::<Array<sql_types::Text>, _>(&self.question.names)?;
        out.push_sql(FOUND[1]);
        out.push_sql(", ");
        out.push_sql(&identity_fields(level));
        Ok(())
    }
}
