//! What a server has, read in one READ ONLY transaction.

mod read;
mod rows;
mod sequences;
mod sql;

pub(crate) use read::{Reader, read};
pub(crate) use rows::*;

/// Everything that is compared. What the role may not ask is `None`, and named in `unseen`.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) server: Server,
    pub(crate) identity: Option<Identity>,
    pub(crate) types: Option<Vec<Type>>,
    pub(crate) columns: Option<Vec<Column>>,
    pub(crate) tables: Option<Vec<Table>>,
    pub(crate) functions: Option<Vec<Function>>,
    pub(crate) extensions: Option<Vec<Extension>>,
    pub(crate) available: Option<Vec<Available>>,
    pub(crate) schemas: Option<Vec<Named>>,
    pub(crate) roles: Option<Vec<Role>>,
    pub(crate) grants: Option<Vec<Grant>>,
    pub(crate) settings: Option<Vec<Setting>>,
    pub(crate) known: Option<Vec<Known>>,
    pub(crate) collations: Option<Vec<Collation>>,
    pub(crate) database_collation: Option<Vec<DatabaseCollation>>,
    pub(crate) sequences: Option<Vec<Sequence>>,
    pub(crate) indexes: Option<Vec<Index>>,
    pub(crate) large_objects: Option<Vec<Count>>,
    pub(crate) casts: Option<Vec<Cast>>,
    pub(crate) equalities: Option<Vec<Equality>>,
    pub(crate) unseen: Vec<Unseen>,
}

/// What a server refused to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unseen {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Catalog {
    /// Leaves out what is in other schemas. Types stay: they are named by OID.
    pub(crate) fn narrow(&mut self, schemas: &[String]) {
        if schemas.is_empty() {
            return;
        }
        let is_in = |schema: &str| schemas.iter().any(|named| named == schema);
        if let Some(types) = &mut self.types {
            types.iter_mut().filter(|ty| !is_in(&ty.schema)).for_each(|ty| ty.watched = false);
        }
        retain(&mut self.schemas, |row| is_in(&row.name));
        retain(&mut self.columns, |row| is_in(&row.schema));
        retain(&mut self.tables, |row| is_in(&row.schema));
        retain(&mut self.functions, |row| is_in(&row.schema));
        retain(&mut self.sequences, |row| is_in(&row.schema));
        retain(&mut self.indexes, |row| is_in(&row.schema));
        retain(&mut self.grants, |row| row.schema.as_deref().is_none_or(is_in));
    }
}

fn retain<T>(rows: &mut Option<Vec<T>>, keep: impl Fn(&T) -> bool) {
    if let Some(rows) = rows {
        rows.retain(keep);
    }
}
