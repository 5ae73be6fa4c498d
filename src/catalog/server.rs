//! Which server answered, in its own words.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::str::FromStr;

use diesel::QueryResult;
use diesel::result::Error;

/// A PostgreSQL server as one connection sees it: which cluster, which version, which database, and the schemas in
/// which that connection looks up type names.
///
/// It is what the server itself answers to a query. The handshake is not used: PgBouncer answers new clients from a
/// cached welcome message, which can name a server that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    system_identifier: Option<i64>,
    pub(crate) started: Option<PgStart>,
    in_recovery: bool,
    catalog: String,
    version: i32,
    database: String,
    path: SearchPath,
}

/// When a postmaster started: microseconds since 2000-01-01 UTC.
pub(crate) type PgStart = i64;

/// What decides how a name is looked up and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SearchPath {
    /// Without a session's temporary schema, which differs in each session.
    schemas: Vec<String>,
    quotes_all_identifiers: bool,
    /// The setting, which a check compares.
    pub(crate) setting: String,
    /// The role, if the setting names its schema.
    pub(crate) role: Option<String>,
}

impl SearchPath {
    /// Also if the role may not ask for the schemas.
    pub(crate) fn may_contain(&self, schema: &str) -> bool {
        self.schemas.is_empty() || self.schemas.iter().any(|known| known == schema)
    }

    /// Can a type move from one schema of the path to another, and be shown as before?
    pub(crate) fn has_several_schemas(&self) -> bool {
        self.schemas.iter().filter(|schema| !schema.starts_with("pg_")).count() > 1
    }

    /// In bytes, with what is allocated.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>()
            + self.setting.len()
            + self.schemas.iter().map(|schema| size_of::<String>() + schema.len()).sum::<usize>()
    }
}

/// Which server a connection's caches belong to. Two that differ in this never share anything.
///
/// A restart, a promotion, and a rewrite of `pg_type` (`VACUUM FULL`) change it. That costs each connection a reset,
/// and is what makes clones of one cluster two servers: file copies, storage snapshots and restored backups have the
/// system identifier and the types in common, and then diverge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) by: IdentifiedBy,
    /// The path of `pg_type`'s file in the data folder, such as `base/16392/1247`, in which the database's OID is. By
    /// types alone, the database's name.
    pub(crate) catalog: String,
    version: Version,
}

impl Identity {
    /// A number for it in this process.
    pub(crate) fn number(&self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(self)
    }
}

/// What a server is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IdentifiedBy {
    /// The default. A promotion without a restart keeps the start time, so that alone is not enough.
    Start { at: PgStart, in_recovery: bool },
    /// A primary and its standbys count as one server, because the user said so.
    SystemIdentifier(i64),
    /// The role may not ask for the start time: servers are told apart by their types alone.
    TypesAlone,
}

/// Replicas may differ in the minor version, servers that were identified by their start cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Version {
    Exact(i32),
    Major(i32),
}

/// Whether a primary and its standbys count as one server for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replicas {
    #[default]
    Distinct,
    Interchangeable,
}

/// Where types are looked up: on this server, in these schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) identity: Identity,
    pub(crate) path: SearchPath,
}

impl Server {
    /// From the texts that the identity statement returns, in its order.
    pub(crate) fn from_fields(fields: Vec<String>) -> QueryResult<Self> {
        let mut fields = fields.into_iter();
        let mut next = || fields.next().ok_or_else(|| incomprehensible("a missing field"));
        let system_identifier = parse(&next()?)?;
        let started = parse(&next()?)?;
        let in_recovery = next()? == "true";
        let catalog = next()?;
        let version = parse(&next()?)?.ok_or_else(|| incomprehensible("no version"))?;
        let database = next()?;
        let quotes_all_identifiers = next()? == "on";
        let setting = next()?;
        let role = Some(next()?).filter(|_| setting.contains("$user"));
        // What the session is good for is no attribute of the server.
        let _default_read_only = next()?;
        let schemas = fields.filter(|schema| !schema.starts_with("pg_temp_")).collect();
        let path = SearchPath { schemas, quotes_all_identifiers, setting, role };
        Ok(Server { system_identifier, started, in_recovery, catalog, version, database, path })
    }

