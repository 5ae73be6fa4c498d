//! The check: does the snapshot that a connection was filled from still hold? A statement of constants that returns a
//! row for "yes" and none for "no". Everything in it exists on every server, so it does not fail on another one.

use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool};

use crate::catalog::server::{IdentifiedBy, PgStart, SearchPath};
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::{Question, Snapshot};
use crate::catalog::tracked::tracked;
use crate::probe::lost_attempt::Lock;
use crate::probe::session::{and_fits, fails_if_unfit};
use crate::probe::sql::{
    CATALOG_FILE, DATABASE, DIGEST, FOUND, IN_RECOVERY, OBJECTS, ROLE, SEARCH_PATH, SHOWN, STARTED,
    SYSTEM_IDENTIFIER, VANISHED_STATEMENTS, VERSION, WATCHED, array, catalog_changes_since, constant,
    only_tracked, sees_the_present,
};

const EQUALS: &str = " OPERATOR(pg_catalog.=) ";

/// SQL that is true if the snapshot's server answers, calls its types by their names, and looks names up in the same
/// schemas.
fn condition(snapshot: &Snapshot) -> [&str; 2] {
    let of_content = snapshot.content.condition.get_or_init(|| server_and_types(snapshot));
    [of_content, snapshot.path_condition.get_or_init(|| search_path(&snapshot.place.path))]
}

fn search_path(path: &SearchPath) -> String {
    let role = path.role.as_ref().map(|role| format!(" AND {ROLE}{EQUALS}{}", constant(role)));
    format!(" AND {SEARCH_PATH}{EQUALS}{}{}", constant(&path.setting), role.unwrap_or_default())
}

fn server_and_types(snapshot: &Snapshot) -> String {
    let content = &snapshot.content;
    let version = snapshot.server.version();
    let server = match content.identity.by {
        IdentifiedBy::Start { at, in_recovery } => {
            let is_not = if in_recovery { "" } else { "NOT " };
            format!("{STARTED}{EQUALS}{} AND {is_not}{IN_RECOVERY}", timestamptz(at))
        }
        IdentifiedBy::SystemIdentifier(identifier) => {
            format!("{SYSTEM_IDENTIFIER}{EQUALS}({identifier})::pg_catalog.int8")
        }
        IdentifiedBy::TypesAlone => format!("{VERSION}{EQUALS}'{version}'::pg_catalog.text"),
    };
    let catalog = if content.identity.by == IdentifiedBy::TypesAlone { DATABASE } else { CATALOG_FILE };
    let Question { oids, names } = &content.question;
    let oids: Vec<_> = oids.iter().map(u32::to_string).collect();
    let are_equal = |[before, after]: [&str; 2], asked: &str, answer: &str| {
        format!(" AND {before}{asked}{after}{EQUALS}{}", constant(answer))
    };
    let shown = are_equal(SHOWN, &format!("'{{{}}}'", oids.join(",")), &content.shown.names);
    let found =
        if names.is_empty() { String::new() } else { are_equal(FOUND, &array(names), &content.shown.oids) };
    format!("{server} AND {catalog}{EQUALS}{}{shown}{found}", constant(&content.identity.catalog))
}

/// SQL that is true as long as the database has no other types than the snapshot says.
fn nothing_is_new(snapshot: &Snapshot) -> String {
    let only_tracked = only_tracked(tracked().as_deref());
    let expected = constant(&snapshot.digest);
    format!("(SELECT {DIGEST} FROM {WATCHED}{only_tracked}){EQUALS}{expected}")
}

/// What a check found that also looked for new types.
#[derive(Debug)]
pub(crate) enum Looked {
    /// The snapshot holds, and nothing is new. The look took the server that long.
    NothingNew {
        took: Duration,
        /// All other connections see the same.
        is_public: bool,
        /// The mark as it is now, if there is one.
        now: Option<Mark>,
    },
    Otherwise,
}

/// What [`VANISHED_STATEMENTS`] says if there is none of Diesel's statements.
pub(crate) const NONE_LEFT: u32 = 1_000_000_000;

/// A state of the catalog, and of the statements that a session has prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Changes of later transactions count. 0: all of them.
    pub(crate) oldest_open: u32,
    /// The sum of those changes.
    pub(crate) changes: u64,
    /// How many of Diesel's prepared statements are gone.
    pub(crate) vanished: u32,
    /// How many objects the schemas had.
    pub(crate) objects: u32,
}

impl Mark {
    /// May statements be out of date that were prepared at this mark or later?
    pub(crate) fn differs(self, now: Mark) -> bool {
        let have_vanished = now.vanished > self.vanished && !now.has_none_left();
        now.changes != self.changes || now.objects != self.objects || have_vanished
    }

    /// Has the session none of Diesel's statements? Diesel may have prepared none, or all of them are gone, or a pooler
    /// gives them other names.
    pub(crate) fn has_none_left(self) -> bool {
        self.vanished == NONE_LEFT
    }
}

/// `BEGIN` and the check in one message, which can have no binds, and whose results Diesel does not show. It fails if
/// the server does not fit what is `wanted`, if the snapshot does not hold, or, if `looks`, if types are new. A lock that
/// is taken with it costs no statement more.
pub(crate) fn begin_and_check_text(
    begin: &str,
    snapshot: &Snapshot,
    wanted: TargetSessionAttrs,
    looks: bool,
    lock: Option<Lock>,
) -> String {
    let condition = condition(snapshot).concat();
    let new_types = if looks { format!(" AND {}", nothing_is_new(snapshot)) } else { String::new() };
    let lock = lock.map(|lock| format!(", {}", lock.sql())).unwrap_or_default();
    // A cast that fails would be simpler than a setting that does not exist, but any role may have defined another
    // cast.
    format!(
        "{begin}; SELECT CASE {}WHEN {condition}{new_types} THEN '' \
         ELSE pg_catalog.current_setting('{NO_SUCH_SETTING}') END{lock}",
        fails_if_unfit(wanted)
    )
}

