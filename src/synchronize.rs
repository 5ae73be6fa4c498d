//! The one path. Everything else in this crate only decides *when* to take it:
//!
//! 1. move to what other connections loaded of the same server, without a round trip
//! 2. check whether the snapshot holds: nearly always it does
//! 3. if not, identify the server, and find or load its snapshot
//! 4. empty the caches if they could be wrong, and fill them

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use crate::catalog::database::LookPermit;
use crate::catalog::server::{IdentifiedBy, Place};
use crate::catalog::snapshot::{Scope, Snapshot, SnapshotId};
use crate::catalog::table::{Claim, Current, LoadPermit, OID_TABLE};
use crate::connection::caches::{self, StatementCache};
use crate::connection::notes;
use crate::connection::transaction_state::{depth, is_broken, is_in_transaction, is_marked, refresh};
use crate::environment;
use crate::probe::check::{Looked, check, check_and_look};
use crate::probe::identify::{self, Identified, Level};
use crate::probe::load::load;
use crate::report::change::Change;
use crate::report::log::{self, printable};
use crate::report::observers::notice;
use crate::report::stats::COUNTERS;
use crate::report::warnings;

/// What [`synchronize`] found, and did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The server and its types are those that the connection's caches were filled from. At most, types that are new
    /// were added.
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
const MAX_CATCH_UPS: usize = 4;

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
    synchronize_from(conn, Start::Check)
}

/// What is known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing: nearly always a check is enough.
    Check,
    /// A check that traveled with `BEGIN` said no.
    Refused {
        /// It may have said so because of new types.
        looked: bool,
    },
    /// The connection is new, and most likely on the server that the pool's last one was filled from. (Not just any
    /// other connection: where another database or another search path looks the same, what changes later would be
    /// compared with that one.)
    New(Option<SnapshotId>),
    /// A statement failed: look for new types in any case.
    Failed,
    /// Servers take turns, so what Diesel looked up by itself may be of another one: empty the caches in any case.
    Distrust,
}

pub(crate) fn synchronize_from(conn: &mut PgConnection, start: Start) -> QueryResult<Outcome> {
    if !environment::is_on() {
        return Ok(Outcome::Unchanged);
    }
    let outcome = agree(conn, start);
    match &outcome {
        Ok(_) if !is_in_transaction(conn) && notes::snapshot(conn).is_some() => notes::set_verified(conn),
        Ok(Outcome::Unchanged) => {}
        // Inside a transaction, the caches may be right for it alone.
        Ok(_) => notes::forget_verified(conn),
        Err(_) => {
            notes::forget_verified(conn);
            // A pool, and whoever goes on, should know if the connection is lost.
            refresh(conn);
        }
    }
    outcome
}

/// The snapshot that the connection was filled from. What a transaction saw of itself says nothing once it has ended.
pub(crate) fn filled_from(conn: &mut PgConnection) -> Option<Arc<Snapshot>> {
    let snapshot = OID_TABLE.get(notes::snapshot(conn)?)?;
    (snapshot.scope != Scope::Transaction || is_in_transaction(conn)).then_some(snapshot)
}

/// The snapshot that the connection is filled from after it has moved to the latest one of its server, if it can without
/// a round trip. `None` if somebody has to ask.
pub(crate) fn moved_to_latest(conn: &mut PgConnection) -> Option<Arc<Snapshot>> {
    let known = filled_from(conn)?;
    match OID_TABLE.current(&known) {
        Current::Same => Some(known),
        Current::Newer(newer) if !caches::conflict(conn, &known, &newer) => {
            caches::fill(conn, &newer);
            Some(newer)
        }
        _ => None,
    }
}

/// Does the database have types that a snapshot has not?
pub(crate) enum NewTypes {
    /// No, or they are of no interest.
    None,
    /// It is not known: the caller looks.
    Unknown(LookPermit),
    /// Another connection has found some.
    Found,
}

impl NewTypes {
    /// What is known without a round trip. Inside a transaction it does not wait for another connection's look, which may
    /// itself wait for this transaction.
    pub(crate) fn since(snapshot: &Snapshot, in_transaction: bool, always_looks: bool) -> Self {
        if snapshot.content.has_all_tracked || snapshot.scope == Scope::Transaction {
            return NewTypes::None;
        }
        let database = OID_TABLE.database(&snapshot.place.identity);
        let due = match (always_looks, in_transaction) {
            (true, _) => Some(database.unannounced_look()),
            (false, true) => database.due_at_once(),
            (false, false) => database.due_after_waiting(),
        };
        match due {
            Some(permit) => NewTypes::Unknown(permit),
            None if database.has_digest(&snapshot.digest) => NewTypes::None,
            None => NewTypes::Found,
        }
    }
}

