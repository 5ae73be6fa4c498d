//! Roles, and what they may do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::catalog::{Catalog, Grant, Role, quoted};
use crate::compare::verdict::Findings;

pub(crate) fn compare(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    let (Some(before), Some(after)) = (&old.roles, &new.roles) else { return };
    let now: HashMap<_, _> = after.iter().map(|role| (role.name.as_str(), role)).collect();
    let used = used(old, before);
    let missing: Vec<_> = used.iter().filter(|name| !now.contains_key(**name)).map(|name| quoted(name)).collect();
    findings.breaks_if_any("roles", "missing", missing);
    for role in before.iter().filter(|role| used.contains(role.name.as_str())) {
        if let Some(now) = now.get(role.name.as_str()) {
            attributes(role, now, findings);
        }
    }
    grants(old, new, &now, findings);
}

/// Roles that may do something in this database, or have settings in it, and those that they are members of.
fn used<'a>(old: &'a Catalog, roles: &'a [Role]) -> BTreeSet<&'a str> {
    let by_name: HashMap<_, _> = roles.iter().map(|role| (role.name.as_str(), role)).collect();
    let granted = old.grants.iter().flatten().filter_map(|grant| grant.role.as_deref());
    let set = old.settings.iter().flatten().filter_map(|setting| setting.role.as_deref());
    let own = roles.iter().filter(|role| role.is_own).map(|role| role.name.as_str());
    let mut open: Vec<_> = granted.chain(set).chain(own).collect();
    let mut used = BTreeSet::new();
    while let Some(name) = open.pop() {
        if let Some(role) = by_name.get(name).filter(|_| used.insert(name)) {
            open.extend(role.member_of.iter().map(String::as_str).filter(|group| !group.starts_with("pg_")));
        }
    }
    used.retain(|name| !name.starts_with("pg_"));
    used
}

fn attributes(old: &Role, new: &Role, findings: &mut Findings) {
    let mut lost = Vec::new();
    for (had, has, what) in [
        (old.may_login, new.may_login, "may not log in"),
        (old.is_superuser, new.is_superuser, "is no superuser"),
        (
            old.bypasses_rls || old.is_superuser,
            new.bypasses_rls || new.is_superuser,
            "does not bypass row security",
        ),
    ] {
        if had && !has {
            lost.push(what.to_owned());
        }
    }
    let groups = old.member_of.iter().filter(|group| !new.member_of.contains(group));
    lost.extend(groups.map(|group| format!("is no member of {}", quoted(group))));
    findings.breaks_if_any("roles", quoted(&old.name), lost);
}

/// Kind, schema, name, and column.
type Object<'a> = (&'a str, Option<&'a str>, &'a str, Option<&'a str>);

/// What the roles of a server may do, as it is granted.
struct Granted<'a> {
    may: HashMap<(Object<'a>, Option<&'a str>), HashSet<&'a str>>,
    objects: HashSet<Object<'a>>,
    roles: &'a HashMap<&'a str, &'a Role>,
}

fn object(grant: &Grant) -> Object<'_> {
    (&grant.kind, grant.schema.as_deref(), &grant.name, grant.column.as_deref())
}

impl<'a> Granted<'a> {
    fn of(grants: &'a [Grant], roles: &'a HashMap<&'a str, &'a Role>) -> Self {
        let may = grants
            .iter()
            .map(|grant| ((object(grant), grant.role.as_deref()), grant.may.iter().map(String::as_str).collect()));
        Granted { may: may.collect(), objects: grants.iter().map(object).collect(), roles }
    }

    /// Does the role have the permission, also through others or as a superuser?
    fn has(&self, role: Option<&'a str>, of: Object<'a>, permission: &str) -> bool {
        let (kind, schema, name, _) = of;
        // It is missing, which is said elsewhere, or it is an extension's with the default: everybody may use it.
        if !self.objects.contains(&of) && matches!(kind, "function" | "type" | "language") {
            return true;
        }
        let whole = (kind == "column").then_some(("table", schema, name, None));
        let has = |role| {
            let entries = [Some(of), whole].into_iter().flatten();
            entries.filter_map(|of| self.may.get(&(of, role))).any(|may| may.contains(permission))
        };
        has(None)
            || role.is_some_and(|role| {
                self.reached(role).iter().any(|role| {
                    has(Some(*role))
                        || is_predefined(role, kind, permission)
                        || self.roles.get(role).is_some_and(|role| role.is_superuser)
                })
            })
    }

    fn reached(&self, role: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![role];
        while let Some(role) = open.pop() {
            if reached.insert(role) {
                open.extend(
                    self.roles.get(role).into_iter().flat_map(|role| role.member_of.iter().map(String::as_str)),
                );
            }
        }
        reached
    }
}

