//! What makes a connection stale, and what an application does with it before and after.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use crate::uses::{How, binds_label, documents, reads};

/// What is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// The plans of prepared statements, those of a pooler too.
    Plans,
    /// The names of prepared statements.
    Names,
    /// The OIDs of types.
    Types,
}

pub(crate) struct Scenario {
    pub(crate) prepare: fn(&mut PgConnection) -> QueryResult<()>,
    pub(crate) used: fn(&mut PgConnection, How) -> QueryResult<()>,
    /// What each connection does after it was used.
    pub(crate) itself: fn(&mut PgConnection) -> QueryResult<()>,
    /// What another session runs after that.
    pub(crate) change: &'static str,
    pub(crate) stale: Stale,
}

pub(crate) const NOTHING: Scenario =
    Scenario { prepare: |_| Ok(()), used: |_, _| Ok(()), itself: |_| Ok(()), change: "", stale: Stale::Plans };

pub(crate) const A_COLUMN_BECOMES_TEXT: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE TABLE t (v varchar); INSERT INTO t VALUES ('x')"),
    used: |conn, how| reads(conn, how, "SELECT v AS value FROM t", b"x"),
    change: "ALTER TABLE t ALTER v TYPE text",
    ..NOTHING
};

pub(crate) const A_COLUMN_BECOMES_WIDER: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE TABLE t (v int4); INSERT INTO t VALUES (7)"),
    used: |conn, how| reads(conn, how, "SELECT v AS value FROM t", &[0, 0, 7]),
    change: "ALTER TABLE t ALTER v TYPE int8",
    ..NOTHING
};

pub(crate) const A_COLUMN_IS_ADDED: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE TABLE t (value text); INSERT INTO t VALUES ('x')"),
    used: |conn, how| reads(conn, how, "SELECT * FROM t", b"x"),
    change: "ALTER TABLE t ADD further int8",
    ..NOTHING
};

pub(crate) const AN_ENUM_IS_RECREATED: Scenario = Scenario {
    prepare: |conn| {
        conn.batch_execute(
            "CREATE TYPE mood AS ENUM ('happy');
             CREATE TABLE t (value mood); INSERT INTO t VALUES ('happy')",
        )
    },
    used: |conn, how| reads(conn, how, "SELECT value FROM t", b"happy"),
    change: "ALTER TYPE mood RENAME TO outgoing; CREATE TYPE mood AS ENUM ('happy', 'sad');
             ALTER TABLE t ALTER value TYPE mood USING value::text::mood; DROP TYPE outgoing",
    ..NOTHING
};

pub(crate) const AN_ENUM_IS_SWAPPED: Scenario = Scenario {
    prepare: |conn| {
        conn.batch_execute(
            "CREATE TYPE mood AS ENUM ('happy'); CREATE TYPE mood_new AS ENUM ('happy', 'sad');
             CREATE TABLE t (value mood, value_new mood_new); INSERT INTO t VALUES ('happy', 'happy')",
        )
    },
    used: |conn, how| reads(conn, how, "SELECT value FROM t", b"happy"),
    change: "ALTER TYPE mood RENAME TO mood_old; ALTER TYPE mood_new RENAME TO mood;
             ALTER TABLE t RENAME value TO value_old; ALTER TABLE t RENAME value_new TO value",
    ..NOTHING
};

pub(crate) const A_FUNCTION_IS_RECREATED: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE FUNCTION f() RETURNS int4 LANGUAGE sql AS 'SELECT 7'"),
    used: |conn, how| reads(conn, how, "SELECT f() AS value", &[0, 7]),
    change: "DROP FUNCTION f(); CREATE FUNCTION f() RETURNS int8 LANGUAGE sql AS 'SELECT 7::int8'",
    ..NOTHING
};

pub(crate) const A_VIEW_IS_REPLACED: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE VIEW t AS SELECT 'x'::text AS value"),
    used: |conn, how| reads(conn, how, "SELECT * FROM t", b"x"),
    change: "CREATE OR REPLACE VIEW t AS SELECT 'x'::text AS value, 1 AS further",
    ..NOTHING
};

/// Its rows are selected as a whole.
pub(crate) const A_TABLE_IS_RECREATED: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE TABLE t (v text); INSERT INTO t VALUES ('x')"),
    used: |conn, how| reads(conn, how, "SELECT t AS value FROM t", b"x"),
    change: "DROP TABLE t; CREATE TABLE t (v text); INSERT INTO t VALUES ('x')",
    ..NOTHING
};

/// Its rows are bound as a whole.
pub(crate) const A_TABLE_WHOSE_ROWS_ARE_BOUND_IS_RECREATED: Scenario = Scenario {
    prepare: |conn| conn.batch_execute("CREATE TABLE label (v text)"),
    used: binds_label,
    change: "DROP TABLE label; CREATE TABLE label (v text)",
    stale: Stale::Types,
    ..NOTHING
};