/// Is a snapshot what the server has?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    /// It may be another server, other names, or types that are new.
    NoOrIncomplete,
}

/// What a connection needs.
struct Found {
    /// `None` if the server does not tell its types, or is another one each time.
    snapshot: Option<Arc<Snapshot>>,
    /// What the role may ask the server.
    level: Level,
    /// The caches were emptied on the way.
    is_emptied: bool,
}

fn agree(conn: &mut PgConnection, start: Start) -> QueryResult<Outcome> {
    COUNTERS.probes.increment();
    if is_refused(conn) {
        guarded(conn, identify::ping)?;
        forget_all(conn);
        return Ok(Outcome::Primed);
    }
    let before = filled_from(conn);
    let asking = Asking {
        level: match &before {
            Some(before) if before.place.identity.by == IdentifiedBy::TypesAlone => Level::Unidentified,
            _ => Level::Identified,
        },
        in_transaction: is_in_transaction(conn),
        is_end_noticed: is_end_noticed(conn),
        always_looks: start == Start::Failed,
    };
    let agreed = guarded(conn, |conn| {
        let snapshot = asking.find(conn, before.as_ref(), start)?;
        let found = Found { snapshot, level: asking.level, is_emptied: false };
        // An error of this is no reason to ask again.
        Ok(asking.settle(conn, before.as_ref(), found, start))
    });
    match agreed {
        Ok(outcome) => outcome,
        Err(error) => {
            let found = asking.recover(conn, error)?;
            asking.settle(conn, before.as_ref(), found, start)
        }
    }
}

/// If nothing but its types tells a server from another one, a clone may have answered: what Diesel looked up by itself
/// is forgotten, and so is each statement. No round trip.
pub(crate) fn fill_again_if_told_apart_by_types(conn: &mut PgConnection, snapshot: &Snapshot) {
    if snapshot.place.identity.by == IdentifiedBy::TypesAlone {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        caches::forget_oids(conn);
        caches::fill(conn, snapshot);
    }
}

/// After a server has refused to tell its types, nothing is kept. It is asked for them again after a while.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Has the server just refused to tell its types?
pub(crate) fn is_refused(conn: &mut PgConnection) -> bool {
    notes::since_refused(conn).is_some_and(|elapsed| elapsed < REFUSED_FOR)
}

/// Nothing is known of the server, so nothing is kept. No round trip: the statement cache is suspended.
pub(crate) fn forget_all(conn: &mut PgConnection) {
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    caches::forget_oids(conn);
}

/// Diesel tells nobody when a transaction or a savepoint ends, so what was filled for it would outlive it.
const OTHER_SEARCH_PATH: &str = "synchronize found another search_path inside a transaction or savepoint that \
     diesel-postgres-hot-upgrade did not begin, so it can't tell when that path ends: use hot_transaction_with and \
     before_probe(\"SET LOCAL search_path = …\"), or set the path before the transaction begins";

/// Is the innermost transaction or savepoint one of which this crate notices the end? (A test transaction ends with its
/// connection.)
fn is_end_noticed(conn: &mut PgConnection) -> bool {
    let Ok(depth) = depth(conn) else {
        return false;
    };
    is_marked(conn) && (depth == 1 || depth == notes::lasting(conn).own_depth)
}

#[derive(Debug, Clone, Copy)]
struct Asking {
    level: Level,
    in_transaction: bool,
    /// This crate notices the end of the innermost transaction or savepoint.
    is_end_noticed: bool,
    always_looks: bool,
}

