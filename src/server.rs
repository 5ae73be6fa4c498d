//! Which server answered, in its own words.

use std::fmt;

use diesel::data_types::PgTimestamp;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};

/// The columns that every statement of this crate which asks for the server's identity returns, in this order.
pub(crate) type IdentitySqlType = (Nullable<BigInt>, Nullable<Timestamptz>, Integer, Text, Array<Text>);

/// The row that belongs to [`IdentitySqlType`].
pub(crate) type IdentityRow = (Option<i64>, Option<PgTimestamp>, i32, String, Vec<String>);

/// The first column. It reads a file on the server, so a probe asks for it only when something differs.
pub(crate) const SYSTEM_IDENTIFIER: &str = "(SELECT system_identifier FROM pg_catalog.pg_control_system())";

/// The second column.
pub(crate) const START_TIME: &str = "pg_catalog.pg_postmaster_start_time()";

/// Both, where the role may not execute these functions: such servers are told apart by their types alone.
pub(crate) const NO_IDENTITY: &str = "NULL::pg_catalog.int8, NULL::pg_catalog.timestamptz";

pub(crate) const VERSION: &str = "pg_catalog.current_setting('server_version_num')::pg_catalog.int4";

pub(crate) const DATABASE: &str = "pg_catalog.current_database()::pg_catalog.text";

/// The schemas that unqualified names are looked up in. A session's own temporary schema is left out: it differs
/// from one session to the next, and holds no type that another session could use.
pub(crate) const SCHEMAS: &str = "pg_catalog.array_remove(pg_catalog.current_schemas(false), \
     pg_catalog.pg_my_temp_schema()::pg_catalog.regnamespace::pg_catalog.text::pg_catalog.name)\
     ::pg_catalog.text[]";

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
    schemas: Vec<String>,
}

/// When a postmaster started: microseconds since 2000-01-01 UTC.
pub(crate) type PgStart = i64;

impl Server {
    pub(crate) fn from_row(row: IdentityRow) -> Self {
        let (system_identifier, started, version, database, schemas) = row;
        Server {
            system_identifier,
            started: started.map(|PgTimestamp(microseconds)| microseconds),
            version,
            database,
            schemas,
        }
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

    /// The schemas in which unqualified names were looked up, in order (`current_schemas(false)`).
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
        self.is_same_database(other) && self.schemas == other.schemas
    }
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
        let start = Some(PgTimestamp(started));
        Server::from_row((Some(system_identifier), start, version, "app".into(), vec!["public".into()]))
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