const NO_SUCH_SETTING: &str =
    "diesel-postgres-hot-upgrade begins this transaction anew, for other types or another server";

/// Did a check that traveled with `BEGIN` say no? The server's message quotes the setting, in every language. Any other
/// error, such as a cancelled query, says nothing of the snapshot.
pub(crate) fn is_refusal(error: &Error) -> bool {
    says_no(error, NO_SUCH_SETTING)
}

/// Did a statement fail because it asked for this setting, which does not exist?
pub(crate) fn says_no(error: &Error, no_such_setting: &str) -> bool {
    matches!(error, Error::DatabaseError(_, information) if information.message().contains(no_such_setting))
}

/// SQL that every `DateStyle` reads alike, and that is computed when the statement is planned. A double holds a time of
/// these centuries to a quarter of a microsecond.
fn timestamptz(start: PgStart) -> String {
    const SECONDS_FROM_1970_TO_2000: i64 = 946_684_800;
    let (seconds, microseconds) = (start.div_euclid(1_000_000), start.rem_euclid(1_000_000));
    format!("pg_catalog.to_timestamp({}.{microseconds:06})", seconds + SECONDS_FROM_1970_TO_2000)
}

/// Does the snapshot hold, and does the server fit what is wanted?
pub(crate) struct Check<'a> {
    condition: [&'a str; 2],
    and_fits: &'static [&'static str],
}

impl<'a> Check<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot, wanted: TargetSessionAttrs) -> Self {
        Check { condition: condition(snapshot), and_fits: and_fits(wanted) }
    }

    /// From the number of rows.
    pub(crate) fn decode(rows: usize) -> bool {
        rows == 1
    }
}

impl Query for Check<'_> {
    type SqlType = diesel::sql_types::Integer;
}

impl RunQueryDsl<PgConnection> for Check<'_> {}

/// Each snapshot has its own prepared statement.
impl QueryId for Check<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Check<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("/* diesel-postgres-hot-upgrade: check */ SELECT 1 WHERE ");
        self.condition.into_iter().chain(self.and_fits.iter().copied()).for_each(|sql| out.push_sql(sql));
        Ok(())
    }
}

/// Does the snapshot hold, does the server fit, and are there no other types? With a `mark`, also: are prepared
/// statements out of date?
pub(crate) struct CheckAndLook {
    condition: String,
    in_transaction: bool,
    mark: Option<Mark>,
}

pub(crate) type Row = (bool, (i64, i64, i64), i64);

impl CheckAndLook {
    pub(crate) fn of(
        snapshot: &Snapshot,
        wanted: TargetSessionAttrs,
        in_transaction: bool,
        mark: Option<Mark>,
    ) -> Self {
        let (holds, fits) = (condition(snapshot).concat(), and_fits(wanted).concat());
        let condition = format!("{holds}{fits} AND {}", nothing_is_new(snapshot));
        CheckAndLook { condition, in_transaction, mark }
    }

    pub(crate) fn decode(row: Option<Row>, mark: Option<Mark>) -> Looked {
        row.map_or(Looked::Otherwise, |(is_public, (changes, objects, vanished), took)| Looked::NothingNew {
            took: Duration::from_micros(took.unsigned_abs()),
            is_public,
            now: mark.map(|mark| Mark {
                changes: changes.unsigned_abs(),
                objects: u32::try_from(objects).unwrap_or_default(),
                vanished: u32::try_from(vanished).unwrap_or_default(),
                ..mark
            }),
        })
    }
}

impl Query for CheckAndLook {
    type SqlType = (Bool, (BigInt, BigInt, BigInt), BigInt);
}

impl RunQueryDsl<PgConnection> for CheckAndLook {}

impl QueryId for CheckAndLook {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for CheckAndLook {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Once a second for the process: not worth a prepared statement of each connection.
        out.unsafe_to_cache_prepared();
        out.push_sql("/* diesel-postgres-hot-upgrade: check and look */ SELECT ");
        out.push_sql(sees_the_present(self.in_transaction));
        if let Some(mark) = self.mark {
            for sql in [", ", &catalog_changes_since(mark.oldest_open), ", ", OBJECTS, ", ", VANISHED_STATEMENTS] {
                out.push_sql(sql);
            }
        } else {
            out.push_sql(", 0::pg_catalog.int8, 0::pg_catalog.int8, 0::pg_catalog.int8");
        }
        // The microseconds since the message came, as the condition was evaluated before.
        out.push_sql(
            ", (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) \
             pg_catalog.statement_timestamp()) OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8 \
             WHERE ",
        );
        out.push_sql(&self.condition);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_written_to_the_microsecond() {
        assert_eq!(timestamptz(0), "pg_catalog.to_timestamp(946684800.000000)");
        assert_eq!(timestamptz(848_693_014_727_978), "pg_catalog.to_timestamp(1795377814.727978)");
        assert_eq!(timestamptz(-1), "pg_catalog.to_timestamp(946684799.999999)");
    }
}
