//! SQL that says which server answers.

/// What a role may ask a server. Whether it may execute a function is checked when a statement that names it starts, so
/// no `CASE` around the call helps: there is a statement for each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Everything.
    Identified,
    /// Not who the server is: then it is told apart by its types alone.
    Unidentified,
    /// Nothing but whether it is there.
    Mute,
}

/// SQL for an array of texts that says which server answers: see [`Server::from_fields`](crate::catalog::server::Server::from_fields). The functions of the first
/// two fields are those that a role may be forbidden to execute; `pg_control_system()` reads a file, so a probe asks
/// for all this only when something differs.
///
/// Two fields are there only because they change what a type's name looks like, or finds: `quote_all_identifiers`, and
/// a session's own temporary schema, among the others.
pub(crate) fn identity_fields(level: Level) -> &'static str {
    macro_rules! fields {
        ($system_identifier:literal, $started:literal) => {
            concat!(
                "ARRAY[",
                $system_identifier,
                ", ",
                $started,
                ", pg_catalog.current_setting('server_version_num')",
                ", pg_catalog.current_database()::pg_catalog.text",
                ", pg_catalog.current_setting('quote_all_identifiers')",
                "] OPERATOR(pg_catalog.||) pg_catalog.current_schemas(true)::pg_catalog.text[]"
            )
        };
    }
    if level == Level::Identified {
        fields!(
            "(pg_catalog.pg_control_system()).system_identifier::pg_catalog.text",
            "(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time() \
             OPERATOR(pg_catalog.-) '2000-01-01 00:00+00'::pg_catalog.timestamptz) \
             OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8::pg_catalog.text"
        )
    } else {
        fields!("''", "''")
    }
}
