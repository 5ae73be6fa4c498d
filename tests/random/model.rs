//! What each name means: the types of a server, and the paths in which names are looked up.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::keys::{Key, TYPES};

/// Schemas in which bare names are looked up, after the temporary ones.
pub(crate) type Path = &'static [&'static str];

/// What the database is given.
pub(crate) const DEFAULT_PATH: Path = &["early", "public"];
pub(crate) const TENANTS: [Path; 2] = [&["t1", "public"], &["t2", "early", "public"]];
/// What a session may set.
pub(crate) const SESSION_PATHS: [Path; 3] = [DEFAULT_PATH, &["public"], &["t1", "public"]];
pub(crate) const SCHEMAS: [&str; 4] = ["early", "public", "t1", "t2"];
/// Where types are created: mostly in the path, and in calm rounds in one schema, to be swapped there.
pub(crate) const USUAL: &[&str] = &["early", "public", "early", "public", "t1", "t2"];
pub(crate) const CALM: &[&str] = &["public", "public", "public", "public", "early"];
pub(crate) const TEMPORARY_SCHEMA: &str = "pg_temp";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Domain,
    Enum,
    Composite,
    Row,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    pub(crate) kind: Kind,
    /// The action that created it, and when it was done.
    pub(crate) created: (u64, Instant),
}

/// The types of one database, by schema and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog(BTreeMap<(&'static str, &'static str), Type>);

impl Catalog {
    pub(crate) fn get(&self, schema: &'static str, name: &'static str) -> Option<Type> {
        self.0.get(&(schema, name)).copied()
    }

    pub(crate) fn add(&mut self, schema: &'static str, name: &'static str, kind: Kind, action: u64) {
        self.0.insert((schema, name), Type { kind, created: (action, Instant::now()) });
    }

