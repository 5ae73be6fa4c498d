//! In what two types of one name differ.

use crate::catalog::Type;
use crate::compare::verdict::Difference;

pub(crate) fn between(old: &Type, new: &Type) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut breaks = |text: String| found.push(Difference { breaks: true, text });
    if (old.kind, &old.relation) != (new.kind, &new.relation) {
        breaks(format!("was {}, becomes {}", with_article(kind(old)), with_article(kind(new))));
        return found;
    }
    let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    for (what, old, new) in [
        ("base type", &old.base_name, &new.base_name),
        ("default", &old.default_value, &new.default_value),
        ("collation", &old.collation, &new.collation),
        ("extension", &old.extension, &new.extension),
    ] {
        if old != new {
            breaks(format!("{what}: {} → {}", optional(old), optional(new)));
        }
    }
    if old.not_null != new.not_null {
        breaks(format!("{} NOT NULL", if new.not_null { "becomes" } else { "is no longer" }));
    }
    if old.constraints != new.constraints {
        let shown = |constraints: &Option<Vec<String>>| match constraints.as_deref() {
            None | Some([]) => "none".to_owned(),
            Some(constraints) => constraints.join(", "),
        };
        breaks(format!("constraints: {} → {}", shown(&old.constraints), shown(&new.constraints)));
    }
    of_ranges(old, new, &mut breaks);
    of_fields(old, new, &mut breaks);
    if old.binary && !new.binary {
        breaks("no binary send or receive".to_owned());
    }
    if old.kind == 'b' && (old.length, &old.format) != (new.length, &new.format) && new.binary == old.binary {
        breaks("another binary format".to_owned());
    }
    of_labels(old, new, &mut found);
    if !old.binary && !new.binary {
        found.push(Difference { breaks: false, text: "no binary send or receive on either server".to_owned() });
    }
    found
}

pub(crate) fn kind(ty: &Type) -> &'static str {
    match (ty.kind, ty.relation.as_str()) {
        ('b', _) if ty.element != 0 => "array",
        ('b', _) => "base type",
        ('d', _) => "domain",
        ('e', _) => "enum",
        ('r', _) => "range",
        ('m', _) => "multirange",
        ('c', "c") => "composite",
        ('c', _) => "row type",
        _ => "pseudo-type",
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn of_ranges(old: &Type, new: &Type, breaks: &mut impl FnMut(String)) {
    let (Some(old), Some(new)) = (&old.range, &new.range) else { return };
    if old.1 != new.1 {
        breaks(format!("subtype: {} → {}", old.1, new.1));
    }
    for (what, old, new) in [("collation", &old.2, &new.2), ("operator class", &old.3, &new.3)] {
        if old != new {
            let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
            breaks(format!("{what}: {} → {}", shown(old), shown(new)));
        }
    }
}

fn of_fields(old: &Type, new: &Type, breaks: &mut impl FnMut(String)) {
    let (Some(old), Some(new)) = (&old.fields, &new.fields) else { return };
    let shown = |ty: &[crate::catalog::Field]| {
        ty.iter().map(|field| format!("{} {}", field.0, field.2)).collect::<Vec<_>>().join(", ")
    };
    let (old, new) = (shown(old), shown(new));
    if old != new {
        breaks(format!("fields: ({old}) → ({new})"));
    }
}

/// A label that only the new server has breaks nothing yet.
fn of_labels(old: &Type, new: &Type, found: &mut Vec<Difference>) {
    let (Some(old), Some(new)) = (&old.labels, &new.labels) else { return };
    let missing: Vec<_> = old.iter().filter(|label| !new.contains(label)).map(|label| quote(label)).collect();
    if !missing.is_empty() {
        found.push(Difference { breaks: true, text: format!("labels missing: {}", missing.join(", ")) });
    }
    let common = |labels: &[String], others: &[String]| -> Vec<String> {
        labels.iter().filter(|label| others.contains(label)).map(|label| quote(label)).collect()
    };
    let (before, after) = (common(old, new), common(new, old));
    if before != after {
        let text = format!("order of labels: {} → {}", before.join(", "), after.join(", "));
        found.push(Difference { breaks: true, text });
    }
    let added: Vec<_> = new.iter().filter(|label| !old.contains(label)).map(|label| quote(label)).collect();
    if !added.is_empty() {
        found.push(Difference { breaks: false, text: format!("labels added: {}", added.join(", ")) });
    }
}

fn quote(label: &str) -> String {
    format!("'{}'", label.escape_debug())
}

/// Did the extension become older? Then something that the application uses may not be there yet.
pub(crate) fn of_extension(name: &str, old: &str, new: &str) -> Option<Difference> {
    (old != new).then(|| {
        let breaks = numbers(new) < numbers(old);
        let hint = if breaks { ", which is older" } else { "" };
        Difference { breaks, text: format!("extension {name}: {old} → {new}{hint}") }
    })
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(old: &Type, new: &Type) -> Vec<String> {
        let found = between(old, new).into_iter();
        found
            .map(|difference| format!("{}{}", if difference.breaks { "! " } else { "" }, difference.text))
            .collect()
    }

    fn enumeration(labels: &[&str]) -> Type {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Type { kind: 'e', binary: true, labels: Some(labels), ..Type::default() }
    }

    #[test]
    fn an_enum_differs_by_its_labels_and_their_order() {
        let old = enumeration(&["a", "b", "c"]);
        assert_eq!(texts(&old, &old), [""; 0]);
        assert_eq!(texts(&old, &enumeration(&["a", "x", "b", "c"])), ["labels added: 'x'"]);
        let other = enumeration(&["b", "a"]);
        assert_eq!(texts(&old, &other), ["! labels missing: 'c'", "! order of labels: 'a', 'b' → 'b', 'a'"]);
    }

    #[test]
    fn another_kind_is_all_that_is_said() {
        let domain = Type { kind: 'd', ..Type::default() };
        assert_eq!(texts(&enumeration(&["a"]), &domain), ["! was an enum, becomes a domain"]);
    }

    #[test]
    fn an_older_extension_breaks_a_newer_one_does_not() {
        let breaks = |old, new| of_extension("x", old, new).map(|difference| difference.breaks);
        assert_eq!(breaks("1.4", "1.4"), None);
        assert_eq!(breaks("1.4", "1.10"), Some(false));
        assert_eq!(breaks("3.4.0", "3.3.9"), Some(true));
    }
}
