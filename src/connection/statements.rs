//! Sends this crate's statements on a connection. What they are, and what their rows mean, is in `probe`.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::server::PgStart;
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::{Loaded, Question, Snapshot};
use crate::connection::notes;
use crate::connection::transaction_state::is_broken;
use crate::probe::check::{Check, CheckAndLook, Looked, Mark};
use crate::probe::identify::{self, Identified, Identify, Level, Prepared, Text};
use crate::probe::load::{self, Load};
use crate::probe::lost_attempt::{AS_THE_ROLE_THAT_LOGGED_IN, By, EndLostAttempt, Key, Lock, MayLock};
use crate::probe::plans::{AskPlans, Kept, Plans};
use crate::probe::session;
use crate::probe::writes::{Takes, Writes};

/// Does the snapshot hold, and does the server fit? One round trip.
pub(crate) fn check(conn: &mut PgConnection, snapshot: &Snapshot) -> QueryResult<bool> {
    let wanted = notes::lasting(conn).wanted;
    Check::of(snapshot, wanted).execute(conn).map(Check::decode)
}

/// Does the snapshot hold, does the server fit, and are there no other types? One round trip. With a `mark`, also: are
/// prepared statements out of date?
pub(crate) fn check_and_look(
    conn: &mut PgConnection,
    snapshot: &Snapshot,
    in_transaction: bool,
    mark: Option<Mark>,
) -> QueryResult<Looked> {
    let wanted = notes::lasting(conn).wanted;
    let row = CheckAndLook::of(snapshot, wanted, in_transaction, mark).get_result(conn).optional()?;
    Ok(CheckAndLook::decode(row, mark))
}

/// Asks which server answers, and what it shows of these types. One round trip. An
/// [`Unfit`](crate::catalog::session::Unfit) error if the server does not fit.
pub(crate) fn identify(conn: &mut PgConnection, question: &Question, level: Level) -> QueryResult<Identified> {
    let row = send_identify(conn, question, level, Text::First)?;
    require(conn, level, &row.3)?;
    Identified::decode(row)
}

/// Is the server there, and does it fit? One round trip, or two if not every server fits.
pub(crate) fn ping(conn: &mut PgConnection) -> QueryResult<()> {
    send_identify(conn, &Question::default(), Level::Mute, Text::First)?;
    require_fit(conn)
}

/// The error of a server that does not fit, if `fields`, which it said of itself, show that.
fn require(conn: &mut PgConnection, level: Level, fields: &[String]) -> QueryResult<()> {
    match notes::lasting(conn).wanted {
        TargetSessionAttrs::Any => Ok(()),
        wanted if level == Level::Identified => session::from_identity(fields)?.require(wanted),
        _ => require_fit(conn),
    }
}

/// Fails if the server does not fit, or does not say. One round trip, or none if every server fits.
pub(crate) fn require_fit(conn: &mut PgConnection) -> QueryResult<()> {
    let wanted = notes::lasting(conn).wanted;
    if wanted == TargetSessionAttrs::Any {
        return Ok(());
    }
    let answer = conn.batch_execute(&session::requirement(wanted));
    answer.map_err(|error| session::unfit(wanted, &error).map_or(error, Error::from))
}

/// Asks the connection whether it keeps prepared statements, for which Diesel has no getter: right after [`identify`]
/// or [`ping`] on that level, the statement is run again with another text under the same static `QueryId`, and what
/// comes back says which text ran. One round trip, which also says what the state of the catalog is.
///
/// Asked again at every reset, and remembered nowhere: the user may have changed it in between.
pub(crate) fn statement_cache(conn: &mut PgConnection, level: Level) -> QueryResult<Prepared> {
    send_identify(conn, &Question::default(), level, Text::Second).map(|row| Prepared::decode(row, level))
}

/// What the catalog and this server connection's statements are now. One round trip.
pub(crate) fn plans(conn: &mut PgConnection) -> QueryResult<Plans> {
    AskPlans.get_result(conn).map(Plans::decode)
}

/// Uses a statement that a pooler keeps. One round trip, and one to prepare it.
pub(crate) fn use_kept(conn: &mut PgConnection) -> QueryResult<()> {
    Kept.get_result::<i32>(conn).map(drop)
}

fn send_identify(
    conn: &mut PgConnection,
    question: &Question,
    level: Level,
    text: Text,
) -> QueryResult<identify::Row> {
    match level {
        Level::Identified => Identify::<{ identify::IDENTIFIED }> { question, text }.get_result(conn),
        Level::Unidentified => Identify::<{ identify::UNIDENTIFIED }> { question, text }.get_result(conn),
        Level::Mute => Identify::<{ identify::MUTE }> { question, text }.get_result(conn),
    }
}

/// Reads the catalog of the server that answers, if it fits, unless it is one of the `others`. One round trip.
pub(crate) fn load(
    conn: &mut PgConnection,
    level: Level,
    in_transaction: bool,
    others: &BTreeSet<PgStart>,
) -> QueryResult<Option<Loaded>> {
    let replicas = notes::lasting(conn).replicas;
    let load = Load::unless_started(others, level, in_transaction);
    let row: load::Row = load.clone().get_result(conn)?;
    require(conn, level, &row.1)?;
    load.decode(row, replicas)
}

/// Does the server take such writes? One round trip.
pub(crate) fn takes(conn: &mut PgConnection, writes: Writes) -> QueryResult<bool> {
    Takes(writes).get_result(conn)
}

/// Ends the sessions of a transaction's lost attempts, and returns how many there were. One round trip; four more if
/// the role that was `SET` may not.
pub(crate) fn end_lost_attempt(conn: &mut PgConnection, key: Key, by: By) -> QueryResult<usize> {
    let ended = EndLostAttempt { key, by }.execute(conn);
    if ended.is_ok() || is_broken(conn) {
        return ended;
    }
    conn.transaction(|conn| {
        conn.batch_execute(AS_THE_ROLE_THAT_LOGGED_IN)?;
        EndLostAttempt { key, by }.execute(conn)
    })
}

/// Takes the lock in the transaction that is open. One round trip.
pub(crate) fn take(conn: &mut PgConnection, lock: Lock) -> QueryResult<()> {
    conn.batch_execute(&format!("/* diesel-postgres-hot-upgrade: lock */ SELECT {}", lock.sql()))
}

/// May this role take the locks of [`Key`]? One round trip.
pub(crate) fn may_lock(conn: &mut PgConnection) -> QueryResult<bool> {
    MayLock.get_result::<i64>(conn).map(|yes| yes == 1)
}
