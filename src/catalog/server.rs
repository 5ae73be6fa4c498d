//! Which server answered, in its own words.

use std::fmt;
use std::str::FromStr;

use diesel::QueryResult;
use diesel::result::Error;

/// The identity of a PostgreSQL server, as one connection sees it: which cluster, which version, which database,
/// and the schemas in which that connection looks for type names.
///
/// It is what the server itself answers to a query. What a pooler says in the handshake is not used:
/// PgBouncer answers new clients from a cached welcome message, which can name a server that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    system_identifier: Option<i64>,
    pub(crate) started: Option<PgStart>,
    version: i32,
    database: String,
    quotes_all_identifiers: bool,
    schemas: Vec<String>,
}

/// When a postmaster started: microseconds since 2000-01-01 UTC.
pub(crate) type PgStart = i64;

impl Server {
    /// From the texts that the identity statement returns, in its order.
    pub(crate) fn from_fields(fields: Vec<String>) -> QueryResult<Self> {
        let mut fields = fields.into_iter();
        let mut next = || fields.next().ok_or_else(|| incomprehensible("a missing field"));
        let system_identifier = parse(&next()?)?;
        let started = parse(&next()?)?;
        let version = parse(&next()?)?.ok_or_else(|| incomprehensible("no version"))?;
        let database = next()?;
        let quotes_all_identifiers = next()? == "on";
        let schemas = fields.collect();
        Ok(Server { system_identifier, started, version, database, quotes_all_identifiers, schemas })
    }

    /// The server's `server_version_num`, such as `120022` for PostgreSQL 12.22.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The cluster's system identifier, which `initdb` draws and physical replicas share.
    ///
    /// `None` where the role may not execute `pg_control_system()`.
    #[must_use]
    pub fn system_identifier(&self) -> Option<u64> {
        self.system_identifier.map(|identifier| identifier as u64)
    }

    /// The name of the database on that server.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The schemas in which unqualified names were looked up, in order (`current_schemas(true)`).
    #[must_use]
    pub fn schemas(&self) -> &[String] {
        &self.schemas
    }

    /// Could the role ask for the system identifier and the start time?
    pub(crate) fn is_identified(&self) -> bool {
        self.started.is_some()
    }

    /// Is this the same cluster (or a physical replica of it), version and database?
    pub(crate) fn is_same_database(&self, other: &Server) -> bool {
        self.system_identifier == other.system_identifier
            && self.version == other.version
            && self.database == other.database
    }

    /// The same, and names are looked up in the same schemas: only the start time may differ.
    pub(crate) fn looks_like(&self, other: &Server) -> bool {
        self.is_same_database(other)
            && self.schemas == other.schemas
            && self.quotes_all_identifiers == other.quotes_all_identifiers
    }

    /// Are names looked up in the same schemas, but for a session's own temporary one?
    pub(crate) fn has_search_path_of(&self, other: &Server) -> bool {
        let lasting = |server: &Server| -> Vec<String> {
            server.schemas.iter().filter(|schema| !schema.starts_with("pg_temp_")).cloned().collect()
        };
        lasting(self) == lasting(other)
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
        let fields = [system_identifier.to_string(), started.to_string(), version.to_string()];
        let rest = ["app", "off", "pg_catalog", "public"].map(str::to_owned);
        Server::from_fields(fields.into_iter().chain(rest).collect()).expect("all fields")
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
    fn a_restart_looks_like_the_same_server_and_another_cluster_does_not() {
        assert!(server(7, 1, 120_022).looks_like(&server(7, 2, 120_022)));
        assert!(!server(7, 1, 120_022).looks_like(&server(8, 1, 120_022)));
        assert!(!server(7, 1, 120_022).looks_like(&server(7, 1, 120_023)));
    }
}
