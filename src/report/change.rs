//! What moved between two servers, and who is told.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lazy_static::lazy_static;

use crate::catalog::server::Server;
use crate::catalog::snapshot::{PgType, Snapshot};
use crate::catalog::watch::{SnapshotId, Watch};
use crate::report::stats::COUNTERS;

/// A type's name, with the schema it is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeName {
    schema: String,
    name: String,
}

impl TypeName {
    fn of(ty: &PgType) -> Self {
        TypeName { schema: ty.schema.clone(), name: ty.name.clone() }
    }

    /// The schema's name, unquoted.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The type's name, unquoted.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A type that both servers have, under different OIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedType {
    name: TypeName,
    from_oid: u32,
    to_oid: u32,
}

impl MovedType {
    /// Which type.
    #[must_use]
    pub fn name(&self) -> &TypeName {
        &self.name
    }

    /// Its OID before the change.
    #[must_use]
    pub fn from_oid(&self) -> u32 {
        self.from_oid
    }

    /// Its OID now.
    #[must_use]
    pub fn to_oid(&self) -> u32 {
        self.to_oid
    }
}

/// A change of the server behind a connection, of its types, or of the schemas they are looked up in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    from: Server,
    to: Server,
    moved: Vec<MovedType>,
    missing: Vec<TypeName>,
}

impl Change {
    fn between(from: &Snapshot, to: &Snapshot) -> Self {
        let now: HashMap<_, _> = to.types().iter().map(|ty| ((&ty.schema, &ty.name), ty)).collect();
        let mut moved = Vec::new();
        let mut missing = Vec::new();
        for before in from.types() {
            match now.get(&(&before.schema, &before.name)) {
                None => missing.push(TypeName::of(before)),
                Some(after) if (after.oid, after.array_oid) != (before.oid, before.array_oid) => {
                    moved.push(MovedType { name: TypeName::of(before), from_oid: before.oid, to_oid: after.oid });
                }
                Some(_) => {}
            }
        }
        moved.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        missing.sort_unstable();
        Change { from: from.server().clone(), to: to.server().clone(), moved, missing }
    }

    /// The server that the connection's caches were filled from.
    #[must_use]
    pub fn from(&self) -> &Server {
        &self.from
    }

    /// The server that answers now. Equal to [`Change::from`] but for the start time, where only types changed.
    #[must_use]
    pub fn to(&self) -> &Server {
        &self.to
    }

    /// The types that have another OID now, by name.
    #[must_use]
    pub fn moved(&self) -> &[MovedType] {
        &self.moved
    }

    /// The types that are gone, by name. Only queries that use one of them fail.
    #[must_use]
    pub fn missing(&self) -> &[TypeName] {
        &self.missing
    }

    /// Are all types what they were, and only looked for in other schemas?
    pub(crate) fn is_of_search_path_only(&self) -> bool {
        let is_same = self.from.is_same_database(&self.to) && self.moved.is_empty() && self.missing.is_empty();
        is_same && !self.from.has_search_path_of(&self.to)
    }

    /// Should anybody be told? Another search path on the same database is the doing of one connection; and where
    /// types were only added, nothing that was known is wrong.
    fn is_news(&self) -> bool {
        let is_other_server = !self.from.is_same_database(&self.to);
        let is_loss = !self.moved.is_empty() || !self.missing.is_empty();
        is_other_server || is_loss && self.from.has_search_path_of(&self.to)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.from.is_same_database(&self.to) {
            write!(f, "the server changed from {} to {}", self.from, self.to)?;
        } else if self.from.has_search_path_of(&self.to) {
            write!(f, "types changed on {}", self.to)?;
        } else {
            write!(f, "the search path changed on {}", self.to)?;
        }
        let plural = if self.moved.len() == 1 { "" } else { "s" };
        write!(f, ": {} type{plural} moved", self.moved.len())?;
        write_names(f, " (", self.moved.iter().map(MovedType::name), ")")?;
        write_names(f, ", missing: ", self.missing.iter(), "")
    }
}

/// More names don't help in a log.
const MAX_NAMES: usize = 10;

fn write_names<'a>(
    f: &mut fmt::Formatter<'_>,
    before: &str,
    names: impl ExactSizeIterator<Item = &'a TypeName>,
    after: &str,
) -> fmt::Result {
    let more = names.len().saturating_sub(MAX_NAMES);
    if names.len() == 0 {
        return Ok(());
    }
    let shown: Vec<_> = names.take(MAX_NAMES).map(TypeName::to_string).collect();
    write!(f, "{before}{}", shown.join(", "))?;
    if more > 0 {
        write!(f, " and {more} more")?;
    }
    f.write_str(after)
}

type Observer = Arc<dyn Fn(&Change) + Send + Sync>;

lazy_static! {
    static ref OBSERVERS: Mutex<Vec<Observer>> = Mutex::default();
    static ref NOTICED: Mutex<Noticed> = Mutex::default();
}

/// Calls `observer` once for each change that this process notices, however many connections it concerns: of a server,
/// or of types on one server that moved or are missing. Types that were only added are no change in this sense, nor is
/// another search path.
///
/// Use it to drop caches of your own, or to page somebody. It runs on the thread that noticed, between the pool's
/// taking a connection and handing it out, or before the closure of a verified transaction, whose server connection it
/// may hold; with no lock of this crate held: be quick, and don't take another
/// connection from the same pool. Its panic is caught and logged. It stays for the life of the process. Where two servers take
/// turns behind one address, each turn is a change: limit how often you page.
///
/// ```
/// diesel_postgres_hot_upgrade::on_change(|change| {
///     // Such as: the server changed from PostgreSQL 10.23 (system …), database "app" to PostgreSQL 12.22 …
///     eprintln!("{change}");
/// });
/// ```
pub fn on_change(observer: impl Fn(&Change) + Send + Sync + 'static) {
    lock(&OBSERVERS).push(Arc::new(observer));
}

