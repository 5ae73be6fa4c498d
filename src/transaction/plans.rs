//! Plans that are out of date, where it costs no further round trip to ask, or where a pooler has them.

use std::sync::Arc;

use diesel::connection::{AnsiTransactionManager, CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel::result::Error;

use crate::catalog::database::Database;
use crate::connection::caches::{self, StatementCache};
use crate::connection::transaction_state::{TransactionState, is_broken, refresh, roll_back, rolls_back, status};
use crate::connection::{notes, statements};
use crate::probe::identify::Level;
use crate::probe::plans::roll_back_and_ask_text;
use crate::report::{log, warnings};
use crate::synchronize::filled_from;

/// What the message found out that rolled a transaction back.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// It did not ask.
    Nothing,
    /// It did not ask, since no statement was prepared by name: none can be out of date.
    Unnamed,
    /// No statement is out of date.
    Fine,
    /// Statements may be out of date.
    Suspect,
    /// The same, and the pooler's server connection is still held.
    SuspectAndHeld(Option<Arc<Database>>),
}

/// Is the statement cache suspended? Then no statement is prepared by name, and none can be out of date.
pub(crate) fn is_unnamed(conn: &mut PgConnection) -> bool {
    notes::lasting(conn).suspended_cache.is_some()
}

/// What is asked after a statement failed that aborted its transaction.
pub(crate) fn roll_back_aborted(conn: &mut PgConnection) -> QueryResult<Asked> {
    if is_unnamed(conn) {
        roll_back(conn).map(|()| Asked::Unnamed)
    } else if notes::is_prepared_by_pooler(conn) {
        roll_back_and_ask(conn)
    } else {
        roll_back(conn).map(|()| Asked::Nothing)
    }
}

/// Rolls back the transaction that is open, and asks in the same message whether prepared statements may be out of
/// date. Behind a pooler that prepares statements, it also asks about those that it keeps on this server connection.
pub(crate) fn roll_back_and_ask(conn: &mut PgConnection) -> QueryResult<Asked> {
    let database = filled_from(conn).map(|snapshot| Arc::clone(&snapshot.database));
    if is_unnamed(conn)
        || notes::is_refused(conn)
        || database.as_ref().is_none_or(|database| !database.may_ask_for_changes())
    {
        return roll_back(conn).map(|()| Asked::Nothing);
    }
    let is_pooled = notes::is_prepared_by_pooler(conn);
    let state = database.as_ref().and_then(|database| database.catalog_state());
    let prepared_since = is_pooled.then(|| state.map_or(i64::MAX, |state| state.since));
    rolls_back(conn);
    let text = roll_back_and_ask_text(notes::mark(conn), prepared_since);
    let asked = conn.batch_execute(&text);
    if asked.is_ok() {
        return Ok(Asked::Fine);
    }
    match refresh(conn) {
        TransactionState::NoTransaction => Ok(Asked::Suspect),
        TransactionState::Aborted if is_pooled => Ok(Asked::SuspectAndHeld(database)),
        TransactionState::Lost => Err(asked.err().unwrap_or(Error::BrokenTransactionManager)),
        TransactionState::Open | TransactionState::Aborted => roll_back(conn).map(|()| Asked::Nothing),
    }
}

/// Heals the server connection that is held, and the client's. The connection is *unknown* afterwards. False if nothing
/// was out of date. Nothing is held any more.
pub(crate) fn heal_held(conn: &mut PgConnection, database: Option<&Database>) -> QueryResult<bool> {
    rolls_back(conn);
    let healed = conn.batch_execute("/* diesel-postgres-hot-upgrade: begin */ ROLLBACK; BEGIN").and_then(|()| {
        let healed = heal_in_transaction(conn, database)?;
        conn.batch_execute("/* diesel-postgres-hot-upgrade: commit */ COMMIT")?;
        Ok(healed)
    });
    if healed.is_err() && !is_broken(conn) {
        roll_back(conn)?;
    }
    healed
}

/// More server connections are healed when they are met.
const MAX_HEALED_AT_ONCE: usize = 32;

/// If a statement failed outside of a transaction, it is not known on which server connection of the pooler. Heals
/// those that the pooler gives, until it gives one that is fine.
pub(crate) fn heal_all(conn: &mut PgConnection, database: &Database) -> QueryResult<()> {
    for _ in 0..MAX_HEALED_AT_ONCE {
        if !heal_next(conn, database)? {
            break;
        }
    }
    Ok(())
}

fn heal_next(conn: &mut PgConnection, database: &Database) -> QueryResult<bool> {
    AnsiTransactionManager::begin_transaction_sql(conn, "/* diesel-postgres-hot-upgrade: begin */ BEGIN")?;
    let healed = heal_in_transaction(conn, Some(database)).and_then(|healed| {
        conn.batch_execute("/* diesel-postgres-hot-upgrade: commit */ COMMIT")?;
        Ok(healed)
    });
    if healed.is_err() && !is_broken(conn) {
        roll_back(conn)?;
    }
    healed
}

fn heal_in_transaction(conn: &mut PgConnection, database: Option<&Database>) -> QueryResult<bool> {
    let plans = statements::plans(conn)?;
    let is_changed = notes::mark(conn).differs(plans.mark());
    let is_stale = database.is_none_or(|database| plans.oldest < database.saw(plans.state));
    let follows = database.is_some_and(|database| database.pooler_follows() != Some(false));
    if !is_changed && !(is_stale && (follows || notes::may_rerun_in_vain(conn))) {
        if let Some(database) = database {
            database.has_not_changed(plans.took);
        }
        return Ok(false);
    }
    statements::ping(conn)?;
    caches::empty(conn, Level::Mute, StatementCache::Suspended)?;
    if let Some(database) = database.filter(|_| is_stale && follows) {
        deallocate_all(conn, database)?;
    }
    notes::set_mark(conn, plans.mark());
    Ok(true)
}

/// Deallocates what the pooler keeps on the server connection that is held. PgBouncer notices that from 1.22 on, and
/// prepares the statements again when clients use them. Any other pooler would go on using them: that is found out
/// while nobody else can use this server connection. Then it is never given back: the pooler closes a server
/// connection whose client leaves in the middle of a transaction.
fn deallocate_all(conn: &mut PgConnection, database: &Database) -> QueryResult<()> {
    let noticed = try_to_deallocate_all(conn);
    if noticed.is_err() {
        status(conn).set_in_error();
        database.set_pooler_follows(false);
        warnings::that_pooler_does_not_follow();
        return noticed;
    }
    database.set_pooler_follows(true);
    notes::change_lasting(conn, |lasting| lasting.resets = lasting.resets.map(|_| 0));
    log::note(format_args!(
        "a server connection of the pooler had statements that may be out of date: deallocated"
    ));
    Ok(())
}

fn try_to_deallocate_all(conn: &mut PgConnection) -> QueryResult<()> {
    conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
    statements::use_kept(conn)?;
    let deallocated = conn.batch_execute("/* diesel-postgres-hot-upgrade: deallocate */ DEALLOCATE ALL");
    // It gets another name from Diesel.
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
    let used = deallocated.and_then(|()| statements::use_kept(conn));
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    used
}
