//! An old OID that names another type on the new server: an error, or a wrong answer?
//!
//! The rule: it is silent if both of these hold.
//!
//! 1. The new server's other type can read the bytes that are bound for the old one.
//! 2. The new server takes a value of the other type where the right one belongs: it compares them, or converts one to
//!    the other by itself.

use std::collections::HashSet;

use crate::catalog::{Catalog, Type};
use crate::compare::differences::kind;
use crate::compare::uses::Uses;
use crate::compare::verdict::Collision;

const LABELS_ONLY: &str = "values that are labels of it";

/// What the new server accepts in place of what.
pub(crate) struct Rules {
    implicit: HashSet<(u32, u32)>,
    on_assignment: HashSet<(u32, u32)>,
    equal: HashSet<(u32, u32)>,
}

impl Rules {
    pub(crate) fn of(new: &Catalog) -> Self {
        let casts = || new.casts.iter().flatten();
        Rules {
            implicit: casts().filter(|cast| cast.is_implicit).map(|cast| (cast.source, cast.target)).collect(),
            on_assignment: casts().map(|cast| (cast.source, cast.target)).collect(),
            equal: new.equalities.iter().flatten().map(|equality| (equality.left, equality.right)).collect(),
        }
    }
}

pub(crate) struct Collisions<'a> {
    pub(crate) old: &'a Uses<'a>,
    pub(crate) new: &'a Uses<'a>,
    pub(crate) rules: &'a Rules,
}

impl<'a> Collisions<'a> {
    /// `moved` is what the new server calls by the old one's name.
    pub(crate) fn of(&self, ty: &'a Type, moved: Option<&'a Type>) -> Vec<Collision> {
        let array = self.old.by_oid(ty.array).filter(|_| ty.array != 0);
        let moved_array = moved.filter(|moved| moved.array != 0).and_then(|moved| self.new.by_oid(moved.array));
        [(Some(ty), moved, false), (array, moved_array, true)]
            .into_iter()
            .filter_map(|(ty, moved, of_array)| self.at(ty?, moved, of_array))
            .collect()
    }

    fn at(&self, ty: &'a Type, moved: Option<&'a Type>, of_array: bool) -> Option<Collision> {
        let other = self.new.by_oid(ty.oid)?;
        if moved.is_some_and(|moved| moved.oid == other.oid) {
            return None;
        }
        let (silent, why) = self.judge(ty, other, moved);
        Some(Collision { oid: ty.oid, of_array, names: self.shown(other), silent, why })
    }

    fn judge(&self, ty: &'a Type, other: &'a Type, moved: Option<&'a Type>) -> (bool, String) {
        let Some(moved) = moved else {
            return (false, "nothing on the new server has the right type".to_owned());
        };
        let Some(which) = self.reads(other, ty) else {
            return (false, "it can't read the values, which is an error".to_owned());
        };
        match self.takes(other, moved) {
            Some(how) => (true, format!("it reads {which}, and {how}: wrong answers without an error")),
            None => (false, "the server takes neither for the other, which is an error".to_owned()),
        }
    }

    /// Which values of the old server's `ty` the new server's `other` reads.
    fn reads(&self, other: &'a Type, ty: &'a Type) -> Option<&'static str> {
        const ALL: &str = "the values";
        let (other, ty) = (self.new.base(other), self.old.base(ty));
        if !other.binary || !ty.binary {
            return None;
        }
        if other.element != 0 && ty.element != 0 {
            // The OID of the element is part of the value.
            let elements = (self.new.by_oid(other.element)?, self.old.by_oid(ty.element)?);
            return self.reads(elements.0, elements.1).filter(|_| other.element == ty.element);
        }
        match (&ty.labels, &other.labels) {
            (Some(labels), Some(others)) => {
                labels.iter().any(|label| others.contains(label)).then_some(LABELS_ONLY)
            }
            (None, Some(_)) => is_text(ty).then_some(LABELS_ONLY),
            (Some(_), None) => is_text(other).then_some(ALL),
            (None, None) if ty.kind != other.kind || ty.element != other.element => None,
            (None, None) if is_text(ty) && is_text(other) => Some(ALL),
            (None, None) => match ty.kind {
                'r' | 'm' => (ty.range.as_ref()?.1 == other.range.as_ref()?.1).then_some(ALL),
                'c' => {
                    let fields = |ty: &Type| ty.fields.iter().flatten().map(|field| field.1).collect::<Vec<_>>();
                    let (fields, others) = (fields(ty), fields(other));
                    (!fields.is_empty() && fields == others).then_some(ALL)
                }
                _ => (ty.format == other.format || ty.length > 0 && ty.length == other.length).then_some(ALL),
            },
        }
    }

    /// How the new server takes `other` where the type `right` belongs.
    fn takes(&self, other: &'a Type, right: &'a Type) -> Option<&'static str> {
        let (other, right) = (self.new.base(other), self.new.base(right));
        if other.element != 0 && right.element != 0 {
            return self.takes(self.new.by_oid(other.element)?, self.new.by_oid(right.element)?);
        }
        let either = |pairs: &HashSet<(u32, u32)>| {
            pairs.contains(&(other.oid, right.oid)) || pairs.contains(&(right.oid, other.oid))
        };
        let are_texts = other.category == 'S' && right.category == 'S';
        if other.oid == right.oid || either(&self.rules.equal) || either(&self.rules.implicit) || are_texts {
            return Some("the server compares the two");
        }
        let is_stored = self.rules.on_assignment.contains(&(other.oid, right.oid)) || right.category == 'S';
        is_stored.then_some("the server stores one as the other")
    }

    fn shown(&self, ty: &Type) -> String {
        match self.new.by_oid(ty.element).filter(|_| ty.kind == 'b') {
            Some(element) => format!("{}[]", element.qualified()),
            None => format!("{} {}", kind(ty), ty.qualified()),
        }
    }
}

/// Are its binary values plain text?
fn is_text(ty: &Type) -> bool {
    ["textrecv", "varcharrecv", "bpcharrecv", "unknownrecv", "namerecv"].contains(&ty.format.as_str())
}