/// What a role that comes with the server may do everywhere, which no object's permissions show.
fn is_predefined(role: &str, kind: &str, permission: &str) -> bool {
    matches!(
        (role, kind, permission),
        ("pg_read_all_data", "table" | "column" | "sequence", "SELECT")
            | ("pg_write_all_data", "table" | "column" | "sequence", "INSERT" | "UPDATE" | "DELETE")
            | ("pg_read_all_data" | "pg_write_all_data", "schema", "USAGE")
            | ("pg_maintain", "table", "MAINTAIN")
    )
}

fn grants(old: &Catalog, new: &Catalog, roles: &HashMap<&str, &Role>, findings: &mut Findings) {
    let (Some(before), Some(after), Some(tables), Some(schemas)) =
        (&old.grants, &new.grants, &new.tables, &new.schemas)
    else {
        return;
    };
    let tables: HashSet<_> = tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).collect();
    let schemas: HashSet<_> = schemas.iter().map(|schema| schema.name.as_str()).collect();
    let granted = Granted::of(after, roles);
    let mut lost: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for grant in before {
        let is_there = match (grant.kind.as_str(), grant.schema.as_deref()) {
            ("table" | "sequence" | "column", Some(schema)) => tables.contains(&(schema, grant.name.as_str())),
            (_, Some(schema)) => schemas.contains(schema),
            (_, None) => true,
        };
        let role = grant.role.as_deref();
        if !is_there || role.is_some_and(|role| role.starts_with("pg_") || !roles.contains_key(role)) {
            continue;
        }
        let is_known = |permission: &&String| *permission != "MAINTAIN" || new.server.major() >= 17;
        let missing: Vec<_> = grant
            .may
            .iter()
            .filter(is_known)
            .filter(|permission| !granted.has(role, object(grant), permission))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            lost.entry(role).or_default().push(format!("{} on {}", missing.join(", "), shown(grant)));
        }
    }
    for (role, lost) in lost {
        say(role, lost, findings);
    }
}

fn say(role: Option<&str>, mut lost: Vec<String>, findings: &mut Findings) {
    let Some(role) = role else {
        // PostgreSQL 15 took it from everybody.
        const OF_15: &str = "CREATE on schema public";
        let before = lost.len();
        lost.retain(|lost| lost != OF_15);
        if lost.len() < before {
            findings.remark("permissions", "everybody lacks, as from PostgreSQL 15 on", vec![OF_15.to_owned()]);
        }
        findings.breaks_if_any("permissions", "everybody lacks", lost);
        return;
    };
    findings.breaks_if_any("permissions", format!("{} lacks", quoted(role)), lost);
}

fn shown(grant: &Grant) -> String {
    let schema = grant.schema.as_deref().map(quoted).unwrap_or_default();
    match grant.kind.as_str() {
        "database" => "the database".to_owned(),
        "schema" => format!("schema {schema}"),
        "language" => format!("language {}", quoted(&grant.name)),
        "function" => format!("function {schema}.{}", grant.name),
        "column" => {
            let column = grant.column.as_deref().unwrap_or_default();
            format!("{schema}.{}.{}", quoted(&grant.name), quoted(column))
        }
        "table" => format!("{schema}.{}", quoted(&grant.name)),
        kind => format!("{kind} {schema}.{}", quoted(&grant.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Option<&str>, name: &str, may: &[&str]) -> Grant {
        Grant {
            kind: "table".into(),
            schema: Some("s".into()),
            name: name.into(),
            column: None,
            role: role.map(str::to_owned),
            may: may.iter().map(|permission| (*permission).to_owned()).collect(),
        }
    }

    #[test]
    fn a_permission_counts_however_it_is_had() {
        let role = |name: &str, is_superuser, groups: &[&str]| Role {
            name: name.into(),
            is_superuser,
            member_of: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Role::default()
        };
        let roles = [
            role("app", false, &["group"]),
            role("group", false, &[]),
            role("root", true, &[]),
            role("reader", false, &["pg_read_all_data"]),
        ];
        let roles: HashMap<_, _> = roles.iter().map(|role| (role.name.as_str(), role)).collect();
        let grants = [grant(Some("group"), "t", &["SELECT"]), grant(None, "t", &["INSERT"])];
        let granted = Granted::of(&grants, &roles);
        let table = ("table", Some("s"), "t", None);
        assert!(granted.has(Some("app"), table, "SELECT"));
        assert!(granted.has(Some("app"), table, "INSERT"));
        assert!(granted.has(Some("app"), ("column", Some("s"), "t", Some("c")), "SELECT"));
        assert!(granted.has(Some("root"), table, "DELETE"));
        assert!(granted.has(Some("reader"), table, "SELECT"));
        assert!(granted.has(Some("reader"), ("schema", Some("s"), "", None), "USAGE"));
        assert!(!granted.has(Some("reader"), table, "UPDATE"));
        assert!(!granted.has(Some("app"), table, "DELETE"));
        assert!(!granted.has(None, table, "SELECT"));
    }
}
