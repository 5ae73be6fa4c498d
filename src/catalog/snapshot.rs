//! The types of one server.

use std::sync::OnceLock;

use crate::catalog::joined;
use crate::catalog::server::Server;
use crate::catalog::tracked::{Key, Tracked};

/// A user-defined type: base, enum, domain, range, multirange or stand-alone composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgType {
    pub(crate) oid: u32,
    /// 0 where the type has no array, as domains before PostgreSQL 11.
    pub(crate) array_oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Does the bare name find this type?
    pub(crate) visible: bool,
}

/// What one server said of itself and its types, in one statement, so that no pooler can let two servers answer.
#[derive(Debug)]
pub(crate) struct Snapshot {
    server: Server,
    types: Vec<PgType>,
    watched_oids: Vec<u32>,
    watched_oids_text: String,
    shown: String,
    has_all_tracked: bool,
    hashed_names: OnceLock<Option<String>>,
}

impl Snapshot {
    pub(crate) fn new(server: Server, types: Vec<PgType>, watched_names: &str, tracked: Option<&Tracked>) -> Self {
        let oids = types.iter().map(|ty| ty.oid);
        let watched_oids: Vec<u32> = if server.is_identified() {
            oids.collect()
        } else {
            // Another server could give a type the same OID and its array another one: with nothing else to tell the
            // two apart, the arrays are watched too.
            oids.chain(types.iter().map(|ty| ty.array_oid).filter(|oid| *oid != 0)).collect()
        };
        let watched_oids_text = format!("{{{}}}", joined(watched_oids.iter()));
        let shown = [server.database(), watched_names].concat();
        let has_all_tracked = tracked.is_some_and(|tracked| tracked.keys.iter().all(|key| finds(&types, key)));
        Snapshot {
            server,
            types,
            watched_oids,
            watched_oids_text,
            shown,
            has_all_tracked,
            hashed_names: OnceLock::new(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn types(&self) -> &[PgType] {
        &self.types
    }

    /// Do both say the same of a server that looks the same?
    pub(crate) fn is_twin_of(&self, other: &Snapshot) -> bool {
        self.server.looks_like(&other.server) && self.types == other.types
    }

    /// The OIDs a probe asks about.
    pub(crate) fn watched_oids(&self) -> &[u32] {
        &self.watched_oids
    }

    /// The same as PostgreSQL's text for an array.
    pub(crate) fn watched_oids_text(&self) -> &str {
        &self.watched_oids_text
    }

    /// What `concat(current_database(), regtype[])` shows for them where this snapshot holds.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Is there a type for everything that is tracked? Then one that is created later is of no interest: where it comes
    /// before one of these in the search path, that one is shown otherwise.
    pub(crate) fn has_all_tracked(&self) -> bool {
        self.has_all_tracked
    }

    /// The hash of what is shown, in hexadecimal digits. `None` if nobody has asked a server for it, or it did not say.
    pub(crate) fn hashed_names(&self) -> Option<&str> {
        self.hashed_names.get()?.as_deref()
    }

    /// Has somebody asked a server for the hash?
    pub(crate) fn was_hashed(&self) -> bool {
        self.hashed_names.get().is_some()
    }

    pub(crate) fn set_hashed_names(&self, hash: Option<String>) {
        // Who else asked has the same.
        let _ = self.hashed_names.set(hash);
    }
}

/// Does Diesel find a type by that key, and does the way it is shown say so? One that is shown without its schema may
/// have moved to another one of the search path, and the next of that name be created where it was.
fn finds(types: &[PgType], (schema, name): &Key) -> bool {
    let is_found_in =
        |ty: &PgType| schema.as_ref().map_or(ty.visible, |schema| *schema == ty.schema && !ty.visible);
    types.iter().any(|ty| ty.name == *name && is_found_in(ty))
}
