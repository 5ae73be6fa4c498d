//! The one path. Everything else in this crate only decides *when* to take it:
//!
//! 1. move to what other connections loaded of the same server, without a round trip
//! 2. check whether the snapshot holds: nearly always it does
//! 3. if not, identify the server, and find or load its snapshot
//! 4. empty the caches if they could be wrong, and fill them

pub(crate) mod asking;
mod find;
pub(crate) mod settle;

use std::sync::Arc;

use diesel::pg::GetPgMetadataCache;
use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::session::{TargetSessionAttrs, Unfit};
use crate::catalog::snapshot::{Scope, Snapshot};
use crate::catalog::table::{Current, OID_TABLE};
use crate::connection::caches::{self, StatementCache};
use crate::connection::generation::Generation;
use crate::connection::transaction_state::{depth, guarded, is_in_transaction, is_marked, refresh};
use crate::connection::{notes, statements};
use crate::environment;
use crate::report::change::Change;
use crate::report::stats::COUNTERS;
use crate::report::warnings;
use crate::synchronize::asking::Asking;
use crate::synchronize::find::Found;
use crate::synchronize::settle::{Settled, decide, note_move, outcome};

pub(crate) use crate::synchronize::asking::{NewTypes, Start};

/// What [`synchronize`] found, and did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The server and its types are those that the connection's caches were filled from. At most, new types were added.
    Unchanged,
    /// It was unknown what the caches were filled from, as on a new connection. They were emptied, and filled with the
    /// OIDs of the server that answered. They stay empty if the server refuses to show its types.
    Primed,
    /// The server, its types, or the search path changed. The caches were emptied, and filled with the OIDs of the
    /// server that answered.
    Changed(Arc<Change>),
}

/// Makes a connection's caches agree with the server that answers now.
///
/// [`HotUpgradeManager`](crate::HotUpgradeManager) does this at every checkout, and
/// [`HotUpgradeCustomizer`](crate::HotUpgradeCustomizer) for every new connection. Call it yourself on a connection
/// that is in no pool, on a connection that is held for long, and after running migrations on a checked-out connection.
/// After `SET LOCAL search_path`, call it inside the closure of a verified transaction.
///
/// # Cost
///
/// | | round trips |
/// |---|---|
/// | nothing changed | 1, also if it looks for new types, once a second for each process and database |
/// | another server | 4 for the first connection of the process, which reads its catalog; 3 for the next |
/// | another server that was looked at for new types more than a second ago | 5, 4 |
/// | a type was re-created on the same server | 4 for the first connection of the process, 2 for each other one |
/// | a type was added on the same server | 5 for the first connection of the process, 1 for the others, as always |
/// | a new connection | 3, or 2 if a customizer fills it and it is not the first of its pool |
///
/// Inside a transaction, it always looks for new types, which the transaction may have created, and runs in a
/// savepoint: 4 if nothing changed. Preparing a statement is one more round trip, as for any query of Diesel's.
///
/// Nothing, and always [`Outcome::Unchanged`], if `DIESEL_POSTGRES_HOT_UPGRADE=off` is in the environment.
///
/// # Errors
///
/// - The error of the server or the network, if the connection can't be used. Drop it, as a pool does. A transaction
///   that is open stays usable.
/// - A [`QueryBuilderError`](Error::QueryBuilderError) that names `target_session_attrs`, if the connection is of a
///   pool that [accepts not every server](crate::HotUpgradeManager::target_session_attrs), and one that does not fit
///   answers. The pool drops the connection when it is given back.
/// - A [`QueryBuilderError`](Error::QueryBuilderError) that names
///   [`before_probe`](crate::HotTransactionBuilder::before_probe), if the search path is another one inside a
///   transaction or savepoint that this crate did not begin: Diesel does not say when it ends, so types of that path
///   would outlive it. For the same reason, one that names [`hot_transaction`](crate::HotUpgradeExt::hot_transaction),
///   if that transaction itself changed types.
///
/// A server that refuses to identify itself, or to show its types, is *not* an error. A warning is logged once. The
/// first is distinguished by its types alone; for the second, the caches are emptied at every call.
///
/// # What is compared
///
/// The server: when it started, whether it is in recovery, the file of `pg_type` (which names the database by its OID),
/// and the version. A restart, a promotion and a clone are other servers. Then the search path, and the names of the
/// watched types by their OIDs: base types, domains, enums, ranges, multiranges and stand-alone composites of the
/// database.
///
/// Not watched are row types of tables, temporary types, base types with an `ELEMENT`, and, before PostgreSQL 14,
/// domains over arrays. Diesel looks these up itself. Another server resets them too, but their re-creation alone goes
/// unnoticed.
///
/// A new type is noticed within the [freshness bound](crate::Stats::freshness_bound), usually one second. A type that
/// is created, used, moved and used again within that time can be wrong.
///
/// Diesel must know of an open transaction: if it was begun with a raw `BEGIN` in `batch_execute`, there is no
/// savepoint, and a failing check aborts it.
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
    let start = if is_in_transaction(conn) { Start::Inside } else { Start::Check };
    synchronize_from(conn, start)
}

