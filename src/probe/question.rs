//! The probe with as little work for the server as it can be: a snapshot as constants, and an answer that is yes or no.
//! Where it is no, or can't be had, the [`probe`](crate::probe) asks what it is then.

use diesel::data_types::PgTimestamp;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Oid, Text, Timestamptz};

use crate::catalog::horizon::Horizon;
use crate::catalog::joined;
use crate::catalog::server::{PgStart, Server};
use crate::catalog::snapshot::Snapshot;
use crate::catalog::watch::Watch;
use crate::connection::transaction_state::is_broken;
use crate::probe::identity::Level;
use crate::probe::look::{push_element_of_this_start, push_is_newest_oid};

/// For a message with other commands in it, which can have no binds: returns a row if `watch` holds, and fails
/// otherwise, which is all that Diesel shows of such a message's result.
///
/// It does not look for types that are in nobody's watch. Where the server tells when it started, those can't be of
/// another server; and where one of them moves, statements fail, and the transaction is healed. `None` elsewhere.
pub(crate) fn text(watch: &Watch) -> Option<String> {
    if !can_be_asked(watch) {
        return None;
    }
    let hash = watch.snapshot.hashed_names()?;
    let [before, after] = hash_function(watch.snapshot.server());
    let oids = watch.snapshot.watched_oids_text();
    let starts = joined(watch.holds.iter().filter_map(|(started, _)| *started).map(timestamptz));
    // A cast that fails would be simpler than a setting that does not exist, but anybody may have defined another one.
    Some(format!(
        "/* diesel-postgres-hot-upgrade: probe */ SELECT CASE \
         WHEN {START}{EQUALS}ANY (ARRAY[{starts}]) AND {before}{SHOWN}{oids}{SHOWN_END}{after}{EQUALS}'{hash}' \
         THEN '' ELSE pg_catalog.current_setting(\
         'diesel-postgres-hot-upgrade begins this transaction anew, for other types or another server') END"
    ))
}

/// Does `watch` hold, and was no table or type created since somebody last asked? One round trip, outside a transaction.
/// `false` also where that can't be told so simply.
pub(crate) fn is_answered_yes(conn: &mut PgConnection, watch: &Watch) -> QueryResult<bool> {
    let Some(question) = Question::about(watch).filter(Question::can_be_yes) else {
        return Ok(false);
    };
    question.execute(conn).map(|rows| rows == 1)
}

/// One that holds nowhere any more has no start to compare.
fn can_be_asked(watch: &Watch) -> bool {
    watch.snapshot.server().is_identified() && !watch.holds.is_empty()
}

/// The OIDs are constants of its text, so a snapshot has a prepared statement of its own, or two: what else may change
/// while the snapshot holds is a bind.
struct Question<'a> {
    snapshot: &'a Snapshot,
    /// When the servers started on which the snapshot holds, nearly always one.
    starts: Vec<PgTimestamp>,
    /// In the same order. `None` where new types are of no interest.
    settled_oids: Option<Vec<u32>>,
}

impl<'a> Question<'a> {
    fn about(watch: &'a Watch) -> Option<Self> {
        if !can_be_asked(watch) {
            return None;
        }
        let (starts, settled_oids) = watch.by_start(Horizon::settled_oid);
        let settled_oids = (!watch.snapshot.has_all_tracked()).then_some(settled_oids);
        Some(Question { snapshot: &watch.snapshot, starts, settled_oids })
    }

    fn can_be_yes(&self) -> bool {
        self.settled_oids.as_ref().is_none_or(|oids| oids.iter().any(|oid| *oid != Horizon::UNSETTLED))
    }
}

const START: &str = "pg_catalog.pg_postmaster_start_time()";

const EQUALS: &str = " OPERATOR(pg_catalog.=) ";

/// Before and after the OIDs: what the server shows of its database and their types.
const SHOWN: &str = "pg_catalog.concat(pg_catalog.current_database(), '";

const SHOWN_END: &str = "'::pg_catalog.oid[]::pg_catalog.regtype[])";

impl Query for Question<'_> {
    type SqlType = diesel::sql_types::Integer;
}

impl RunQueryDsl<PgConnection> for Question<'_> {}

