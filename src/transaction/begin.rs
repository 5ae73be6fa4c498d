//! `BEGIN` and the check in one round trip. A pooler pins the server connection to the transaction, so what the check
//! says of the server holds until `COMMIT`.

use std::borrow::Cow;
use std::sync::Arc;

use diesel::connection::AnsiTransactionManager;
use diesel::pg::GetPgMetadataCache;
use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::server::SearchPath;
use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::{Scope, Snapshot};
use crate::catalog::table::OID_TABLE;
use crate::connection::caches;
use crate::connection::transaction_state::{is_broken, mark, roll_back};
use crate::connection::{notes, statements};
use crate::probe::check::{begin_and_check_text, is_refusal};
use crate::probe::lost_attempt::{Lock, is_still_there};
use crate::probe::session;
use crate::probe::writes::Writes;
use crate::report::stats::COUNTERS;
use crate::synchronize::{
    NewTypes, Start, filled_from, mark_if_unfit, moved_to_latest, synchronize, synchronize_from,
};

/// How a transaction begins.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) sql: Cow<'static, str>,
    /// What has to run before the first query.
    pub(crate) before_probe: Option<String>,
    /// Taken before anything else is queried, or with the check, if the role may.
    pub(crate) lock: Option<Lock>,
    /// If the connection is lost, the transaction runs again on another one.
    pub(crate) others: Others,
}

/// What there is besides the connection of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// Nothing: the caller has this connection.
    None,
    /// Other connections, to which a transaction moves if this one is lost.
    IfLost,
    /// The same, and also if the server took writes before, and takes none of these any more.
    IfLostOrWithout(Writes),
}

impl Begin {
    pub(crate) const PLAIN: Begin =
        Begin { sql: Cow::Borrowed("BEGIN"), before_probe: None, lock: None, others: Others::None };

    /// The message without a check.
    pub(crate) fn message(&self, lock: Option<Lock>) -> String {
        let mut message = self.sql.clone().into_owned();
        let lock = lock.map(|lock| format!("SELECT {}", lock.sql()));
        for sql in self.before_probe.iter().chain(&lock) {
            // What a user wrote may end with a comment.
            message += &format!("\n; {sql}");
        }
        message
    }
}

/// A transaction that has begun. What is filled for it must not outlive it.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The session's, which is back when the transaction ends. `None` if it is not known.
    path: Option<SearchPath>,
}

/// What a transaction leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing that concerns its end.
    Nothing,
    /// The caches were filled for it alone. The statement cache stays suspended if it is: the next transaction may well
    /// be another tenant's.
    Oids,
    /// The caches are the session's, and the statement cache may be on.
    ForTheSession,
}

impl Begun {
    pub(crate) const OF_UNKNOWN_PATH: Begun = Begun { path: None };

    pub(crate) fn with_path_of(snapshot: Option<Arc<Snapshot>>) -> Self {
        Begun { path: snapshot.map(|snapshot| snapshot.place.path.clone()) }
    }

    /// What it leaves in the caches of a connection, whichever driver it belongs to.
    pub(crate) fn left(&self, memory: &mut impl GetPgMetadataCache) -> Left {
        if notes::is_refused(memory) {
            return Left::Nothing;
        }
        match notes::snapshot(memory).and_then(|id| OID_TABLE.get(id)) {
            Some(snapshot)
                if snapshot.scope != Scope::Transaction && Some(&snapshot.place.path) == self.path.as_ref() =>
            {
                if snapshot.is_uncertain() {
                    Left::Nothing
                } else {
                    Left::ForTheSession
                }
            }
            _ => Left::Oids,
        }
    }

    /// Forgets what the caches were filled with for this transaction alone. No round trip.
    pub(crate) fn leave(&self, conn: &mut PgConnection) {
        match self.left(conn) {
            Left::Nothing => {}
            Left::Oids => caches::forget_oids(conn),
            Left::ForTheSession => caches::restore_statement_cache(conn),
        }
    }
}

/// Begins a transaction on a server that the connection's caches agree with, and that fits what the pool accepts. One
/// round trip if nothing changed.
pub(crate) fn begin(conn: &mut PgConnection, how: &Begin) -> QueryResult<Begun> {
    notes::set_unfit(conn, false);
    begin_unmarked(conn, how).map_err(|error| {
        let error = unfit_instead(conn, error);
        mark_if_unfit(conn, &error);
        error
    })
}

/// `BEGIN`, or SQL of the application, may have failed before the server was checked because it does not fit: a `LOCK`,
/// for example, on a standby. One round trip after such an error, if not every server fits.
fn unfit_instead(conn: &mut PgConnection, error: Error) -> Error {
    if is_broken(conn) || Unfit::of(&error).is_some() {
        return error;
    }
    match statements::require_fit(conn) {
        Err(unfit) if Unfit::of(&unfit).is_some() => unfit,
        _ => error,
    }
}