pub(crate) fn synchronize_from(conn: &mut PgConnection, start: Start) -> QueryResult<Outcome> {
    if !environment::is_on() {
        return Ok(Outcome::Unchanged);
    }
    let generation = Generation::current();
    let outcome = agree(conn, start);
    match &outcome {
        Ok(_) if !is_in_transaction(conn) && notes::snapshot(conn).is_some() => {
            notes::set_verified(conn, generation);
        }
        Ok(Outcome::Unchanged) => {}
        // Inside a transaction, the caches may be correct for it alone.
        Ok(_) => notes::forget_verified(conn),
        Err(error) => {
            notes::forget_verified(conn);
            mark_if_unfit(conn, error);
            // A pool, and whoever goes on, should know if the connection is lost.
            refresh(conn);
        }
    }
    outcome
}

/// Marks the connection if that error says that its server does not fit `target_session_attrs`: its pool drops it.
pub(crate) fn mark_if_unfit(conn: &mut impl GetPgMetadataCache, error: &Error) {
    if let Some(unfit) = Unfit::of(error).filter(|_| !notes::is_unfit(conn)) {
        notes::set_unfit(conn, true);
        COUNTERS.unfit.increment();
        warnings::that_a_server_does_not_fit(unfit);
    }
}

/// The snapshot that the connection was filled from. What a transaction saw of itself says nothing once it has ended.
pub(crate) fn filled_from(conn: &mut PgConnection) -> Option<Arc<Snapshot>> {
    let in_transaction = is_in_transaction(conn);
    snapshot_of(conn, in_transaction)
}

/// The same of what a connection of any driver remembers.
pub(crate) fn snapshot_of(memory: &mut impl GetPgMetadataCache, in_transaction: bool) -> Option<Arc<Snapshot>> {
    let snapshot = OID_TABLE.get(notes::snapshot(memory)?)?;
    (snapshot.scope != Scope::Transaction || in_transaction).then_some(snapshot)
}

/// The snapshot that the connection is filled from after it has moved to the latest one of its server, if it can
/// without a round trip. `None` if the server has to be asked.
pub(crate) fn moved_to_latest(conn: &mut PgConnection) -> Option<Arc<Snapshot>> {
    let known = filled_from(conn)?;
    move_to_latest(conn, known)
}

pub(crate) fn move_to_latest(memory: &mut impl GetPgMetadataCache, known: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
    match OID_TABLE.current(&known) {
        Current::Same => Some(known),
        Current::Newer(newer) if !caches::conflict(memory, &known, &newer) => {
            caches::fill(memory, &newer);
            Some(newer)
        }
        _ => None,
    }
}

fn agree(conn: &mut PgConnection, start: Start) -> QueryResult<Outcome> {
    COUNTERS.probes.increment();
    if notes::is_refused(conn) {
        let accepts_all = notes::lasting(conn).wanted == TargetSessionAttrs::Any;
        guarded(conn, if accepts_all { statements::ping } else { statements::require_fit })?;
        caches::forget_all(conn);
        return Ok(Outcome::Primed);
    }
    let before = filled_from(conn);
    let asking = Asking::new(before.as_ref(), start, is_in_transaction(conn), is_end_noticed(conn));
    let agreed = guarded(conn, |conn| {
        let snapshot = asking.find(conn, before.as_ref(), start)?;
        let found = Found { snapshot, level: asking.level, is_emptied: false };
        // An error of this is no reason to ask again.
        Ok(settle(conn, asking, before.as_ref(), found, start))
    });
    match agreed {
        Ok(outcome) => outcome,
        // An answer that is no change of types.
        Err(error) if Unfit::of(&error).is_some() => Err(error),
        Err(error) => {
            let found = asking.recover(conn, error)?;
            settle(conn, asking, before.as_ref(), found, start)
        }
    }
}