impl QueryId for Question<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Question<'_> {
    /// One row where the answer is yes, none where it is no. Everything in it exists on every server, of whatever
    /// version: it must not fail on another one.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("/* diesel-postgres-hot-upgrade: probe */ SELECT 1 WHERE ");
        out.push_sql(START);
        out.push_sql(EQUALS);
        if let [start] = &self.starts[..] {
            out.push_bind_param::<Timestamptz, _>(start)?;
        } else {
            out.push_sql("ANY (");
            out.push_bind_param::<Array<Timestamptz>, _>(&self.starts)?;
            out.push_sql(")");
        }
        for sql in [" AND ", SHOWN, self.snapshot.watched_oids_text(), SHOWN_END, EQUALS] {
            out.push_sql(sql);
        }
        out.push_bind_param::<Text, _>(self.snapshot.shown())?;
        let Some(settled_oids) = &self.settled_oids else {
            return Ok(());
        };
        out.push_sql(" AND ");
        push_is_newest_oid(&mut out, |out| match &settled_oids[..] {
            [settled_oid] => out.push_bind_param::<Oid, _>(settled_oid),
            _ => push_element_of_this_start(out, settled_oids, &self.starts, Level::Identified),
        })
    }
}

/// SQL that every `DateStyle` reads alike, and that is computed when the statement is planned. A double holds a time of
/// these centuries to a quarter of a microsecond.
fn timestamptz(start: PgStart) -> String {
    const SECONDS_FROM_1970_TO_2000: i64 = 946_684_800;
    let (seconds, microseconds) = (start.div_euclid(1_000_000), start.rem_euclid(1_000_000));
    format!("pg_catalog.to_timestamp({}.{microseconds:06})", seconds + SECONDS_FROM_1970_TO_2000)
}

/// Lets the server hash the names that it has to show, once for each snapshot, and outside a transaction, which a failure
/// would abort. One round trip then. Where it does not hash, the question can't be asked as a text.
pub(crate) fn learn_names(conn: &mut PgConnection, snapshot: &Snapshot) {
    if snapshot.was_hashed() || !snapshot.server().is_identified() {
        return;
    }
    let [before, after] = hash_function(snapshot.server());
    let hashed = sql::<Text>("/* diesel-postgres-hot-upgrade: hash */ ")
        .sql(before)
        .bind::<Text, _>(snapshot.shown())
        .sql("::pg_catalog.text")
        .sql(after);
    let hash = match diesel::select(hashed).get_result::<String>(conn) {
        Ok(hash) => Some(hash).filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit())),
        Err(_) if is_broken(conn) => return,
        Err(error) => {
            log::debug!("the server does not hash: {error}");
            None
        }
    };
    snapshot.set_hashed_names(hash);
}

/// SQL before and after what is to be hashed, to hexadecimal digits. PostgreSQL 10 has nothing better than MD5; a later
/// one may forbid that.
fn hash_function(server: &Server) -> [&'static str; 2] {
    if server.version() >= 110_000 {
        ["pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(", ", 'UTF8')), 'hex')"]
    } else {
        ["pg_catalog.md5(pg_catalog.convert_to(", ", 'UTF8'))"]
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use super::*;
    use crate::catalog::horizon::Horizon;
    use crate::catalog::horizon::tests::sighting;
    use crate::catalog::server::tests::server;
    use crate::catalog::watch::SnapshotId;

    fn watch(server: Server) -> Watch {
        let hold = (server.started, Horizon::first(&sighting(20_000, 700, 700)));
        let snapshot = Snapshot::new(server, Vec::new(), "{}", None);
        snapshot.set_hashed_names(Some("c0ffee".into()));
        Watch {
            id: SnapshotId(NonZeroU64::MIN),
            snapshot: Arc::new(snapshot),
            holds: vec![hold],
            is_private: false,
        }
    }

    #[test]
    fn a_server_that_tells_no_start_is_not_asked_in_passing() {
        assert!(text(&watch(server(7, 1, 120_022))).is_some());
        let mut unidentified = server(7, 1, 120_022);
        unidentified.started = None;
        assert_eq!(text(&watch(unidentified)), None, "its types that nobody watches may be another server's");
    }

    #[test]
    fn what_holds_on_no_server_any_more_is_not_asked() {
        let mut outdated = watch(server(7, 1, 120_022));
        outdated.holds.clear();
        assert_eq!(text(&outdated), None);
    }

    #[test]
    fn a_start_is_written_to_the_microsecond() {
        assert_eq!(timestamptz(0), "pg_catalog.to_timestamp(946684800.000000)");
        assert_eq!(timestamptz(848_693_014_727_978), "pg_catalog.to_timestamp(1795377814.727978)");
        assert_eq!(timestamptz(-1), "pg_catalog.to_timestamp(946684799.999999)");
    }
}
