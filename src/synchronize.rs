//! The one path: question, probe, reset, prime. Everything else in this crate only decides *when* to take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use crate::catalog::oid_table::{Claim, OID_TABLE};
use crate::catalog::server::Server;
use crate::catalog::watch::{SnapshotId, Watch};
use crate::connection::transaction_state::{is_broken, is_in_transaction, refresh};
use crate::connection::{caches, notes};
use crate::environment;
use crate::probe::compare::{self, Answer};
use crate::probe::identity::Level;
use crate::probe::{load, look, question};
use crate::report::change::{self, Change};
use crate::report::stats::COUNTERS;

/// What [`synchronize`] found, and did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The server and its types are those that the connection's caches were filled from. Nothing was touched.
    Unchanged,
    /// It was not known what the connection's caches were filled from, as on a new connection: they were emptied, and
    /// filled with the OIDs of the server that answered, or left empty if it did not tell them.
    Primed,
    /// The server, its types, or the schemas in which their names are looked up are others than before: the
    /// connection's caches were emptied, and filled with the OIDs of the server that answered.
    Changed(Arc<Change>),
}

/// How often a server may change while it is being asked, before the connection is left *unknown*: emptied, but not
/// filled, and asked again at the next checkout.
const MAX_CATCH_UPS: usize = 3;

/// Makes a connection's caches agree with the server that answers it now.
///
/// [`HotUpgradeManager`](crate::HotUpgradeManager) does this at every checkout and
/// [`HotUpgradeCustomizer`](crate::HotUpgradeCustomizer) for every new connection. Call it yourself on a connection
/// that is in no pool, on one that is held for long, after running migrations on a checked-out connection, and after
/// setting another `search_path`.
///
/// # Cost
///
/// One round trip where nothing changed. Two or three where a table or a type was created since somebody last asked, as
/// long as transactions are open that were open then, and once a minute for the process, unless every type that was named
/// to [`track`](crate::track) is there. Three for a new connection, two for those that a customizer fills after its first.
/// After a change four, or five where a type was created, of which one reads the catalog for the first connection of the
/// process. Inside a transaction each of them is wrapped in a savepoint, which costs two more. Preparing a statement is a
/// round trip of its own, as for any query of Diesel's.
///
/// Nothing, and always [`Outcome::Unchanged`], where `DIESEL_POSTGRES_HOT_UPGRADE=off` is in the environment.
///
/// # Errors
///
/// What the server or the network answered to the probe, where the connection can't be used: the caller should drop
/// it, as a pool does. A transaction that is open stays usable. Where the server refuses to tell who it is, this is
/// *not* an error: the caches are emptied at every call instead, and a warning is logged once.
///
/// # What is compared
///
/// Base types, domains, enums, ranges, multiranges and stand-alone composites of the database. Not the row types of
/// tables, temporary types, base types with an `ELEMENT`, nor, before PostgreSQL 14, domains over arrays: Diesel finds
/// these by itself, and they are forgotten when anything else changes, but not when they alone are re-created. Where a type moves from
/// one schema of the search path to another and keeps its name, its old schema-qualified name is still known.
///
/// Diesel must know of an open transaction: one that was begun with a raw `BEGIN` in `batch_execute` gets no savepoint,
/// and a failing probe aborts it.
///
/// # Example
///
/// ```no_run
/// use diesel::prelude::*;
/// use diesel_postgres_hot_upgrade::{Outcome, synchronize};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut conn = PgConnection::establish("postgres://app@pooler/app")?;
/// // … hours later, before the next batch of a long job:
/// if let Outcome::Changed(change) = synchronize(&mut conn)? {
///     println!("now on {}, {} types moved", change.to(), change.moved().len());
/// }
/// # Ok(())
/// # }
/// ```
pub fn synchronize(conn: &mut PgConnection) -> QueryResult<Outcome> {
    synchronize_from(conn, First::Question, None)
}

/// As [`synchronize`], where the [`question`] was answered with no.
pub(crate) fn synchronize_changed(conn: &mut PgConnection) -> QueryResult<Outcome> {
    synchronize_from(conn, First::Probe, None)
}

/// As [`synchronize`] for a new connection, which is most likely filled from the snapshot that the pool's last one was
/// filled from.
///
/// Not from that of just any other connection: where another database or another search path looks the same, what
/// changes later would be compared with that one.
pub(crate) fn synchronize_new(conn: &mut PgConnection, last: Option<SnapshotId>) -> QueryResult<Outcome> {
    synchronize_from(conn, First::Question, last)
}

/// What a connection is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Does its snapshot hold? Nearly always it does, so this is made to be cheap.
    Question,
    /// What is it then?
    Probe,
}