/// Unqualified names mean what is in the role's own schema, as long as that is there.
fn hidden(conn: &mut PgConnection, public: &str, own: &str) -> QueryResult<()> {
    conn.batch_execute(public)?;
    conn.batch_execute("CREATE SCHEMA AUTHORIZATION CURRENT_USER")?;
    conn.batch_execute(own)
}

fn a_table_hides_another(conn: &mut PgConnection) -> QueryResult<()> {
    hidden(
        conn,
        "CREATE TABLE public.t (v int8); INSERT INTO public.t VALUES (7)",
        "CREATE TABLE t (v int4); INSERT INTO t VALUES (7)",
    )
}

/// Nothing in the catalogs is newer after that.
pub(crate) const A_HIDING_TABLE_IS_DROPPED: Scenario = Scenario {
    prepare: a_table_hides_another,
    used: |conn, how| reads(conn, how, "SELECT v AS value FROM t", &[0, 7]),
    change: "DROP TABLE t",
    ..NOTHING
};

pub(crate) const A_HIDING_SCHEMA_IS_DROPPED: Scenario = Scenario {
    change: "DO $$BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', current_user); END$$",
    ..A_HIDING_TABLE_IS_DROPPED
};

pub(crate) const A_HIDING_SCHEMA_IS_RENAMED: Scenario = Scenario {
    change: "DO $$BEGIN EXECUTE format('ALTER SCHEMA %I RENAME TO outgoing', current_user); END$$",
    ..A_HIDING_TABLE_IS_DROPPED
};

pub(crate) const A_HIDING_TABLE_IS_MOVED_AWAY: Scenario =
    Scenario { change: "CREATE SCHEMA outgoing; ALTER TABLE t SET SCHEMA outgoing", ..A_HIDING_TABLE_IS_DROPPED };

pub(crate) const A_HIDING_FUNCTION_IS_DROPPED: Scenario = Scenario {
    prepare: |conn| {
        hidden(
            conn,
            "CREATE FUNCTION public.f() RETURNS int8 LANGUAGE sql AS 'SELECT 7::int8'",
            "CREATE FUNCTION f() RETURNS int4 LANGUAGE sql AS 'SELECT 7'",
        )
    },
    used: |conn, how| reads(conn, how, "SELECT f() AS value", &[0, 7]),
    change: "DROP FUNCTION f()",
    ..NOTHING
};

pub(crate) const A_HIDING_TYPE_IS_DROPPED: Scenario = Scenario {
    prepare: |conn| {
        hidden(conn, "CREATE TYPE public.mood AS ENUM ('happy')", "CREATE TYPE mood AS ENUM ('happy')")
    },
    used: |conn, how| reads(conn, how, "SELECT 'happy'::mood AS value", b"happy"),
    change: "DROP TYPE mood",
    ..NOTHING
};

pub(crate) const STATEMENTS_ARE_DEALLOCATED: Scenario = Scenario {
    used: |conn, how| reads(conn, how, "SELECT 'x'::text AS value", b"x"),
    itself: |conn| conn.batch_execute("DEALLOCATE ALL"),
    stale: Stale::Names,
    ..NOTHING
};

pub(crate) const A_ROLLED_BACK_TYPE_IS_CREATED: Scenario = Scenario {
    used: |conn, how| if has_label(conn)? { binds_label(conn, how) } else { Ok(()) },
    itself: |conn| {
        let rolled_back = conn.transaction::<(), _, _>(|conn| {
            conn.batch_execute("CREATE TYPE label AS ENUM ('x')")?;
            binds_label(conn, How::Plain)?;
            Err(Error::RollbackTransaction)
        });
        if rolled_back == Err(Error::RollbackTransaction) { Ok(()) } else { rolled_back }
    },
    change: "CREATE TYPE label AS ENUM ('x')",
    stale: Stale::Types,
    ..NOTHING
};

/// By a statement that is not kept.
fn has_label(conn: &mut PgConnection) -> QueryResult<bool> {
    let has = diesel::dsl::sql::<diesel::sql_types::Bool>("to_regtype('label') IS NOT NULL");
    diesel::select(has).get_result(conn)
}

pub(crate) const A_MIGRATION_IS_REDONE: Scenario = Scenario {
    prepare: |conn| migrate(conn, |conn, all| conn.run_pending_migrations(all).map(drop)),
    used: documents,
    itself: |conn| {
        migrate(conn, |conn, all| conn.revert_last_migration(all).map(drop))?;
        migrate(conn, |conn, all| conn.run_pending_migrations(all).map(drop))
    },
    stale: Stale::Types,
    ..NOTHING
};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn migrate(
    conn: &mut PgConnection,
    go: impl FnOnce(&mut PgConnection, FileBasedMigrations) -> Result<(), AnyError>,
) -> QueryResult<()> {
    let all = FileBasedMigrations::find_migrations_directory().expect("the project's migrations");
    go(conn, all).map_err(Error::QueryBuilderError)
}