/// Says what moved between two snapshots; tells the log and the observers if nobody has yet.
pub(crate) fn notice(from: &Watch, to: &Watch) -> Arc<Change> {
    let news = lock(&NOTICED).add(from, to, Instant::now());
    log::debug!("a connection was reset: {}", news.change);
    // What a transaction did to itself is no news to anyone.
    let is_private = from.is_private || to.is_private;
    if news.is_new && !is_private && news.change.is_news() {
        COUNTERS.changes.increment();
        if news.is_quiet {
            log::debug!("again: {}", news.change);
        } else {
            log::warn!("{}", news.change);
        }
        tell_observers(&news.change);
    }
    news.change
}

fn tell_observers(change: &Change) {
    let observers = lock(&OBSERVERS).clone();
    for observer in observers {
        if catch_unwind(AssertUnwindSafe(|| observer(change))).is_err() {
            log::error!("an observer of on_change panicked; the pool goes on without it");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where two servers alternate behind one address, each flip is a change: it is warned of once in this time.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// More pairs are not remembered: servers come and go in a process that lives for months.
const MAX_NOTICED: usize = 1024;

/// The changes that were told already.
#[derive(Debug, Default)]
struct Noticed {
    changes: HashMap<(SnapshotId, SnapshotId), Notice>,
}

#[derive(Debug)]
struct Notice {
    change: Arc<Change>,
    warned: Instant,
    /// Nobody left the new server since: whoever else arrives there is late, and no news.
    is_current: bool,
}

#[derive(Debug)]
struct News {
    change: Arc<Change>,
    is_new: bool,
    is_quiet: bool,
}

impl Noticed {
    fn add(&mut self, from: &Watch, to: &Watch, now: Instant) -> News {
        let pair = (from.id, to.id);
        if let Some(notice) = self.changes.get(&pair).filter(|notice| notice.is_current) {
            return News { change: Arc::clone(&notice.change), is_new: false, is_quiet: true };
        }
        for (_, notice) in self.changes.iter_mut().filter(|((_, arrived), _)| *arrived == from.id) {
            notice.is_current = false;
        }
        let last_warned = self.changes.get(&pair).map(|notice| notice.warned);
        let is_quiet = last_warned.is_some_and(|warned| now.duration_since(warned) < QUIET_TIME);
        let change = Arc::new(Change::between(&from.snapshot, &to.snapshot));
        let warned = last_warned.filter(|_| is_quiet).unwrap_or(now);
        if self.changes.len() >= MAX_NOTICED {
            self.changes.clear();
        }
        self.changes.insert(pair, Notice { change: Arc::clone(&change), warned, is_current: true });
        News { change, is_new: true, is_quiet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::horizon::Horizon;
    use crate::catalog::horizon::tests::sighting;
    use crate::catalog::oid_table::OidTable;
    use crate::catalog::server::tests::server;

    fn ty(name: &str, oid: u32) -> PgType {
        PgType { oid, array_oid: oid + 1, schema: "public".into(), name: name.into(), visible: true }
    }

    fn old() -> Snapshot {
        Snapshot::new(
            server(7, 1, 100_023),
            vec![ty("hstore", 16_400), ty("citext", 16_500), ty("gone", 16_600)],
            "",
            None,
        )
    }

    fn new() -> Snapshot {
        Snapshot::new(server(8, 2, 120_022), vec![ty("citext", 16_400), ty("hstore", 16_500)], "", None)
    }

    #[test]
    fn a_change_says_what_moved_and_what_is_missing() {
        let change = Change::between(&old(), &new());
        let moved: Vec<_> =
            change.moved().iter().map(|ty| (ty.name().to_string(), ty.from_oid(), ty.to_oid())).collect();
        assert_eq!(
            moved,
            [("public.citext".to_owned(), 16_500, 16_400), ("public.hstore".to_owned(), 16_400, 16_500)]
        );
        assert_eq!(
            change.to_string(),
            "the server changed from PostgreSQL 10.23 (system 7), database \"app\" to PostgreSQL 12.22 (system 8), \
             database \"app\": 2 types moved (public.citext, public.hstore), missing: public.gone"
        );
    }

    #[test]
    fn a_change_is_news_once_until_somebody_leaves_the_new_server() {
        let table = OidTable::default();
        let horizon = Horizon::first(&sighting(20_000, 700, 700));
        let (old, new) = (table.insert(old(), horizon, false), table.insert(new(), horizon, false));
        let mut noticed = Noticed::default();
        let now = Instant::now();

        let news = noticed.add(&old, &new, now);
        assert!(news.is_new && !news.is_quiet, "the first to notice");
        assert!(!noticed.add(&old, &new, now).is_new, "everybody else");
        assert!(noticed.add(&new, &old, now).is_new, "the way back");
        assert!(!noticed.add(&new, &old, now).is_new);

        let again = noticed.add(&old, &new, now);
        assert!(again.is_new && again.is_quiet, "at once again: told, but not warned of");
        noticed.add(&new, &old, now);
        let later = noticed.add(&old, &new, now + QUIET_TIME);
        assert!(later.is_new && !later.is_quiet);
    }
}
