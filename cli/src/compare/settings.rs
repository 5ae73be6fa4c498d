//! Settings, encodings, collations, and what a pooler tracks.

use std::collections::HashMap;

use crate::catalog::{Catalog, Setting, quoted};
use crate::compare::verdict::Findings;

/// What changes answers if it differs.
const CHANGES_ANSWERS: [&str; 2] = ["search_path", "TimeZone"];

/// What else sessions begin with, and applications rely on.
const GOOD_TO_KNOW: [&str; 5] =
    ["DateStyle", "IntervalStyle", "bytea_output", "default_transaction_isolation", "standard_conforming_strings"];

/// What servers report to their clients, so that poolers set it again for each client. PgBouncer from 1.26 on tracks
/// `scram_iterations` too.
const TRACKED: [&str; 9] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "IntervalStyle",
    "scram_iterations",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
];

pub(crate) fn settings(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    if let (Some(before), Some(after)) = (&old.settings, &new.settings) {
        set(before, after, new, findings);
    }
    let (Some(before), Some(after)) = (known(old), known(new)) else { return };
    for name in CHANGES_ANSWERS {
        // Then it is said already why.
        if findings.0.iter().any(|finding| finding.about == about(name)) {
            continue;
        }
        if let Some(text) = differs(&before, &after, name) {
            findings.breaks(about(name), text, Vec::new());
        }
    }
    let others: Vec<_> = GOOD_TO_KNOW.iter().filter_map(|name| differs(&before, &after, name)).collect();
    findings.remark_if_any("settings", "another default for new sessions", others);
    let unknown = TRACKED.iter().filter(|name| before.contains_key(**name) && !after.contains_key(**name));
    let unknown: Vec<_> = unknown.map(|name| (*name).to_owned()).collect();
    let text = "poolers track what the new server does not know: no client of PgBouncer 1.26 gets an answer";
    findings.breaks_if_any("pooler", text, unknown);
    if old.server.major() >= 18 && new.server.major() < 18 {
        let text =
            "the new server does not report search_path: PgBouncer's track_extra_parameters can't follow it";
        findings.remark("pooler", text, Vec::new());
    }
}

type Values<'a> = HashMap<&'a str, &'a str>;

fn known(catalog: &Catalog) -> Option<Values<'_>> {
    let known = catalog.known.as_ref()?.iter();
    Some(known.map(|known| (known.name.as_str(), known.value.as_deref().unwrap_or_default())).collect())
}

fn differs(before: &Values<'_>, after: &Values<'_>, name: &str) -> Option<String> {
    let (before, after) = (before.get(name)?, after.get(name)?);
    (before != after).then(|| format!("a new session has {name} {} → {}", value(before), value(after)))
}

fn value(text: &str) -> String {
    if text.is_empty() {
        "\"\"".to_owned()
    } else {
        text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
    }
}

fn about(name: &str) -> &'static str {
    if name.eq_ignore_ascii_case("search_path") {
        "search_path"
    } else if name.eq_ignore_ascii_case("TimeZone") {
        "time zone"
    } else {
        "settings"
    }
}

/// What `ALTER DATABASE` and `ALTER ROLE` have set.
fn set(before: &[Setting], after: &[Setting], new: &Catalog, findings: &mut Findings) {
    let is_same = |a: &Setting, b: &Setting| {
        (a.of_database, &a.role) == (b.of_database, &b.role) && a.name.eq_ignore_ascii_case(&b.name)
    };
    let role_exists = |role: &str| new.roles.iter().flatten().any(|known| known.name == role);
    let mut others = Vec::new();
    let gone = before.iter().filter_map(|old| {
        let now = after.iter().find(|now| is_same(now, old)).map(|now| now.value.as_str());
        (now != Some(&old.value)).then_some((old, Some(old.value.as_str()), now))
    });
    let added = after.iter().filter(|now| !before.iter().any(|old| is_same(old, now)));
    let added = added.map(|now| (now, None, Some(now.value.as_str())));
    for (setting, before, after) in gone.chain(added) {
        if setting.role.as_deref().is_some_and(|role| !role_exists(role)) {
            continue;
        }
        let shown = |text: Option<&str>| text.map_or("not set".to_owned(), value);
        let whose = match (setting.of_database, &setting.role) {
            (true, Some(role)) => format!("role {} in the database", quoted(role)),
            (false, Some(role)) => format!("role {}", quoted(role)),
            (true, None) => "the database".to_owned(),
            (false, None) => "every database".to_owned(),
        };
        let text = format!("{whose} has {} {} → {}", setting.name, shown(before), shown(after));
        match about(&setting.name) {
            "settings" => others.push(text),
            about => findings.breaks(about, text, Vec::new()),
        }
    }
    findings.remark_if_any("settings", "set otherwise", others);
}