fn begin_unmarked(conn: &mut PgConnection, how: &Begin) -> QueryResult<Begun> {
    if notes::is_refused(conn) {
        let and_requirement = and_requirement(conn);
        let message = how.message(permitted_lock(conn, how));
        send_begin(conn, &format!("{message}{and_requirement}"))?;
        caches::forget_all(conn);
        return Ok(Begun::OF_UNKNOWN_PATH);
    }
    if how.before_probe.is_none() {
        begin_verified(conn, how)?;
        return Ok(Begun::with_path_of(filled_from(conn)));
    }
    if moved_to_latest(conn).is_none() {
        synchronize(conn)?;
    }
    let begun = Begun::with_path_of(filled_from(conn));
    begin_and_synchronize(conn, how, Start::Check)?;
    Ok(begun)
}

/// If the caches do not agree, they are corrected outside a transaction, so that this connection may wait for another
/// connection's catalog load. If the next transaction meets yet another server, they are corrected inside it, where the
/// answer stays true: if two servers alternate, rolling back and asking again might never end.
fn begin_verified(conn: &mut PgConnection, how: &Begin) -> QueryResult<()> {
    let start = match begin_and_check(conn, how)? {
        Checked::Begun => return Ok(()),
        Checked::Not(start) => start,
    };
    if start != Start::Distrust {
        synchronize_from(conn, start)?;
        if let Checked::Begun = begin_and_check(conn, how)? {
            return Ok(());
        }
    }
    begin_and_synchronize(conn, how, Start::Distrust)
}

/// The lock, unless the server that the connection knows has refused it.
fn permitted_lock(conn: &mut PgConnection, how: &Begin) -> Option<Lock> {
    let refusing = notes::may_not_lock_on(conn);
    how.lock.filter(|_| refusing.is_none_or(|server| server != known_server(conn)))
}

/// The number of the server that the caches agree with. 0 if that is not known.
pub(crate) fn known_server(conn: &mut PgConnection) -> u64 {
    filled_from(conn).map_or(0, |snapshot| snapshot.place.identity.number())
}

enum Checked {
    Begun,
    /// No transaction is open. Go on from there.
    Not(Start),
}

/// Begins a transaction if the caches agree with the server that answers, and if it can be asked.
fn begin_and_check(conn: &mut PgConnection, how: &Begin) -> QueryResult<Checked> {
    let Some(known) = moved_to_latest(conn) else {
        return Ok(Checked::Not(Start::Check));
    };
    if OID_TABLE.alternation.concerns(&known.place.identity, notes::emptied_at(conn)) {
        return Ok(Checked::Not(Start::Distrust));
    }
    let look = match NewTypes::since(&known, false, false) {
        NewTypes::None => None,
        NewTypes::Unknown(look) => Some(look),
        NewTypes::Found => return Ok(Checked::Not(Start::Check)),
    };
    COUNTERS.probes.increment();
    let wanted = notes::lasting(conn).wanted;
    let lock = permitted_lock(conn, how);
    match send_begin(conn, &begin_and_check_text(&how.sql, &known, wanted, look.is_some(), lock)) {
        Ok(()) => {
            if let Some(look) = look {
                look.found_nothing_new(None);
            }
            caches::fill_again_if_uncertain(conn, &known);
            Ok(Checked::Begun)
        }
        Err(error) if is_broken(conn) || is_still_there(&error) => Err(error),
        Err(error) if Unfit::of(&error).is_some() => Err(error),
        Err(error) if is_refusal(&error) => Ok(Checked::Not(Start::Refused { looked: look.is_some() })),
        Err(_) => Ok(Checked::Not(Start::Check)),
    }
}

fn begin_and_synchronize(conn: &mut PgConnection, how: &Begin, start: Start) -> QueryResult<()> {
    let lock = permitted_lock(conn, how);
    send_begin(conn, &how.message(lock))?;
    let synchronized = synchronize_from(conn, start).and_then(|_| match permitted_lock(conn, how) {
        // Another server answers than the one that refuses it.
        Some(left_out) if lock.is_none() => statements::take(conn, left_out),
        _ => Ok(()),
    });
    if synchronized.is_err() {
        Begun::OF_UNKNOWN_PATH.leave(conn);
        if !is_broken(conn) {
            roll_back(conn)?;
        }
    }
    synchronized
}

/// What fails if the server does not fit, to go on a message of a user's SQL, which may end with a comment.
fn and_requirement(conn: &mut PgConnection) -> String {
    match notes::lasting(conn).wanted {
        TargetSessionAttrs::Any => String::new(),
        wanted => format!("\n; {}", session::requirement(wanted)),
    }
}

/// Marks the transaction, so that its end, and who begins savepoints in it, is known. If it fails, no transaction is
/// open.
fn send_begin(conn: &mut PgConnection, sql: &str) -> QueryResult<()> {
    let sql = format!("/* diesel-postgres-hot-upgrade: begin */ {sql}");
    if let Err(error) = AnsiTransactionManager::begin_transaction_sql(conn, &sql) {
        if !is_broken(conn) {
            // The server aborted the transaction, of which Diesel doesn't know.
            roll_back(conn)?;
        }
        let wanted = notes::lasting(conn).wanted;
        return Err(session::unfit(wanted, &error).map_or(error, Error::from));
    }
    mark(conn);
    notes::change_lasting(conn, |lasting| lasting.own_depth = 0);
    Ok(())
}
