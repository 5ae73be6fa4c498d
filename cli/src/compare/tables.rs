//! Schemas, tables, columns, indexes, large objects and extensions.

use std::collections::{HashMap, HashSet};

use crate::catalog::{Catalog, quoted};
use crate::compare::differences::of_extension;
use crate::compare::verdict::Findings;

pub(crate) fn extensions(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    let (Some(before), Some(after)) = (&old.extensions, &new.extensions) else { return };
    for extension in before {
        let name = quoted(&extension.name);
        let Some(now) = after.iter().find(|now| now.name == extension.name) else {
            let is_available = new.available.iter().flatten().any(|available| available.name == extension.name);
            let remedy = if is_available {
                format!("CREATE EXTENSION {name}")
            } else {
                "install its package on the new server first".to_owned()
            };
            findings.breaks("extensions", format!("{name} is missing: {remedy}"), Vec::new());
            continue;
        };
        if now.schema != extension.schema {
            let text =
                format!("{name} is in schema {}, was in {}", quoted(&now.schema), quoted(&extension.schema));
            findings.breaks("extensions", text, Vec::new());
        }
        if let Some(difference) = of_extension(&name, &extension.version, &now.version) {
            if difference.breaks {
                findings.breaks("extensions", difference.text, Vec::new());
            } else {
                findings.remark("extensions", difference.text, Vec::new());
            }
        }
    }
}

/// The schemas that are missing.
pub(crate) fn schemas(old: &Catalog, new: &Catalog, findings: &mut Findings) -> HashSet<String> {
    let (Some(before), Some(after)) = (&old.schemas, &new.schemas) else { return HashSet::new() };
    let gone: Vec<_> = before.iter().filter(|schema| !after.iter().any(|now| now.name == schema.name)).collect();
    let has_something = |schema: &str| {
        old.tables.iter().flatten().any(|table| table.schema == schema)
            || old.types.iter().flatten().any(|ty| ty.watched && ty.schema == schema)
            || old.functions.iter().flatten().any(|function| function.schema == schema)
    };
    let (used, empty): (Vec<_>, Vec<_>) = gone.iter().partition(|schema| has_something(&schema.name));
    let shown =
        |schemas: Vec<&&crate::catalog::Named>| schemas.iter().map(|schema| quoted(&schema.name)).collect();
    findings.breaks_if_any("schemas", "missing", shown(used));
    findings.remark_if_any("schemas", "missing; they were empty", shown(empty));
    gone.into_iter().map(|schema| schema.name.clone()).collect()
}

pub(crate) fn tables(old: &Catalog, new: &Catalog, gone: &HashSet<String>, findings: &mut Findings) {
    let (Some(before), Some(after)) = (&old.tables, &new.tables) else { return };
    let now: HashSet<_> = after.iter().map(|table| (&table.schema, &table.name)).collect();
    let known = before.iter().filter(|table| !gone.contains(&table.schema) && table.kind != 'S');
    let missing = known.filter(|table| !now.contains(&(&table.schema, &table.name)));
    let missing = missing.map(|table| format!("{}.{}", quoted(&table.schema), quoted(&table.name))).collect();
    findings.breaks_if_any("tables", "missing", missing);
    columns(old, new, &now, findings);
    for is_published in [true, false] {
        let lacking = before.iter().filter(|table| table.lacks_identity && table.is_published == is_published);
        let lacking = lacking.map(|table| format!("{}.{}", quoted(&table.schema), quoted(&table.name))).collect();
        if is_published {
            let text = "published without a replica identity: UPDATE and DELETE fail on the old server";
            findings.breaks_if_any("replica identity", text, lacking);
        } else {
            let text = "none: logical replication can't copy their UPDATE and DELETE";
            findings.remark_if_any("replica identity", text, lacking);
        }
    }
}