/// Makes the caches agree with what was found.
fn settle(
    conn: &mut PgConnection,
    asking: Asking,
    before: Option<&Arc<Snapshot>>,
    found: Found,
    start: Start,
) -> QueryResult<Outcome> {
    let Found { snapshot, level, is_emptied } = found;
    let was_suspended = notes::lasting(conn).suspended_cache.is_some();
    match decide(conn, asking, before, snapshot, is_emptied, was_suspended, start)? {
        Settled::Held(found) => {
            caches::fill_again_if_uncertain(conn, &found);
            if !asking.in_transaction && !found.is_uncertain() {
                // It was suspended for a transaction before the last checkout.
                caches::restore_statement_cache(conn);
            }
            Ok(Outcome::Unchanged)
        }
        Settled::Grown(found) => {
            caches::fill(conn, &found);
            Ok(Outcome::Unchanged)
        }
        Settled::Unknown => {
            if !is_emptied {
                caches::empty(conn, level, StatementCache::AsTheUserSetIt)?;
            }
            Ok(Outcome::Primed)
        }
        Settled::Anew { found, is_suspended } => {
            note_move(before, &found);
            if !is_emptied {
                let statements =
                    if is_suspended { StatementCache::Suspended } else { StatementCache::AsTheUserSetIt };
                caches::empty(conn, level, statements)?;
            }
            caches::fill(conn, &found);
            notes::set_emptied(conn);
            Ok(outcome(before, &found))
        }
    }
}

/// Is the innermost transaction or savepoint one of which this crate notices the end? (A test transaction ends with its
/// connection.)
fn is_end_noticed(conn: &mut PgConnection) -> bool {
    let Ok(depth) = depth(conn) else {
        return false;
    };
    is_marked(conn) && (depth == 1 || depth == notes::lasting(conn).own_depth)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use diesel::connection::SimpleConnection;
    use diesel::pg::PgMetadataLookup;
    use diesel::sql_types::Oid;
    use testbed::Cluster;

    use super::*;
    use crate::HotUpgradeExt;
    use crate::catalog::clock::tests::advance;

    /// The OID that a value of the type would be bound with.
    fn bound(conn: &mut PgConnection) -> u32 {
        conn.lookup_type("mood", None).oid().expect("a type of that name")
    }

    fn named(conn: &mut PgConnection) -> u32 {
        diesel::select(diesel::dsl::sql::<Oid>("'mood'::regtype::oid"))
            .get_result(conn)
            .expect("a type of that name")
    }

    #[test]
    fn a_type_that_came_after_the_last_look_is_compared_after_an_hour_without_traffic() {
        let server = Cluster::shared(12);
        let database = format!("hour_{}", std::process::id());
        server.create_database(&database).expect("a database");
        let connect = || PgConnection::establish(&server.url(&database)).expect("a connection");
        let (mut plain, mut verified, mut stock, mut owner) = (connect(), connect(), connect(), connect());
        synchronize(&mut plain).expect("a first look");
        verified.hot_transaction(|_| QueryResult::Ok(())).expect("a first look");
        owner.batch_execute("CREATE TYPE mood AS ENUM ('happy')").expect("a type");
        let created = [&mut plain, &mut verified, &mut stock].map(bound);
        assert_eq!(created, [named(&mut owner); 3], "each has looked it up by itself");

        owner
            .batch_execute("ALTER TYPE mood RENAME TO old_mood; CREATE TYPE mood AS ENUM ('happy')")
            .expect("another type of that name");
        advance(Duration::from_secs(3600));

        synchronize(&mut plain).expect("a checkout");
        assert_eq!(bound(&mut plain), named(&mut owner));
        let in_transaction = verified.hot_transaction(|conn| QueryResult::Ok(bound(conn)));
        assert_eq!(in_transaction, Ok(named(&mut owner)));
        assert_ne!(bound(&mut stock), named(&mut owner), "the control");
    }
}
