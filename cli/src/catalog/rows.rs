//! What servers answer, as plain data.

use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Server {
    pub(crate) version_number: u32,
    pub(crate) version: String,
    pub(crate) database: String,
    pub(crate) database_oid: u32,
    pub(crate) role: String,
    pub(crate) encoding: String,
    pub(crate) collate: String,
    pub(crate) ctype: String,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) in_recovery: bool,
    /// Unless a transaction says otherwise.
    pub(crate) read_only: bool,
    pub(crate) backend: i32,
}

impl Server {
    pub(crate) fn major(&self) -> u32 {
        self.version_number / 10_000
    }

    /// As "PostgreSQL 17.6, database app, as role app".
    pub(crate) fn shown(&self) -> String {
        format!("PostgreSQL {}, database {}, as role {}", self.version, self.database, self.role)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Identity {
    pub(crate) system_identifier: String,
    pub(crate) started: String,
}

/// A type of any kind, also a built-in one, an array or a row type.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct Type {
    pub(crate) oid: u32,
    /// 0 if there is none.
    pub(crate) array: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// As in `pg_type.typtype`.
    pub(crate) kind: char,
    /// As in `pg_class.relkind`, or empty.
    pub(crate) relation: String,
    /// As in `pg_type.typcategory`.
    pub(crate) category: char,
    /// In bytes. Negative if it varies.
    pub(crate) length: i32,
    /// Of an array: its element's type. Else 0.
    pub(crate) element: u32,
    /// Has it binary send and receive functions?
    pub(crate) binary: bool,
    /// What reads its binary values.
    pub(crate) format: String,
    pub(crate) watched: bool,
    pub(crate) extension: Option<String>,
    /// Of a domain, else 0.
    pub(crate) base: u32,
    pub(crate) base_name: Option<String>,
    pub(crate) not_null: bool,
    pub(crate) default_value: Option<String>,
    pub(crate) collation: Option<String>,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) constraints: Option<Vec<String>>,
    pub(crate) fields: Option<Vec<Field>>,
    pub(crate) range: Option<Range>,
}

/// Name, type, and the type's name with modifier and collation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Field(pub(crate) String, pub(crate) u32, pub(crate) String);

/// Subtype, its name, collation and operator class.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Range(pub(crate) u32, pub(crate) String, pub(crate) Option<String>, pub(crate) Option<String>);

impl Type {
    /// With its schema, as SQL writes it.
    pub(crate) fn qualified(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// An identifier as SQL shows it: quoted only if it has to be. (Key words are not quoted.)
pub(crate) fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let begins = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if begins && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let shown: String =
        name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    super::sql::identifier(&shown)
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Column {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) oid: u32,
    pub(crate) type_name: String,
}

impl Column {
    pub(crate) fn shown(&self) -> String {
        format!("{}.{}.{}", quoted(&self.schema), quoted(&self.table), quoted(&self.name))
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: char,
    pub(crate) lacks_identity: bool,
    pub(crate) is_published: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Function {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) types: Vec<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Available {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) is_superuser: bool,
    pub(crate) may_login: bool,
    pub(crate) bypasses_rls: bool,
    pub(crate) is_own: bool,
    pub(crate) member_of: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Grant {
    pub(crate) kind: String,
    /// `None` for the database and languages.
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    /// Only of a column. Then `name` is the table's.
    pub(crate) column: Option<String>,
    /// `None` for everybody.
    pub(crate) role: Option<String>,
    pub(crate) may: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Setting {
    pub(crate) of_database: bool,
    pub(crate) role: Option<String>,
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Collation {
    pub(crate) name: String,
    pub(crate) recorded: Option<String>,
    pub(crate) actual: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DatabaseCollation {
    pub(crate) provider: String,
    pub(crate) locale: Option<String>,
    pub(crate) recorded: Option<String>,
    pub(crate) actual: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Sequence {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) increment: i64,
    /// `None` if it was never used, or may not be seen.
    pub(crate) last: Option<i64>,
    pub(crate) is_visible: bool,
    pub(crate) table_schema: Option<String>,
    pub(crate) table_name: Option<String>,
    pub(crate) column_name: Option<String>,
    pub(crate) is_indexed: bool,
    pub(crate) may_select: bool,
    /// The value in the table that is farthest along. Asked apart, on the new server only.
    #[serde(default)]
    pub(crate) farthest: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Index {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Count {
    pub(crate) count: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cast {
    pub(crate) source: u32,
    pub(crate) target: u32,
    pub(crate) is_implicit: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Equality {
    pub(crate) left: u32,
    pub(crate) right: u32,
}
