//! The types of a database, and how one search path sees them.

use std::sync::Arc;

/// A user-defined type: base, enum, domain, range, multirange or stand-alone composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgType {
    pub(crate) oid: u32,
    /// 0 if the type has no array, as domains before PostgreSQL 11.
    pub(crate) array_oid: u32,
    pub(crate) schema: Box<str>,
    pub(crate) name: Box<str>,
    /// Only if it is not the name with an underscore before it.
    array_name: Option<Box<str>>,
    /// As SQL shows them, if that differs.
    quoted_schema: Option<Box<str>>,
    quoted_name: Option<Box<str>>,
}

/// The names of a type, from the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Empty if there is no array.
    pub(crate) array: String,
    pub(crate) quoted_schema: String,
    pub(crate) quoted_name: String,
}

impl PgType {
    pub(crate) fn new(oid: u32, array_oid: u32, names: Names) -> Self {
        let unless = |text: String, usual: &str| (text != usual).then(|| text.into_boxed_str());
        PgType {
            oid,
            array_oid,
            array_name: unless(names.array, &usual_array_name(&names.name)),
            quoted_schema: unless(names.quoted_schema, &names.schema),
            quoted_name: unless(names.quoted_name, &names.name),
            schema: names.schema.into_boxed_str(),
            name: names.name.into_boxed_str(),
        }
    }

    /// What the server calls the type's array. `None` if it has none.
    pub(crate) fn array_name(&self) -> Option<String> {
        match &self.array_name {
            None => Some(usual_array_name(&self.name)),
            Some(name) if name.is_empty() => None,
            Some(name) => Some(name.to_string()),
        }
    }

    /// As SQL has it, with its schema.
    pub(crate) fn qualified(&self) -> String {
        let mut qualified = String::new();
        self.push_shown(false, &mut qualified);
        qualified
    }

    /// What `regtype` shows: the bare name if the search path finds the type by it, else with its schema.
    fn push_shown(&self, is_visible: bool, shown: &mut String) {
        if !is_visible {
            shown.push_str(self.quoted_schema.as_deref().unwrap_or(&self.schema));
            shown.push('.');
        }
        shown.push_str(self.quoted_name.as_deref().unwrap_or(&self.name));
    }

    fn size(&self) -> usize {
        let optional = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>()
            + self.schema.len()
            + self.name.len()
            + optional(&self.array_name)
            + optional(&self.quoted_schema)
            + optional(&self.quoted_name)
    }
}

fn usual_array_name(name: &str) -> String {
    format!("_{name}")
}

/// The types of one database, by OID. What sees the same types shares the list.
pub(crate) type Types = Arc<[PgType]>;

/// In bytes.
pub(crate) fn size_of_types(types: &[PgType]) -> usize {
    types.iter().map(PgType::size).sum()
}

/// How one search path sees the types of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) types: Types,
    /// Which of them the bare name finds, in the same order.
    pub(crate) visible: Box<[bool]>,
}

impl View {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PgType, bool)> {
        self.types.iter().zip(self.visible.iter().copied())
    }

    /// What the server shows of the types with [`View::oids`], with commas in between. (A name that has a comma is
    /// quoted.)
    pub(crate) fn shown(&self, with_arrays: bool) -> String {
        let mut shown = String::new();
        let mut push = |ty: &PgType, is_visible, suffix: &str| {
            if !shown.is_empty() {
                shown.push(',');
            }
            ty.push_shown(is_visible, &mut shown);
            shown.push_str(suffix);
        };
        self.iter().for_each(|(ty, is_visible)| push(ty, is_visible, ""));
        if with_arrays {
            self.iter()
                .filter(|(ty, _)| ty.array_oid != 0)
                .for_each(|(ty, is_visible)| push(ty, is_visible, "[]"));
        }
        shown
    }

    /// With the arrays' OIDs if servers are told apart by their types alone: the same type may have the same OID on
    /// another server, and its array another one.
    pub(crate) fn oids(&self, with_arrays: bool) -> Vec<u32> {
        let oids = self.types.iter().map(|ty| ty.oid);
        let arrays = self.types.iter().map(|ty| ty.array_oid).filter(|oid| with_arrays && *oid != 0);
        oids.chain(arrays).collect()
    }

    /// The same search path's view of the present types, if that is known without asking: if no type is new in a schema
    /// that the path has. A type of another schema is not visible.
    pub(crate) fn after(&self, types: &Types, is_in_path: impl Fn(&str) -> bool) -> Option<View> {
        let mut known = self.iter().peekable();
        let visible = types.iter().map(|ty| {
            while known.next_if(|(known, _)| known.oid < ty.oid).is_some() {}
            match known.next_if(|(known, _)| known.oid == ty.oid) {
                Some((known, is_visible)) => (known == ty).then_some(is_visible),
                None => (!is_in_path(&ty.schema)).then_some(false),
            }
        });
        Some(View { visible: visible.collect::<Option<_>>()?, types: Arc::clone(types) })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn ty(schema: &str, name: &str, oid: u32) -> PgType {
        let names = Names {
            schema: schema.into(),
            name: name.into(),
            array: format!("_{name}"),
            quoted_schema: schema.into(),
            quoted_name: if name.contains(',') { format!("\"{name}\"") } else { name.into() },
        };
        PgType::new(oid, oid + 1, names)
    }

    pub(crate) fn view(types: Vec<(PgType, bool)>) -> View {
        let (types, visible): (Vec<_>, Vec<_>) = types.into_iter().unzip();
        View { types: types.into(), visible: visible.into() }
    }

    #[test]
    fn a_type_is_shown_as_the_server_shows_it() {
        let view = view(vec![(ty("public", "mood", 20), true), (ty("tenant", "a,b", 30), false)]);
        assert_eq!(view.shown(false), "mood,tenant.\"a,b\"");
        assert_eq!(view.shown(true), "mood,tenant.\"a,b\",mood[],tenant.\"a,b\"[]");
        assert_eq!(view.oids(true), [20, 30, 21, 31]);
    }

    #[test]
    fn a_type_that_is_new_in_another_schema_is_not_visible() {
        let before = view(vec![(ty("public", "mood", 20), true)]);
        let after: Types = [ty("public", "mood", 20), ty("tenant", "mood", 30)].into();
        let seen = before.after(&after, |schema| schema == "public").expect("nothing new in public");
        assert_eq!(*seen.visible, [true, false]);
        assert_eq!(before.after(&after, |schema| schema == "tenant"), None, "it may hide the other one");
    }

    #[test]
    fn a_type_that_was_renamed_is_asked_for() {
        let before = view(vec![(ty("public", "mood", 20), true)]);
        let after: Types = [ty("public", "moods", 20)].into();
        assert_eq!(before.after(&after, |_| true), None);
    }

    #[test]
    fn a_type_that_is_gone_is_gone_from_the_view() {
        let before = view(vec![(ty("public", "a", 20), true), (ty("public", "b", 30), true)]);
        let after: Types = [ty("public", "b", 30)].into();
        assert_eq!(before.after(&after, |_| true).expect("known").shown(false), "b");
    }
}