fn columns(old: &Catalog, new: &Catalog, tables: &HashSet<(&String, &String)>, findings: &mut Findings) {
    let (Some(before), Some(after)) = (&old.columns, &new.columns) else { return };
    let now: HashMap<_, _> =
        after.iter().map(|column| ((&column.schema, &column.table, &column.name), &column.type_name)).collect();
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for column in before.iter().filter(|column| tables.contains(&(&column.schema, &column.table))) {
        match now.get(&(&column.schema, &column.table, &column.name)) {
            None => missing.push(column.shown()),
            Some(name) if **name != column.type_name => {
                other.push(format!("{} ({} → {name})", column.shown(), column.type_name));
            }
            Some(_) => {}
        }
    }
    findings.breaks_if_any("columns", "missing", missing);
    findings.breaks_if_any("columns", "of another type", other);
}

pub(crate) fn indexes(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    let shown = |catalog: &Catalog| {
        let indexes = catalog.indexes.iter().flatten();
        indexes
            .map(|index| format!("{}.{} on {}", quoted(&index.schema), quoted(&index.name), quoted(&index.table)))
            .collect()
    };
    findings.breaks_if_any("indexes", "invalid on the new server: REINDEX them", shown(new));
    findings.remark_if_any("indexes", "invalid on the old server", shown(old));
}

pub(crate) fn large_objects(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    let count = |catalog: &Catalog| catalog.large_objects.as_ref().and_then(|rows| Some(rows.first()?.count));
    let (Some(before), Some(after)) = (count(old), count(new)) else { return };
    if after < before {
        let text = format!("{before} on the old server, {after} on the new one: logical replication copies none");
        findings.breaks("large objects", text, Vec::new());
    }
}

pub(crate) fn sequences(old: &Catalog, new: &Catalog, gone: &HashSet<String>, findings: &mut Findings) {
    let (Some(before), Some(after)) = (&old.sequences, &new.sequences) else { return };
    let (mut missing, mut behind) = (Vec::new(), Vec::new());
    for sequence in before.iter().filter(|sequence| !gone.contains(&sequence.schema)) {
        let shown = format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name));
        let found = after.iter().find(|now| (&now.schema, &now.name) == (&sequence.schema, &sequence.name));
        let Some(now) = found else {
            missing.push(shown);
            continue;
        };
        let is_descending = sequence.increment < 0;
        let farther = |value: i64| if is_descending { value.checked_neg().unwrap_or(i64::MAX) } else { value };
        let needed = [sequence.last, now.farthest].into_iter().flatten().max_by_key(|value| farther(*value));
        let is_behind = |needed: i64| now.last.is_none_or(|last| farther(last) < farther(needed));
        if let Some(needed) = needed.filter(|needed| now.is_visible && is_behind(*needed)) {
            let last = now.last.map_or("not used yet".to_owned(), |last| format!("at {last}"));
            behind.push(format!("{shown} ({last}, needs {needed})"));
        }
    }
    findings.breaks_if_any("sequences", "missing", missing);
    let text = "behind the data: logical replication copies none; setval() them at the switch";
    findings.breaks_if_any("sequences", text, behind);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Sequence;

    fn is_behind(increment: i64, old: Option<i64>, new: Option<i64>, farthest: Option<i64>) -> bool {
        let sequence = |last, farthest| Sequence {
            schema: "s".into(),
            name: "q".into(),
            increment,
            last,
            farthest,
            is_visible: true,
            ..Sequence::default()
        };
        let catalog = |sequence| Catalog { sequences: Some(vec![sequence]), ..Catalog::default() };
        let mut findings = Findings::default();
        let (old, new) = (catalog(sequence(old, None)), catalog(sequence(new, farthest)));
        sequences(&old, &new, &HashSet::new(), &mut findings);
        !findings.0.is_empty()
    }

    #[test]
    fn a_sequence_is_behind_the_data_or_the_old_sequence() {
        assert!(!is_behind(1, None, None, None));
        assert!(!is_behind(1, Some(5), Some(5), Some(5)));
        assert!(!is_behind(1, Some(5), Some(900), Some(5)));
        assert!(is_behind(1, Some(5), None, None));
        assert!(is_behind(1, Some(5), Some(4), None));
        assert!(is_behind(1, Some(5), Some(5), Some(6)));
        assert!(is_behind(-1, Some(-5), Some(-4), None));
        assert!(!is_behind(-1, Some(-5), Some(-6), Some(-5)));
    }
}
