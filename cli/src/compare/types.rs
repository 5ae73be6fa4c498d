//! What becomes of each type.

use std::collections::HashMap;

use crate::catalog::{Catalog, Type};
use crate::compare::collision::{Collisions, Rules};
use crate::compare::differences;
use crate::compare::uses::Uses;
use crate::compare::verdict::{Collision, Difference, Oids, Severity, TypeVerdict, Verdict};

/// By name.
pub(crate) fn compare(old: &Catalog, new: &Catalog) -> Vec<TypeVerdict> {
    let (Some(types), true) = (&old.types, new.types.is_some()) else { return Vec::new() };
    let (old_uses, new_uses) = (Uses::of(old), Uses::of(new));
    let rules = Rules::of(new);
    let collisions = Collisions { old: &old_uses, new: &new_uses, rules: &rules };
    let versions = ExtensionVersions::of(old, new);
    let mut verdicts: Vec<_> = types
        .iter()
        .filter(|ty| ty.watched)
        .map(|ty| {
            let now = new_uses.by_name(ty);
            let mut differences = now.map(|now| differences::between(ty, now)).unwrap_or_default();
            differences.extend(now.and_then(|_| versions.of_type(ty)));
            let columns = old_uses.columns(ty);
            let functions = old_uses.functions(ty);
            judge(ty, now, collisions.of(ty, now), differences, columns, functions)
        })
        .collect();
    verdicts.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    verdicts
}

fn judge(
    ty: &Type,
    now: Option<&Type>,
    collisions: Vec<Collision>,
    differences: Vec<Difference>,
    columns: Vec<String>,
    functions: Vec<String>,
) -> TypeVerdict {
    let moves = now.is_some_and(|now| (now.oid, now.array) != (ty.oid, ty.array));
    let breaks = differences.iter().any(|difference| difference.breaks);
    let is_used = !columns.is_empty() || !functions.is_empty();
    let verdict = match now {
        None => Verdict::Missing,
        Some(_) if breaks => Verdict::Differs,
        Some(_) if !collisions.is_empty() => Verdict::Collides,
        Some(_) if moves => Verdict::Moves,
        Some(_) if !differences.is_empty() => Verdict::Differs,
        Some(_) => Verdict::Same,
    };
    let severity = match verdict {
        _ if is_used && (now.is_none() || breaks) => Severity::Breaks,
        _ if moves => Severity::Handled,
        Verdict::Same => Severity::None,
        _ => Severity::Remark,
    };
    TypeVerdict {
        schema: ty.schema.clone(),
        name: ty.name.clone(),
        shown: ty.qualified(),
        kind: differences::kind(ty),
        extension: ty.extension.clone(),
        verdict,
        severity,
        moves,
        old: Oids { ty: ty.oid, array: ty.array },
        new: now.map(|now| Oids { ty: now.oid, array: now.array }),
        collisions,
        differences,
        columns,
        functions,
    }
}

struct ExtensionVersions<'a> {
    old: HashMap<&'a str, &'a str>,
    new: HashMap<&'a str, &'a str>,
}

impl<'a> ExtensionVersions<'a> {
    fn of(old: &'a Catalog, new: &'a Catalog) -> Self {
        let versions = |catalog: &'a Catalog| {
            let extensions = catalog.extensions.iter().flatten();
            extensions.map(|extension| (extension.name.as_str(), extension.version.as_str())).collect()
        };
        ExtensionVersions { old: versions(old), new: versions(new) }
    }

    fn of_type(&self, ty: &Type) -> Option<Difference> {
        let name = ty.extension.as_deref()?;
        differences::of_extension(name, self.old.get(name)?, self.new.get(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, Equality};

    fn base(oid: u32, name: &str) -> Type {
        let format = "textrecv".to_owned();
        let (schema, name) = ("public".to_owned(), name.to_owned());
        Type {
            oid,
            schema,
            name,
            kind: 'b',
            category: 'S',
            length: -1,
            binary: true,
            format,
            watched: true,
            ..Type::default()
        }
    }

    fn catalog(types: Vec<Type>) -> Catalog {
        let columns = types.iter().map(|ty| Column {
            schema: "public".into(),
            table: "t".into(),
            name: ty.name.clone(),
            oid: ty.oid,
            type_name: ty.qualified(),
        });
        let equalities = types.iter().map(|ty| Equality { left: ty.oid, right: ty.oid }).collect();
        Catalog {
            columns: Some(columns.collect()),
            equalities: Some(equalities),
            types: Some(types),
            ..Catalog::default()
        }
    }

    fn verdicts(old: Vec<Type>, new: Vec<Type>) -> Vec<(Verdict, Severity)> {
        let verdicts = compare(&catalog(old), &catalog(new));
        verdicts.into_iter().map(|verdict| (verdict.verdict, verdict.severity)).collect()
    }

    #[test]
    fn a_type_is_found_by_its_name() {
        let old = vec![base(20000, "a")];
        assert_eq!(verdicts(old.clone(), old.clone()), [(Verdict::Same, Severity::None)]);
        assert_eq!(verdicts(old.clone(), vec![base(20001, "a")]), [(Verdict::Moves, Severity::Handled)]);
        assert_eq!(verdicts(old, vec![base(20001, "b")]), [(Verdict::Missing, Severity::Breaks)]);
    }

    #[test]
    fn an_oid_that_names_another_type_collides() {
        let old = catalog(vec![base(20000, "a")]);
        let new = catalog(vec![base(20000, "b"), base(20001, "a")]);
        let verdict = compare(&old, &new).remove(0);
        assert_eq!(verdict.verdict, Verdict::Collides);
        assert_eq!(verdict.collisions[0].names, "base type public.b");
        assert!(verdict.collisions[0].silent, "{:?}", verdict.collisions);
        assert_eq!(verdict.columns, ["public.t.a"]);
    }

    #[test]
    fn a_collision_with_an_enum_is_an_error() {
        let labels = |name: &str, oid, label: &str| Type {
            kind: 'e',
            category: 'E',
            format: "enum_recv".into(),
            labels: Some(vec![label.to_owned()]),
            ..base(oid, name)
        };
        let old = catalog(vec![labels("a", 20000, "x")]);
        for label in ["x", "y"] {
            let new = catalog(vec![labels("b", 20000, label), labels("a", 20001, "x")]);
            let verdict = compare(&old, &new).remove(0);
            assert_eq!(verdict.verdict, Verdict::Collides);
            assert!(!verdict.collisions[0].silent, "{:?}", verdict.collisions);
        }
    }

    #[test]
    fn a_missing_type_that_nothing_uses_is_a_remark() {
        let mut old = catalog(vec![base(20000, "a")]);
        old.columns = None;
        let verdict = compare(&old, &catalog(Vec::new())).remove(0);
        assert_eq!((verdict.verdict, verdict.severity), (Verdict::Missing, Severity::Remark));
    }
}
