//! The facts that probes ask for, each spelled once.

use crate::catalog::tracked::Tracked;

/// When the postmaster started.
pub(crate) const STARTED: &str = "pg_catalog.pg_postmaster_start_time()";

/// Is the server a standby?
pub(crate) const IN_RECOVERY: &str = "pg_catalog.pg_is_in_recovery()";

/// The system identifier. It is read from a file, which takes the server 5 µs.
pub(crate) const SYSTEM_IDENTIFIER: &str = "(pg_catalog.pg_control_system()).system_identifier";

/// The path of `pg_type`'s file, in which the database's OID is.
pub(crate) const CATALOG_FILE: &str = "pg_catalog.pg_relation_filepath(1247::pg_catalog.oid::pg_catalog.regclass)";

pub(crate) const DATABASE: &str = "pg_catalog.current_database()::pg_catalog.text";

/// As it was set. Another one may find other types by the same names, also types that are not watched.
pub(crate) const SEARCH_PATH: &str = "pg_catalog.current_setting('search_path')";

/// Whose schema `"$user"` in a search path is.
pub(crate) const ROLE: &str = "pg_catalog.\"current_user\"()::pg_catalog.text";

/// Can sessions write, unless a transaction says otherwise?
pub(crate) const DEFAULT_READ_ONLY: &str = "pg_catalog.current_setting('default_transaction_read_only')";

pub(crate) const VERSION: &str = "pg_catalog.current_setting('server_version_num')";

/// Before and after an array of OIDs: what the server shows of them. A type's name as `regtype` shows it changes with a
/// rename, a re-creation (a bare number), and if another type hides it in the search path (it is shown with its
/// schema).
pub(crate) const SHOWN: [&str; 2] = ["pg_catalog.array_to_string(", "::pg_catalog.regtype[], ',')"];

/// Before and after an array of names with schemas: the OIDs that the server finds by them.
pub(crate) const FOUND: [&str; 2] = [
    "pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.to_regtype(named)::pg_catalog.oid \
     FROM pg_catalog.unnest(",
    "::pg_catalog.text[]) named), ',')",
];

/// The types that are watched: base types, domains, enums, ranges, multiranges and stand-alone composites, as `t`, in
/// schema `n`.
///
/// Not those up to OID 16383, which come with the server; not arrays, whose OID rides along as `typarray`, nor domains
/// over arrays, whose own name PostgreSQL shows only from 14 on; not the row types of tables; and not temporary types,
/// which no other session can use.
pub(crate) const WATCHED: &str = "pg_catalog.pg_type t \
     JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
     LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid \
     WHERE t.oid OPERATOR(pg_catalog.>) 16383::pg_catalog.oid \
     AND n.nspname OPERATOR(pg_catalog.!~) '^pg_temp_'::pg_catalog.text \
     AND (t.typtype OPERATOR(pg_catalog.=) ANY ('{b,d,e,m,r}'::pg_catalog.\"char\"[]) \
     AND NOT (t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
     AND t.typlen OPERATOR(pg_catalog.=) (-1)::pg_catalog.int2) \
     OR t.typtype OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\" \
     AND c.relkind OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\")";

/// Narrows [`WATCHED`] to types of these names. As names: the server cuts off what is too long for one, wherever a name
/// is looked up.
pub(crate) fn only_tracked(tracked: Option<&Tracked>) -> String {
    tracked.map_or_else(String::new, |Tracked { names, .. }| {
        format!(" AND t.typname OPERATOR(pg_catalog.=) ANY ({}::pg_catalog.name[])", array(names))
    })
}

/// The text of an array, as SQL.
pub(crate) fn array(texts: &[impl AsRef<str>]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let quoted: Vec<_> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    constant(&format!("{{{}}}", quoted.join(",")))
}

/// A text as SQL. No setting changes how it is read. Nothing that comes from a user is written as it is, unless it has
/// none but harmless characters, which spares the server the computing.
pub(crate) fn constant(text: &str) -> String {
    let is_harmless = |character: char| character.is_ascii_alphanumeric() || " _,./-:\"$[]{}".contains(character);
    if text.chars().all(is_harmless) {
        return format!("'{text}'::pg_catalog.text");
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), 'UTF8')")
}

/// Says which types there are, by their OIDs, and in which schemas. A type that moves to another schema of the search
/// path is shown as before.
pub(crate) const DIGEST: &str = "pg_catalog.concat_ws(' ', pg_catalog.count(*), \
     pg_catalog.sum(t.oid::pg_catalog.int8), \
     pg_catalog.sum(pg_catalog.hashtext(pg_catalog.concat(t.oid, ' ', t.typnamespace))::pg_catalog.int8))";

/// A transaction's id, in 32 bits, below which every transaction had ended.
pub(crate) const OLDEST_OPEN: &str = "pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())";