fn synchronize_from(conn: &mut PgConnection, first: First, likely: Option<SnapshotId>) -> QueryResult<Outcome> {
    if !environment::is_on() {
        return Ok(Outcome::Unchanged);
    }
    let outcome = agree(conn, first, likely);
    match &outcome {
        Ok(_) if !is_in_transaction(conn) && notes::snapshot(conn).is_some() => notes::set_verified(conn),
        Ok(Outcome::Unchanged) => {}
        // Inside a transaction, the caches may be right for it alone: a `SET LOCAL search_path`, for one.
        Ok(_) => notes::forget_verified(conn),
        Err(_) => {
            notes::forget_verified(conn);
            // A pool, and whoever goes on, should know if the connection is lost.
            refresh(conn);
        }
    }
    outcome
}

fn agree(conn: &mut PgConnection, first: First, likely: Option<SnapshotId>) -> QueryResult<Outcome> {
    let known = known_watch(conn);
    let (asked_about, first) = match &known {
        Some(known) => (Some(Arc::clone(known)), first),
        None => (likely.and_then(|id| OID_TABLE.get(id)).filter(|watch| watch.is_likely()), First::Probe),
    };

    let Asked { verdict, level, was_reset } = ask(conn, asked_about.as_deref(), first)?;
    let found = match verdict {
        Verdict::Holds => asked_about,
        Verdict::Differs(server) => look_up(conn, server, level, asked_about.as_deref())?,
        Verdict::Unknown => return Ok(Outcome::Primed),
    };
    let same_snapshot = matches!((&known, &found), (Some(known), Some(found)) if known.id == found.id);
    if same_snapshot && !was_reset {
        // Nothing, or a restart of the server, or a physical replica of it.
        return Ok(Outcome::Unchanged);
    }

    if !was_reset {
        guarded(conn, |conn| caches::reset(conn, level))?;
    }
    let Some(found) = found else {
        return Ok(Outcome::Primed);
    };
    caches::prime(conn, &found);
    Ok(match known {
        Some(known) if !same_snapshot => Outcome::Changed(change::notice(&known, &found)),
        _ => Outcome::Primed,
    })
}

/// The watch that the connection was filled from. What a transaction saw of itself says nothing once it has ended:
/// outside of one, it is unknown.
pub(crate) fn known_watch(conn: &mut PgConnection) -> Option<Arc<Watch>> {
    let watch = OID_TABLE.get(notes::snapshot(conn)?)?;
    (!watch.is_private || is_in_transaction(conn)).then_some(watch)
}

/// What is to be thought of a connection's snapshot.
enum Verdict {
    Holds,
    /// The server that answered is another one, or its types are.
    Differs(Server),
    /// The server tells nothing: the caches stay empty, which is slow but never wrong.
    Unknown,
}

struct Asked {
    verdict: Verdict,
    /// What the role may ask the server.
    level: Level,
    /// The caches were emptied on the way.
    was_reset: bool,
}

/// Asks whether `watch` holds. A probe that fails on a living connection can mean that its own prepared
/// statement is gone, or that this server allows less than the last one did: it is asked again with empty caches, and
/// then with fewer permissions.
fn ask(conn: &mut PgConnection, watch: Option<&Watch>, first: First) -> QueryResult<Asked> {
    COUNTERS.probes.increment();
    let level = match watch {
        Some(watch) if !watch.snapshot.server().is_identified() => Level::Unidentified,
        _ => Level::Identified,
    };
    // Inside a transaction the one statement that says all is cheaper: each is wrapped in a savepoint.
    let may_be_yes = first == First::Question && !is_in_transaction(conn);
    let answered = guarded(conn, |conn| match watch {
        Some(watch) if may_be_yes && question::is_answered_yes(conn, watch)? => Ok(Verdict::Holds),
        Some(watch) => is_still(conn, watch, level),
        None => compare::identify(conn, level).map(Verdict::Differs),
    });
    let error = match answered {
        Ok(verdict) => return Ok(Asked { verdict, level, was_reset: false }),
        Err(error) => error,
    };
    let emptied = guarded(conn, |conn| {
        compare::ping(conn)?;
        caches::reset(conn, Level::Mute)
    });
    if emptied.is_err() {
        return Err(error);
    }
    log::debug!("a probe failed on a living connection, whose caches were emptied: {error}");
    for level in [Level::Identified, Level::Unidentified] {
        match guarded(conn, |conn| compare::identify(conn, level)) {
            Ok(server) => {
                if level == Level::Unidentified {
                    warn_that_identity_is_refused();
                }
                return Ok(Asked { verdict: Verdict::Differs(server), level, was_reset: true });
            }
            Err(error) if !is_alive(conn, &error) => return Err(error),
            Err(error) => log::debug!("the server does not answer this probe: {error}"),
        }
    }
    warn_that_catalog_is_refused(&error);
    Ok(Asked { verdict: Verdict::Unknown, level: Level::Mute, was_reset: true })
}

