//! What one server said of itself and its types.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::catalog::database::Database;
use crate::catalog::server::{IdentifiedBy, Identity, Place, Server};
use crate::catalog::tracked::{Key, Tracked};
use crate::catalog::types::{PgType, Types, View};

/// Names a snapshot. Never used again, so a connection whose snapshot was dropped is *unknown*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SnapshotId(pub(crate) NonZeroU64);

/// The id of a snapshot, or none.
#[derive(Debug, Default)]
pub(crate) struct Successor(AtomicU64);

impl Successor {
    pub(crate) fn get(&self) -> Option<SnapshotId> {
        NonZeroU64::new(self.0.load(Ordering::Relaxed)).map(SnapshotId)
    }

    pub(crate) fn set(&self, id: Option<SnapshotId>) {
        self.0.store(id.map_or(0, |id| id.0.get()), Ordering::Relaxed);
    }
}

/// Who may use a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every connection of this process at that place.
    Everyone,
    /// The connection that loaded it: a temporary type of its session hides a type.
    Session,
    /// The transaction that loaded it. It may have seen its own uncommitted DDL, or an old state of the catalog.
    Transaction,
}

/// The types of one server, as one search path sees them.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: SnapshotId,
    pub(crate) scope: Scope,
    pub(crate) server: Server,
    pub(crate) place: Place,
    /// Which types the database had: see [`Loaded::digest`].
    pub(crate) digest: Arc<str>,
    pub(crate) database: Arc<Database>,
    /// How many of the database's types had been moved, renamed or dropped before.
    pub(crate) former: u64,
    /// The table has a later one of the same place.
    pub(crate) is_superseded: AtomicBool,
    /// What the last connection was filled from after it had left this server. Most likely the next ones will be, too.
    pub(crate) successor: Successor,
    /// SQL that is true if names are looked up in the same schemas. Written by who first asks.
    pub(crate) path_condition: OnceLock<String>,
    /// Shared by search paths that see the same.
    pub(crate) content: Arc<Content>,
}

/// What snapshots of one server share if their search paths see the same types.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) identity: Identity,
    /// The search path has more than one in which types can be.
    pub(crate) has_several_schemas: bool,
    pub(crate) view: View,
    /// Which types a connection is filled with, in the view's order.
    pub(crate) filled: Box<[bool]>,
    /// What a probe asks about.
    pub(crate) question: Question,
    /// What the server answers while the snapshot holds.
    pub(crate) shown: Shown,
    /// SQL that is true while the snapshot holds. Written by who first asks.
    pub(crate) condition: OnceLock<String>,
    /// True if every tracked type exists. New types then need no watching: a new type that hides a tracked type changes
    /// how the tracked type is shown.
    pub(crate) has_all_tracked: bool,
}

/// Which types a probe asks about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) oids: Vec<u32>,
    /// The names, with schemas, of types that are shown without. One of these may move to another schema of the search
    /// path, be shown as before, and leave its name to another type. None if the path has only one schema.
    pub(crate) names: Vec<String>,
}

/// What a server says of the types of a [`Question`], with commas in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) names: String,
    pub(crate) oids: String,
}

/// What was read from a server.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) server: Server,
    pub(crate) place: Place,
    pub(crate) scope: Scope,
    /// Says which types the database has, by their OIDs, whatever the search path.
    pub(crate) digest: Arc<str>,
    pub(crate) view: View,
}

impl Content {
    pub(crate) fn new(view: View, place: &Place, tracked: Option<&Tracked>) -> Self {
        let identity = &place.identity;
        let with_arrays = identity.by == IdentifiedBy::TypesAlone;
        let has_several_schemas = place.path.has_several_schemas();
        let may_move = |is_visible| is_visible && has_several_schemas;
        let moving: Vec<_> = view.iter().filter(|(_, is_visible)| may_move(*is_visible)).collect();
        let names = moving.iter().map(|(ty, _)| ty.qualified()).collect();
        let oids: Vec<_> = moving.iter().map(|(ty, _)| ty.oid.to_string()).collect();
        let shown = Shown { names: view.shown(with_arrays), oids: oids.join(",") };
        let question = Question { oids: view.oids(with_arrays), names };
        let is_named = |ty: &PgType| tracked.is_some_and(|tracked| tracked.names_with_its_schema(ty));
        Content {
            filled: view.iter().map(|(ty, is_visible)| is_visible || is_named(ty)).collect(),
            condition: OnceLock::new(),
            has_several_schemas,
            identity: identity.clone(),
            has_all_tracked: tracked.is_some_and(|tracked| tracked.keys.iter().all(|key| finds(&view, key))),
            question,
            shown,
            view,
        }
    }

    /// The types that a connection is filled with, and whether the bare name finds them.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (&PgType, bool)> {
        self.view.iter().zip(&self.filled).filter(|(_, is_filled)| **is_filled).map(|(ty, _)| ty)
    }

    /// In bytes, without the list of types.
    pub(crate) fn size(&self) -> usize {
        let Question { oids, names } = &self.question;
        let lists = self.filled.len() + self.view.visible.len() + oids.len() * size_of::<u32>();
        let names: usize = names.iter().map(|name| size_of::<String>() + 3 * name.len()).sum();
        // The condition has the names in hexadecimal digits, and the OIDs in decimal ones.
        size_of::<Self>() + lists + names + 3 * self.shown.names.len() + 2 * self.shown.oids.len() + 6 * oids.len()
    }
}

impl Snapshot {
    /// Is it not certain that a check that says yes was answered by the same server and session? Then what Diesel
    /// looked up by itself is kept until the next check only.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.place.identity.by == IdentifiedBy::TypesAlone || self.scope == Scope::Session
    }

    pub(crate) fn types(&self) -> &Types {
        &self.content.view.types
    }

    /// Does it hold at that place, if the server answers that to its question?
    pub(crate) fn holds(&self, place: &Place, shown: &Shown) -> bool {
        self.place == *place && self.content.shown == *shown
    }
}

/// Does Diesel find a type by that key, and does the way it is shown say so? One that is shown without its schema may
/// have moved to another schema of the search path, and the next of that name be created where it was.
fn finds(view: &View, (schema, name): &Key) -> bool {
    let is_found_in = |ty: &PgType, is_visible: bool| {
        schema.as_ref().map_or(is_visible, |schema| **schema == *ty.schema && !is_visible)
    };
    view.iter().any(|(ty, is_visible)| *ty.name == **name && is_found_in(ty, is_visible))
}