impl Asking {
    /// The snapshot of the server that answers now: the one from before, another one from the table, or loaded.
    fn find(
        self,
        conn: &mut PgConnection,
        before: Option<&Arc<Snapshot>>,
        start: Start,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let (mut asked, mut has_new_types) = match start {
            Start::New(likely) if before.is_none() => (likely.and_then(|id| OID_TABLE.get(id)), false),
            _ => (before.cloned(), false),
        };
        if let Some(before) = before {
            match OID_TABLE.current(before) {
                Current::Newer(newer) => asked = Some(newer),
                Current::Same => {}
                Current::Incomplete => has_new_types = true,
            }
        }
        // Inside a transaction, the search path is likely to be another one.
        let is_checked = before.is_some()
            && matches!(start, Start::Check | Start::Failed)
            && !has_new_types
            && !self.in_transaction;
        let would_conflict = |conn: &mut PgConnection, asked: &Arc<Snapshot>| {
            before.is_some_and(|before| before.id != asked.id && caches::conflict(conn, before, asked))
        };
        let mut was_refused = matches!(start, Start::Refused { looked: false });
        if let Some(asked) = asked.as_ref().filter(|_| is_checked) {
            if !would_conflict(conn, asked) {
                match self.holds(conn, asked)? {
                    Holds::Yes => return Ok(Some(Arc::clone(asked))),
                    Holds::No => was_refused = true,
                    Holds::NoOrIncomplete => {}
                }
            }
        }
        let found = self.identify_and_look_up(conn, asked, has_new_types)?;
        if let (true, Some(before), Some(found)) = (was_refused, before, &found) {
            if before.id == found.id {
                OID_TABLE.alternation.note_in_between(&before.place.identity);
            }
        }
        Ok(found)
    }

    fn new_types(self, snapshot: &Snapshot) -> NewTypes {
        NewTypes::since(snapshot, self.in_transaction, self.always_looks)
    }

    /// Does the snapshot hold, and is nothing new? One round trip.
    fn holds(self, conn: &mut PgConnection, snapshot: &Snapshot) -> QueryResult<Holds> {
        let permit = match self.new_types(snapshot) {
            NewTypes::None => {
                return check(conn, snapshot).map(|holds| if holds { Holds::Yes } else { Holds::No });
            }
            NewTypes::Found => return Ok(Holds::NoOrIncomplete),
            NewTypes::Unknown(permit) => permit,
        };
        match check_and_look(conn, snapshot, self.in_transaction)? {
            Looked::NothingNew { took, is_public } => {
                if is_public {
                    permit.found_nothing_new(Some(took));
                }
                Ok(Holds::Yes)
            }
            Looked::Otherwise => Ok(Holds::NoOrIncomplete),
        }
    }

    /// Two round trips, or one more if it is not clear whether types are new.
    fn identify_and_look_up(
        self,
        conn: &mut PgConnection,
        mut asked: Option<Arc<Snapshot>>,
        mut has_new_types: bool,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let replicas = notes::lasting(conn).replicas;
        for _ in 0..MAX_CATCH_UPS {
            let oids = asked.as_ref().map_or_else(Vec::new, |asked| asked.content.oids.clone());
            let Identified { server, shown } = identify::identify(conn, &oids, self.level)?;
            let place = server.place(replicas);
            if let Some(asked) = asked.as_ref().filter(|asked| !has_new_types && asked.holds(&place, &shown)) {
                match self.new_types(asked) {
                    NewTypes::None => return Ok(Some(Arc::clone(asked))),
                    NewTypes::Found => {}
                    NewTypes::Unknown(_) => {
                        if self.holds(conn, asked)? == Holds::Yes {
                            return Ok(Some(Arc::clone(asked)));
                        }
                        // The server has changed again, or types are new.
                        has_new_types = true;
                        continue;
                    }
                }
            }
            let refuted = asked.filter(|asked| asked.place == place).map(|asked| asked.id);
            match self.claim(&place, refuted) {
                Claim::Known(candidate) if candidate.content.oids == oids && candidate.holds(&place, &shown) => {
                    // The answer says so already. Only new types may be unknown.
                    if matches!(self.new_types(&candidate), NewTypes::None) {
                        return Ok(Some(candidate));
                    }
                    (asked, has_new_types) = (Some(candidate), false);
                }
                Claim::Known(candidate) => (asked, has_new_types) = (Some(candidate), false),
                Claim::Load(permit) => match self.load(conn, &place, permit)? {
                    Some(loaded) => return Ok(Some(loaded)),
                    None => (asked, has_new_types) = (None, false),
                },
                Claim::Busy => unreachable!("a claim that waits, or that does not, is settled"),
            }
        }
        log::note(format_args!(
            "the server changed {MAX_CATCH_UPS} times while it was being asked: caches stay empty"
        ));
        Ok(None)
    }