/// Sums up the transactions that have created or changed types, relations, columns, functions and schemas since that
/// one: it is another number after each change that is committed. What is temporary does not count: no other session
/// uses it.
pub(crate) fn catalog_changes_since(transaction: u32) -> String {
    let changes = |catalog: &str, row: &str, lasting: &str| {
        format!(
            "SELECT {row}.xmin::pg_catalog.text::pg_catalog.int8 AS changed FROM pg_catalog.{catalog} {row} \
             WHERE pg_catalog.age({row}.xmin) OPERATOR(pg_catalog.<=) pg_catalog.age('{transaction}'::pg_catalog.xid) \
             AND {lasting}"
        )
    };
    let is_in_lasting_schema = |namespace: &str| {
        format!(
            "NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) {namespace} \
             AND n.nspname OPERATOR(pg_catalog.~) '^pg_(toast_)?temp_'::pg_catalog.text)"
        )
    };
    let is_lasting = "c.relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog.\"char\"";
    let is_column_of_lasting = format!(
        "EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) a.attrelid AND {is_lasting})"
    );
    let changes = [
        changes("pg_type", "t", &is_in_lasting_schema("t.typnamespace")),
        changes("pg_class", "c", is_lasting),
        changes("pg_proc", "p", &is_in_lasting_schema("p.pronamespace")),
        changes("pg_namespace", "s", "s.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'::pg_catalog.text"),
        changes("pg_attribute", "a", &is_column_of_lasting),
    ];
    let changes = changes.join(" UNION ALL ");
    format!("COALESCE((SELECT pg_catalog.sum(changes.changed) FROM ({changes}) changes), 0)::pg_catalog.int8")
}

/// How many objects the database's schemas have: tables, views, types, functions, operators, and others. What is
/// dropped leaves no changed row behind, but this number is another one. What is temporary does not count.
pub(crate) const OBJECTS: &str = "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d \
     WHERE d.refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid AND NOT (d.refobjid OPERATOR(pg_catalog.=) ANY \
     (SELECT n.oid FROM pg_catalog.pg_namespace n \
     WHERE n.nspname OPERATOR(pg_catalog.~) '^pg_(toast_)?temp_'::pg_catalog.text)))";

/// Does a pooler prepare statements for its clients? Then they are older than the connection, and each of the pooler's
/// server connections has plans of its own.
pub(crate) const IS_PREPARED_BY_POOLER: &str = "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements s \
     WHERE s.name OPERATOR(pg_catalog.~) '^PGBOUNCER_'::pg_catalog.text)";

/// When the oldest statement was prepared that a pooler keeps in this session, in microseconds since 1970. If there is
/// none, later than any.
pub(crate) const OLDEST_PREPARED_BY_POOLER: &str = "COALESCE((SELECT \
     (pg_catalog.date_part('epoch', pg_catalog.min(s.prepare_time)) \
     OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8 FROM pg_catalog.pg_prepared_statements s \
     WHERE s.name OPERATOR(pg_catalog.~) '^PGBOUNCER_'::pg_catalog.text), 9223372036854775807::pg_catalog.int8)";

/// The highest number of a statement that Diesel has prepared in this session, under the name that it gave it. 0: none,
/// or a pooler gives them other names.
pub(crate) const LAST_STATEMENT: &str = "COALESCE((SELECT \
     pg_catalog.max(pg_catalog.substr(s.name, 15)::pg_catalog.int8) FROM pg_catalog.pg_prepared_statements s \
     WHERE s.name OPERATOR(pg_catalog.~) '^__diesel_stmt_[0-9]{1,9}$'::pg_catalog.text), 0::pg_catalog.int8)";

/// How many of the statements that Diesel has prepared are gone. It numbers them from 1, and deallocates none.
pub(crate) const VANISHED_STATEMENTS: &str = "COALESCE((SELECT \
     pg_catalog.max(pg_catalog.substr(s.name, 15)::pg_catalog.int8) OPERATOR(pg_catalog.-) pg_catalog.count(*) \
     FROM pg_catalog.pg_prepared_statements s \
     WHERE s.name OPERATOR(pg_catalog.~) '^__diesel_stmt_[0-9]{1,9}$'::pg_catalog.text), 1000000000::pg_catalog.int8)";

/// Sees this statement what all others see? Not in a transaction that has written, or that keeps the snapshot of its
/// first statement.
pub(crate) fn sees_the_present(in_transaction: bool) -> &'static str {
    if in_transaction {
        "(pg_catalog.txid_current_if_assigned() IS NULL AND pg_catalog.current_setting('transaction_isolation') \
         OPERATOR(pg_catalog.=) 'read committed'::pg_catalog.text)"
    } else {
        "(pg_catalog.txid_current_if_assigned() IS NULL)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_into_sql_only_if_it_is_harmless() {
        assert_eq!(constant("base/1/1247 a_1,\"$user\",b[]"), "'base/1/1247 a_1,\"$user\",b[]'::pg_catalog.text");
        for harmful in ["'", "\\", "é", "\n", "\0", ";'--", "%"] {
            assert!(constant(harmful).contains("decode"), "{harmful:?}");
        }
        assert_eq!(constant("é'"), "pg_catalog.convert_from(pg_catalog.decode('c3a927', 'hex'), 'UTF8')");
        let tracked = Tracked { keys: Default::default(), names: vec!["a\"\\'b".into()] };
        let hex: String = r#"{"a\"\\'b"}"#.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(only_tracked(Some(&tracked)).contains(&format!("'{hex}'")));
    }
}