    pub(crate) fn place(&self, replicas: Replicas) -> Place {
        let by = match (self.started, self.system_identifier) {
            (Some(_), Some(identifier)) if replicas == Replicas::Interchangeable => {
                IdentifiedBy::SystemIdentifier(identifier)
            }
            (Some(at), _) => IdentifiedBy::Start { at, in_recovery: self.in_recovery },
            (None, _) => IdentifiedBy::TypesAlone,
        };
        let version = match by {
            IdentifiedBy::SystemIdentifier(_) => Version::Major(self.version / 10_000),
            _ => Version::Exact(self.version),
        };
        let identity = Identity { by, catalog: self.catalog.clone(), version };
        Place { identity, path: self.path.clone() }
    }

    /// The server's `server_version_num`, such as `120022` for PostgreSQL 12.22.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The cluster's system identifier, which `initdb` draws, and which physical replicas and file copies share.
    ///
    /// `None` if the role may not execute `pg_control_system()`.
    #[must_use]
    pub fn system_identifier(&self) -> Option<u64> {
        self.system_identifier.map(|identifier| identifier as u64)
    }

    /// The name of the database on that server.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The schemas in which unqualified names are looked up, in order: `current_schemas(true)` without a session's
    /// temporary schema. Empty if the role may not ask for them.
    #[must_use]
    pub fn schemas(&self) -> &[String] {
        &self.path.schemas
    }

    /// Is this the same cluster (or a copy or a replica of it), major version and database name? Then it is not
    /// reported as another server, although a restart, a promotion and a clone have another [`Identity`].
    pub(crate) fn is_same_for_a_reader(&self, other: &Server) -> bool {
        self.system_identifier == other.system_identifier
            && self.version / 10_000 == other.version / 10_000
            && self.database == other.database
    }

    pub(crate) fn has_search_path_of(&self, other: &Server) -> bool {
        self.path.schemas == other.path.schemas
    }
}

fn parse<T: FromStr>(field: &str) -> QueryResult<Option<T>> {
    if field.is_empty() {
        return Ok(None);
    }
    field.parse().map(Some).map_err(|_| incomprehensible(field))
}

fn incomprehensible(what: &str) -> Error {
    Error::DeserializationError(format!("the server identifies itself with {what:?}").into())
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}.{}", self.version / 10_000, self.version % 10_000)?;
        if let Some(identifier) = self.system_identifier() {
            write!(f, " (system {identifier})")?;
        }
        write!(f, ", database {:?}", self.database)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn server(system_identifier: i64, started: i64, version: i32) -> Server {
        server_in(system_identifier, started, version, &["public"])
    }

    pub(crate) fn server_in(system_identifier: i64, started: i64, version: i32, schemas: &[&str]) -> Server {
        let fields =
            [system_identifier.to_string(), started.to_string(), "false".into(), "base/16392/1247".into()];
        let rest = [&version.to_string(), "app", "off", &schemas.join(", "), "me", "off", "pg_catalog"]
            .map(str::to_owned);
        let schemas = schemas.iter().map(|schema| (*schema).to_owned());
        Server::from_fields(fields.into_iter().chain(rest).chain(schemas).collect()).expect("all fields")
    }

    #[test]
    fn a_server_names_its_version_as_people_do() {
        assert_eq!(server(7, 1, 120_022).to_string(), "PostgreSQL 12.22 (system 7), database \"app\"");
    }

    #[test]
    fn a_system_identifier_is_unsigned() {
        assert_eq!(server(-1, 1, 120_022).system_identifier(), Some(u64::MAX));
    }

    #[test]
    fn a_restart_is_another_identity_but_the_same_server_for_a_reader() {
        let (before, after) = (server(7, 1, 120_022), server(7, 2, 120_022));
        assert!(before.is_same_for_a_reader(&after));
        assert_ne!(before.place(Replicas::Distinct), after.place(Replicas::Distinct));
        assert_eq!(before.place(Replicas::Interchangeable), after.place(Replicas::Interchangeable));
    }

    #[test]
    fn interchangeable_replicas_are_of_one_cluster_and_one_major_version() {
        let place = |identifier, version| server(identifier, 1, version).place(Replicas::Interchangeable);
        assert_eq!(place(7, 120_022), place(7, 120_021));
        assert_ne!(place(7, 120_022), place(8, 120_022));
        assert_ne!(place(7, 120_022), place(7, 130_001));
    }

    #[test]
    fn a_temporary_schema_is_no_other_search_path() {
        let with = server_in(7, 1, 120_022, &["pg_temp_3", "public"]);
        assert_eq!(with.schemas(), ["pg_catalog", "public"]);
    }
}
