//! Which columns and functions use a type: also through arrays, domains, composites and ranges.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::catalog::{Catalog, Column, Type, quoted};

/// The types of one server, and who uses them.
pub(crate) struct Uses<'a> {
    by_oid: HashMap<u32, &'a Type>,
    by_name: HashMap<(&'a str, &'a str), &'a Type>,
    columns: HashMap<u32, BTreeSet<String>>,
    functions: HashMap<u32, BTreeSet<String>>,
}

impl<'a> Uses<'a> {
    pub(crate) fn of(catalog: &'a Catalog) -> Self {
        Self::with_columns(catalog, catalog.columns.as_deref().unwrap_or_default())
    }

    pub(crate) fn with_columns(catalog: &'a Catalog, columns: &'a [Column]) -> Self {
        let types = catalog.types.as_deref().unwrap_or_default();
        let mut uses = Uses {
            by_oid: types.iter().map(|ty| (ty.oid, ty)).collect(),
            by_name: types.iter().map(|ty| ((ty.schema.as_str(), ty.name.as_str()), ty)).collect(),
            columns: HashMap::new(),
            functions: HashMap::new(),
        };
        for column in columns {
            for oid in uses.contained(column.oid) {
                uses.columns.entry(oid).or_default().insert(column.shown());
            }
        }
        for function in catalog.functions.iter().flatten() {
            let shown = format!("{}.{}", quoted(&function.schema), quoted(&function.name));
            let contained: HashSet<_> = function.types.iter().flat_map(|oid| uses.contained(*oid)).collect();
            for oid in contained {
                uses.functions.entry(oid).or_default().insert(shown.clone());
            }
        }
        uses
    }

    pub(crate) fn by_oid(&self, oid: u32) -> Option<&'a Type> {
        self.by_oid.get(&oid).copied()
    }

    pub(crate) fn by_name(&self, of: &Type) -> Option<&'a Type> {
        self.by_name.get(&(of.schema.as_str(), of.name.as_str())).copied()
    }

    pub(crate) fn columns(&self, ty: &Type) -> Vec<String> {
        self.columns.get(&ty.oid).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn functions(&self, ty: &Type) -> Vec<String> {
        self.functions.get(&ty.oid).into_iter().flatten().cloned().collect()
    }

    /// What a domain, over however many others, is in the end.
    pub(crate) fn base(&self, mut ty: &'a Type) -> &'a Type {
        while let Some(base) = self.by_oid(ty.base).filter(|_| ty.kind == 'd') {
            ty = base;
        }
        ty
    }

    /// The user-defined types that a value of this type has in it, with itself.
    fn contained(&self, oid: u32) -> HashSet<u32> {
        let mut found = HashSet::new();
        let mut open = vec![oid];
        while let Some(oid) = open.pop() {
            let Some(ty) = self.by_oid(oid).filter(|_| oid > 16383 && found.insert(oid)) else { continue };
            open.extend([ty.element, ty.base]);
            open.extend(ty.fields.iter().flatten().map(|field| field.1));
            open.extend(ty.range.iter().map(|range| range.0));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Field;

    #[test]
    fn a_type_is_used_by_what_contains_it() {
        let ty = |oid: u32, name: &str| Type { oid, name: name.into(), schema: "s".into(), ..Type::default() };
        let types = vec![
            ty(20000, "mood"),
            Type { element: 20000, ..ty(20001, "_mood") },
            Type { kind: 'd', base: 20001, ..ty(20002, "moods") },
            Type { fields: Some(vec![Field("m".into(), 20002, "s.moods".into())]), ..ty(20003, "day") },
            ty(20004, "unused"),
        ];
        let columns = vec![Column {
            schema: "s".into(),
            table: "t".into(),
            name: "Day".into(),
            oid: 20003,
            ..Column::default()
        }];
        let catalog = Catalog { types: Some(types.clone()), columns: Some(columns), ..Catalog::default() };
        let uses = Uses::of(&catalog);
        for ty in &types[..4] {
            assert_eq!(uses.columns(ty), ["s.t.\"Day\""], "{}", ty.name);
        }
        assert_eq!(uses.columns(&types[4]), [""; 0]);
    }
}
