//! What moved between two servers.

use std::collections::HashMap;
use std::fmt;

use crate::catalog::server::Server;
use crate::catalog::snapshot::Snapshot;
use crate::catalog::types::PgType;
use crate::report::log::printable;

/// A type's name, with the schema it is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeName {
    schema: String,
    name: String,
}

impl TypeName {
    fn of(ty: &PgType) -> Self {
        TypeName { schema: ty.schema.to_string(), name: ty.name.to_string() }
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

/// Control characters in a name are shown escaped.
impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", printable(&self.schema), printable(&self.name))
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
    /// Of types on one server, only those count that connections are filled with: the others may be unused.
    pub(crate) fn between(from: &Snapshot, to: &Snapshot) -> Self {
        let is_same_server = from.server.is_same_for_a_reader(&to.server);
        let now: HashMap<_, _> = to.types().iter().map(|ty| ((&ty.schema, &ty.name), ty)).collect();
        let mut moved = Vec::new();
        let mut missing = Vec::new();
        for ((before, _), is_filled) in from.content.view.iter().zip(&from.content.filled) {
            match now.get(&(&before.schema, &before.name)) {
                _ if is_same_server && !is_filled => {}
                None => missing.push(TypeName::of(before)),
                Some(after) if (after.oid, after.array_oid) != (before.oid, before.array_oid) => {
                    moved.push(MovedType { name: TypeName::of(before), from_oid: before.oid, to_oid: after.oid });
                }
                Some(_) => {}
            }
        }
        moved.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        missing.sort_unstable();
        Change { from: from.server.clone(), to: to.server.clone(), moved, missing }
    }

    /// The server that the connection's caches were filled from.
    #[must_use]
    pub fn from(&self) -> &Server {
        &self.from
    }

    /// The server that answers now. Equal to [`Change::from`] but for its start, if only types changed.
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
        let is_same = self.from.is_same_for_a_reader(&self.to) && self.moved.is_empty() && self.missing.is_empty();
        is_same && !self.from.has_search_path_of(&self.to)
    }

    /// Is it reported? Another search path on the same server concerns one connection. If types were only added or
    /// removed, nothing that connections know is wrong.
    pub(crate) fn is_reported(&self) -> bool {
        let is_other_server = !self.from.is_same_for_a_reader(&self.to);
        is_other_server || !self.moved.is_empty() && self.from.has_search_path_of(&self.to)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.from.is_same_for_a_reader(&self.to) {
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

#[cfg(test)]
pub(crate) mod tests {
    use std::num::NonZeroU64;
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::catalog::server::Replicas;
    use crate::catalog::server::tests::server;
    use crate::catalog::snapshot::{Content, Scope, SnapshotId};
    use crate::catalog::types::tests::{ty, view};

    fn snapshot(id: u64, server: Server, types: Vec<(PgType, bool)>) -> Snapshot {
        let place = server.place(Replicas::Distinct);
        let content = Arc::new(Content::new(view(types), &place, None));
        let id = SnapshotId(NonZeroU64::new(id).expect("not zero"));
        Snapshot {
            id,
            scope: Scope::Everyone,
            server,
            place,
            digest: "".into(),
            database: Default::default(),
            former: 0,
            is_superseded: Default::default(),
            successor: Default::default(),
            path_condition: OnceLock::new(),
            content,
        }
    }

    fn visible(name: &str, oid: u32) -> (PgType, bool) {
        (ty("public", name, oid), true)
    }

    pub(crate) fn old() -> Snapshot {
        let types = vec![visible("hstore", 16_400), visible("citext", 16_500), visible("gone", 16_600)];
        snapshot(1, server(7, 1, 100_023), types)
    }

    pub(crate) fn new() -> Snapshot {
        snapshot(2, server(8, 2, 120_022), vec![visible("citext", 16_400), visible("hstore", 16_500)])
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
        assert!(change.is_reported());
    }

    #[test]
    fn a_restart_and_types_that_come_and_go_are_not_reported() {
        let before = snapshot(1, server(7, 1, 120_022), vec![visible("mood", 20), visible("old", 30)]);
        let after = snapshot(2, server(7, 2, 120_022), vec![visible("mood", 20), visible("new", 40)]);
        assert!(!Change::between(&before, &after).is_reported());
        let moved = snapshot(3, server(7, 2, 120_022), vec![visible("mood", 50)]);
        assert!(Change::between(&before, &moved).is_reported());
    }

    #[test]
    fn a_type_that_no_connection_was_filled_with_is_not_reported() {
        let of = |id, oid| snapshot(id, server(7, 1, 120_022), vec![(ty("repack", "pk_1", oid), false)]);
        assert!(!Change::between(&of(1, 20), &of(2, 30)).is_reported());
    }
}