    /// Never waits inside a transaction: it pins the server connection that the one who loads may be waiting for.
    fn claim(self, place: &Place, refuted: Option<SnapshotId>) -> Claim<'static> {
        if !self.in_transaction {
            return OID_TABLE.claim_after_waiting(place, refuted);
        }
        match OID_TABLE.claim(place, refuted) {
            Claim::Busy => Claim::Load(LoadPermit::UNANNOUNCED),
            claim => claim,
        }
    }

    fn load(
        self,
        conn: &mut PgConnection,
        place: &Place,
        permit: LoadPermit<'_>,
    ) -> QueryResult<Option<Arc<Snapshot>>> {
        let (began, others) = (crate::catalog::clock::now(), OID_TABLE.other_starts(&place.identity));
        let replicas = notes::lasting(conn).replicas;
        let loaded = load(conn, self.level, replicas, self.in_transaction, &others)?;
        let snapshot = loaded.map(|loaded| OID_TABLE.insert(loaded, began));
        // User code, such as the log, is called with nothing held.
        drop(permit);
        if let Some(snapshot) = &snapshot {
            warnings::if_many_types(snapshot);
        }
        Ok(snapshot)
    }

    /// Makes the caches agree with what was found.
    fn settle(
        self,
        conn: &mut PgConnection,
        before: Option<&Arc<Snapshot>>,
        found: Found,
        start: Start,
    ) -> QueryResult<Outcome> {
        let Found { snapshot, level, is_emptied } = found;
        let Some(found) = snapshot else {
            if !is_emptied {
                caches::empty(conn, level, StatementCache::AsTheUserSetIt)?;
            }
            return Ok(Outcome::Primed);
        };
        notes::clear_refused(conn);
        let is_trusted = before.is_some() && !is_emptied && start != Start::Distrust;
        let is_told_apart_by_types = found.place.identity.by == IdentifiedBy::TypesAlone;
        if let Some(before) = before.filter(|before| is_trusted && before.place == found.place) {
            if before.id == found.id {
                fill_again_if_told_apart_by_types(conn, &found);
                return Ok(Outcome::Unchanged);
            }
            if !caches::conflict(conn, before, &found) {
                caches::fill(conn, &found);
                return Ok(Outcome::Unchanged);
            }
        }
        let has_other_path = before.is_some_and(|before| before.place.path != found.place.path);
        if self.in_transaction && !self.is_end_noticed {
            if has_other_path {
                return Err(Error::QueryBuilderError(OTHER_SEARCH_PATH.into()));
            }
            if before.is_none() {
                // It is not known whether the session has this path, or the transaction alone.
                caches::empty(conn, level, StatementCache::AsTheUserSetIt)?;
                return Ok(Outcome::Primed);
            }
        }
        if !is_emptied {
            let is_for_now = self.in_transaction && (has_other_path || start == Start::Distrust);
            let is_suspended = is_for_now || is_told_apart_by_types;
            let statements = if is_suspended { StatementCache::Suspended } else { StatementCache::AsTheUserSetIt };
            caches::empty(conn, level, statements)?;
        }
        caches::fill(conn, &found);
        let Some(before) = before else {
            return Ok(Outcome::Primed);
        };
        if before.place.identity != found.place.identity {
            OID_TABLE.alternation.note(&before.place.identity, &found.place.identity);
        }
        Ok(if before.id == found.id { Outcome::Primed } else { Outcome::Changed(notice(before, &found)) })
    }

    /// A question that failed on a living connection can mean that its own prepared statement is gone, or that this server
    /// allows less than the last one did: it is asked again with empty caches, and then with fewer permissions.
    fn recover(self, conn: &mut PgConnection, error: Error) -> QueryResult<Found> {
        let emptied = guarded(conn, |conn| {
            identify::ping(conn)?;
            caches::empty(conn, Level::Mute, StatementCache::Suspended)
        });
        if emptied.is_err() {
            return Err(error);
        }
        log::note(format_args!(
            "a probe failed on a living connection, whose caches were emptied: {}",
            printable(&error)
        ));
        for level in [Level::Identified, Level::Unidentified] {
            let asking = Asking { level, ..self };
            match guarded(conn, |conn| asking.identify_and_look_up(conn, None, false)) {
                Ok(snapshot) => {
                    if level == Level::Unidentified {
                        warnings::that_identity_is_refused();
                    } else {
                        caches::restore_statement_cache(conn);
                    }
                    return Ok(Found { snapshot, level, is_emptied: true });
                }
                Err(error) if !is_alive(conn, &error) => return Err(error),
                Err(error) => {
                    log::note(format_args!("the server does not answer this probe: {}", printable(&error)))
                }
            }
        }
        warnings::that_catalog_is_refused(&error);
        notes::set_refused(conn);
        Ok(Found { snapshot: None, level: Level::Mute, is_emptied: true })
    }
}

/// Runs questions so that their failure can't abort the transaction that they may be part of.
fn guarded<T>(
    conn: &mut PgConnection,
    questions: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    if is_in_transaction(conn) { conn.transaction(questions) } else { questions(conn) }
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