    pub(crate) fn remove(&mut self, schema: &'static str, name: &'static str) -> Option<Type> {
        self.0.remove(&(schema, name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().map(|(_, name)| *name)
    }

    pub(crate) fn extend(&mut self, other: &Catalog) {
        self.0.extend(&other.0);
    }

    /// The type that a key finds.
    pub(crate) fn find(&self, key: Key, path: Path) -> Option<Type> {
        match key.schema {
            Some(schema) => self.get(schema, key.name),
            None => std::iter::once(TEMPORARY_SCHEMA)
                .chain(path.iter().copied())
                .find_map(|schema| self.get(schema, key.name)),
        }
    }

    /// The stand-alone types of these names.
    fn of_names(&self, names: &[&str]) -> impl Iterator<Item = (&'static str, &'static str, Type)> {
        let found: Vec<_> = self
            .0
            .iter()
            .filter(|((schema, name), _)| {
                *schema != TEMPORARY_SCHEMA && TYPES.contains(name) && names.contains(name)
            })
            .map(|((schema, name), ty)| (*schema, *name, *ty))
            .collect();
        found.into_iter()
    }
}

/// A statement that changes what names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ddl {
    Create {
        schema: &'static str,
        name: &'static str,
        kind: Kind,
    },
    Drop {
        schema: &'static str,
        name: &'static str,
    },
    Recreate {
        schema: &'static str,
        name: &'static str,
        kind: Kind,
    },
    Rename {
        schema: &'static str,
        from: &'static str,
        to: &'static str,
    },
    /// Each takes the other's name.
    Swap {
        schema: &'static str,
        one: &'static str,
        other: &'static str,
    },
    SetSchema {
        name: &'static str,
        from: &'static str,
        to: &'static str,
    },
}

/// How many actions old a type is before it is moved. So most are older than [the bound](crate::promises::bound)
/// without a wait.
const MATURE: u64 = 12;
const ATTEMPTS: usize = 12;

impl Ddl {
    /// A change of types of these names that are old enough.
    pub(crate) fn random(
        rng: &mut fastrand::Rng,
        catalog: &Catalog,
        names: &[&'static str],
        schemas: &[&'static str],
        now: u64,
    ) -> Option<Ddl> {
        let guess = |_| Self::guess(rng, catalog, names, schemas).filter(|ddl| ddl.may_move(catalog, now));
        (0..ATTEMPTS).find_map(guess)
    }

    fn guess(
        rng: &mut fastrand::Rng,
        catalog: &Catalog,
        names: &[&'static str],
        schemas: &[&'static str],
    ) -> Option<Ddl> {
        let there: Vec<_> = catalog.of_names(names).collect();
        let schema = *rng.choice(schemas)?;
        let name = *rng.choice(names)?;
        let kind = rng.choice([Kind::Domain, Kind::Enum, Kind::Composite])?;
        let is_free = |schema, name| catalog.get(schema, name).is_none();
        if rng.u8(..10) < 3 {
            return is_free(schema, name).then_some(Ddl::Create { schema, name, kind });
        }
        // Of two the younger one: it may be in nobody's snapshot.
        let two = [*rng.choice(&there)?, *rng.choice(&there)?];
        let (from_schema, from, _) = two.into_iter().max_by_key(|(_, _, ty)| ty.created.0)?;
        match rng.u8(..10) {
            0 => Some(Ddl::Drop { schema: from_schema, name: from }),
            1 => Some(Ddl::Recreate { schema: from_schema, name: from, kind }),
            2..5 => is_free(from_schema, name).then_some(Ddl::Rename { schema: from_schema, from, to: name }),
            5..9 => {
                let mut beside = there.clone();
                beside.retain(|(schema, name, _)| *schema == from_schema && *name != from);
                let (_, other, _) = *rng.choice(&beside)?;
                Some(Ddl::Swap { schema: from_schema, one: from, other })
            }
            _ => is_free(schema, from).then_some(Ddl::SetSchema { name: from, from: from_schema, to: schema }),
        }
    }

    /// Whatever the names of this statement mean in any schema is old enough.
    fn may_move(&self, catalog: &Catalog, now: u64) -> bool {
        catalog.of_names(&self.names()).all(|(_, _, ty)| ty.created.0 + MATURE <= now)
    }

    /// When the youngest type that this moves was created.
    pub(crate) fn youngest(&self, catalog: &Catalog) -> Option<Instant> {
        catalog.of_names(&self.names()).map(|(_, _, ty)| ty.created.1).max()
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        match *self {
            Ddl::Create { name, .. }
            | Ddl::Drop { name, .. }
            | Ddl::Recreate { name, .. }
            | Ddl::SetSchema { name, .. } => vec![name],
            Ddl::Rename { from, to, .. } => vec![from, to],
            Ddl::Swap { one, other, .. } => vec![one, other],
        }
    }

    pub(crate) fn sql(&self) -> String {
        match *self {
            Ddl::Create { schema, name, kind } => create(schema, name, kind),
            Ddl::Drop { schema, name } => format!("DROP TYPE {schema}.{name};"),
            Ddl::Recreate { schema, name, kind } => {
                format!("DROP TYPE {schema}.{name}; {}", create(schema, name, kind))
            }
            Ddl::Rename { schema, from, to } => format!("ALTER TYPE {schema}.{from} RENAME TO {to};"),
            Ddl::Swap { schema, one, other } => format!(
                "ALTER TYPE {schema}.{one} RENAME TO between; ALTER TYPE {schema}.{other} RENAME TO {one};
                 ALTER TYPE {schema}.between RENAME TO {other};"
            ),
            Ddl::SetSchema { name, from, to } => format!("ALTER TYPE {from}.{name} SET SCHEMA {to};"),
        }
    }

    pub(crate) fn apply(&self, catalog: &mut Catalog, action: u64) {
        let mut rename = |from: (&'static str, &'static str), to: (&'static str, &'static str)| {
            if let Some(ty) = catalog.remove(from.0, from.1) {
                catalog.0.insert(to, ty);
            }
        };
        match *self {
            Ddl::Create { schema, name, kind } | Ddl::Recreate { schema, name, kind } => {
                catalog.add(schema, name, kind, action);
            }
            Ddl::Drop { schema, name } => drop(catalog.remove(schema, name)),
            Ddl::Rename { schema, from, to } => rename((schema, from), (schema, to)),
            Ddl::Swap { schema, one, other } => {
                rename((schema, one), (schema, "between"));
                rename((schema, other), (schema, one));
                rename((schema, "between"), (schema, other));
            }
            Ddl::SetSchema { name, from, to } => rename((from, name), (to, name)),
        }
    }
}

/// SQL that creates a type.
pub(crate) fn create(schema: &str, name: &str, kind: Kind) -> String {
    match kind {
        Kind::Domain => format!("CREATE DOMAIN {schema}.{name} AS text;"),
        Kind::Enum => format!("CREATE TYPE {schema}.{name} AS ENUM ('a');"),
        Kind::Composite => format!("CREATE TYPE {schema}.{name} AS (a int4);"),
        Kind::Row => format!("CREATE TABLE {schema}.{name} (a int4);"),
    }
}