/// Does `watch` hold on the server that answers now? One round trip, and a second one where a type or a table was
/// created since somebody last asked.
fn is_still(conn: &mut PgConnection, watch: &Watch, level: Level) -> QueryResult<Verdict> {
    match compare::ask(conn, watch, level)? {
        Answer::Same => return Ok(Verdict::Holds),
        Answer::Other(server) => return Ok(Verdict::Differs(server)),
        Answer::Grown if watch.snapshot.has_all_tracked() => return Ok(Verdict::Holds),
        Answer::Grown => {}
    }
    let in_transaction = is_in_transaction(conn);
    let (sighting, server) = look::look(conn, watch, level, in_transaction)?;
    let known_types = i64::try_from(watch.snapshot.types().len()).unwrap_or(i64::MAX);
    // The probe has compared the names. Only the server can be another one by now.
    match watch.horizon_on(&server).filter(|_| watch.snapshot.server().is_same_database(&server)) {
        Some(horizon) if sighting.types == known_types => {
            if !in_transaction {
                OID_TABLE.advance(watch.id, &server, horizon.after(&sighting));
            }
            Ok(Verdict::Holds)
        }
        _ => Ok(Verdict::Differs(server)),
    }
}

/// The snapshot of the server that answers now: from the table, verified with one more probe, or loaded. `None` if
/// the server can't be read, or is another one each time.
fn look_up(
    conn: &mut PgConnection,
    mut server: Server,
    level: Level,
    known: Option<&Watch>,
) -> QueryResult<Option<Arc<Watch>>> {
    let in_transaction = is_in_transaction(conn);
    let mut refuted: Vec<SnapshotId> = Vec::new();
    if let Some(known) = known.filter(|known| known.holds_on(&server)) {
        // It did hold there, and does not any more.
        refute(known, &server, in_transaction, &mut refuted);
    }
    for _ in 0..MAX_CATCH_UPS {
        // Never wait inside a transaction: it pins the server connection that the one who loads may be waiting for.
        let claim = if in_transaction {
            OID_TABLE.find(&server, &refuted).map_or(Claim::Load(None), Claim::Known)
        } else {
            OID_TABLE.find_or_claim(&server, &refuted)
        };
        let candidate = match claim {
            Claim::Known(candidate) => candidate,
            Claim::Load(_permit) => {
                let others = OID_TABLE.other_starts(&server);
                match guarded(conn, |conn| load::load(conn, level, in_transaction, &others)) {
                    Ok(Some(loaded)) => {
                        return Ok(Some(OID_TABLE.insert(loaded.snapshot, loaded.horizon, loaded.is_own)));
                    }
                    Ok(None) => continue,
                    Err(error) if !is_alive(conn, &error) => return Err(error),
                    Err(error) => {
                        warn_that_catalog_is_refused(&error);
                        return Ok(None);
                    }
                }
            }
        };
        match guarded(conn, |conn| is_still(conn, &candidate, level))? {
            Verdict::Holds => return Ok(Some(candidate)),
            Verdict::Unknown => return Ok(None),
            Verdict::Differs(now) => {
                if now == server {
                    refute(&candidate, &server, in_transaction, &mut refuted);
                }
                server = now;
            }
        }
    }
    log::debug!("the server changed {MAX_CATCH_UPS} times while it was being asked: caches stay empty");
    Ok(None)
}

/// A transaction may see it otherwise than all others do: what it finds wrong may hold for them.
fn refute(watch: &Watch, server: &Server, in_transaction: bool, refuted: &mut Vec<SnapshotId>) {
    refuted.push(watch.id);
    if !in_transaction {
        OID_TABLE.refute(watch.id, server);
    }
}

/// Runs a question so that its failure can't abort the transaction that it may be part of.
fn guarded<T>(
    conn: &mut PgConnection,
    question: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    if is_in_transaction(conn) { conn.transaction(question) } else { question(conn) }
}

/// Can this connection still be asked something?
fn is_alive(conn: &mut PgConnection, error: &Error) -> bool {
    let is_gone = matches!(
        error,
        Error::BrokenTransactionManager
            | Error::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _
            )
    );
    !is_gone && !is_broken(conn)
}

// The log is user code: it is called with nothing locked, so not by a `Once`.

fn warn_that_identity_is_refused() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!(
            "this role could not ask the server who it is, so servers are told apart by their types alone, which \
             knows less; to mend it, GRANT EXECUTE ON FUNCTION pg_catalog.pg_postmaster_start_time(), \
             pg_catalog.pg_control_system() to it"
        );
    }
}

fn warn_that_catalog_is_refused(error: &Error) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!(
            "a server did not tell which types it has, so the caches of its connections are emptied at every \
             checkout until it does, which is slow but never wrong: {error}"
        );
    }
}