pub(crate) fn encodings(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    for (what, before, after) in [
        ("encoding", &old.server.encoding, &new.server.encoding),
        ("LC_COLLATE", &old.server.collate, &new.server.collate),
        ("LC_CTYPE", &old.server.ctype, &new.server.ctype),
    ] {
        if before != after {
            findings.breaks("encodings", format!("the database has {what} {before} → {after}"), Vec::new());
        }
    }
    let of = |catalog: &Catalog| catalog.database_collation.as_ref().and_then(|rows| rows.first().cloned());
    let (Some(before), Some(after)) = (of(old), of(new)) else { return };
    let shown = |provider: &str, locale: &Option<String>| match provider {
        "i" => format!("ICU {}", locale.as_deref().unwrap_or_default()),
        "b" => format!("builtin {}", locale.as_deref().unwrap_or_default()),
        _ => "libc".to_owned(),
    };
    let (old_locale, new_locale) =
        (shown(&before.provider, &before.locale), shown(&after.provider, &after.locale));
    if old_locale != new_locale {
        let text = format!("the database has the locale of {old_locale} → {new_locale}");
        findings.breaks("encodings", text, Vec::new());
    }
    versions(
        "the database's locale",
        [&before.recorded, &before.actual],
        [&after.recorded, &after.actual],
        findings,
    );
}

pub(crate) fn collations(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    let (Some(before), Some(after)) = (&old.collations, &new.collations) else { return };
    let mut missing = Vec::new();
    for collation in before.iter().filter(|collation| collation.name != "pg_catalog.default") {
        match after.iter().find(|now| now.name == collation.name) {
            Some(now) => {
                let old = [&collation.recorded, &collation.actual];
                versions(&collation.name, old, [&now.recorded, &now.actual], findings);
            }
            // One of the server's own is listed if a column uses it.
            None if collation.name.starts_with("pg_catalog.") => {}
            None => missing.push(collation.name.clone()),
        }
    }
    findings.breaks_if_any("collations", "missing", missing);
}

/// Each as recorded, and as it is.
fn versions(what: &str, old: [&Option<String>; 2], new: [&Option<String>; 2], findings: &mut Findings) {
    let shown = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    let is_stale = |[recorded, actual]: [&Option<String>; 2]| recorded.is_some() && recorded != actual;
    if is_stale(new) {
        let text = format!(
            "{what} was built with version {} and has {} now: REINDEX, then ALTER … REFRESH VERSION",
            shown(new[0]),
            shown(new[1])
        );
        findings.breaks("collations", text, Vec::new());
    }
    if is_stale(old) {
        let text = format!(
            "{what} was built with version {} on the old server, which has {}",
            shown(old[0]),
            shown(old[1])
        );
        findings.remark("collations", text, Vec::new());
    }
    if old[1].is_some() && new[1].is_some() && old[1] != new[1] {
        let text = format!("{what}: version {} → {}: text may be sorted otherwise", shown(old[1]), shown(new[1]));
        findings.remark("collations", text, Vec::new());
    }
}

pub(crate) fn server(old: &Catalog, new: &Catalog, findings: &mut Findings) {
    let (before, after) = (&old.server, &new.server);
    if after.major() < before.major() {
        let text = format!("the new one is older: PostgreSQL {} → {}", before.major(), after.major());
        findings.remark("servers", text, Vec::new());
    }
    if after.in_recovery {
        findings.remark("servers", "the new one is a standby: it takes no writes as long as it is", Vec::new());
    }
    if after.read_only {
        let text = "the new one is read-only by default: default_transaction_read_only is on";
        findings.remark("servers", text, Vec::new());
    }
}
