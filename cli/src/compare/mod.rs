//! Two catalogs, and what follows.

mod collision;
mod differences;
mod roles;
mod settings;
mod tables;
mod types;
mod uses;
mod verdict;

use std::process::ExitCode;
use std::thread;

pub(crate) use differences::kind;
use serde::Serialize;
pub(crate) use uses::Uses;
pub(crate) use verdict::*;

use crate::args::Compare;
use crate::catalog::{self, Catalog, Unseen};
use crate::connect::Url;
use crate::error::Error;
use crate::progress::Progress;
use crate::report;

pub(crate) const JSON_VERSION: u32 = 1;

pub(crate) const OLD: &str = "the old server";
pub(crate) const NEW: &str = "the new server";

/// All that is to be said.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: u32,
    pub(crate) old: Side,
    pub(crate) new: Side,
    /// Empty: all.
    pub(crate) schemas: Vec<String>,
    pub(crate) types: Vec<TypeVerdict>,
    /// If not, `unseen` says why.
    #[serde(skip)]
    pub(crate) are_types_seen: bool,
    pub(crate) findings: Vec<Finding>,
    pub(crate) unseen: Vec<NotSeen>,
    pub(crate) summary: Summary,
    pub(crate) exit_code: u8,
    pub(crate) advice: String,
}

/// One of the servers.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) server_version: String,
    pub(crate) database: String,
    pub(crate) role: String,
    pub(crate) in_recovery: bool,
    /// As text, since it has more digits than a number in JSON can have. `null` if the role may not ask.
    pub(crate) system_identifier: Option<String>,
    #[serde(skip)]
    pub(crate) shown: String,
}

/// What a role may not look at.
#[derive(Debug, Serialize)]
pub(crate) struct NotSeen {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// How many there are of each.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) same: usize,
    pub(crate) moves: usize,
    pub(crate) collides: usize,
    pub(crate) collides_silently: usize,
    pub(crate) missing: usize,
    pub(crate) differs: usize,
    pub(crate) breaks: usize,
    pub(crate) handled: usize,
    pub(crate) remarks: usize,
}

/// The subcommand.
pub(crate) fn run(task: &Compare) -> Result<ExitCode, Error> {
    let old = Url::given(task.old_url.as_deref(), OLD)?;
    let new = Url::given(Some(&task.new_url), NEW)?;
    let (mut old, mut new) = read_both(&old, &new)?;
    refuse_one_server(&old, &new)?;
    refuse_unknown_schemas(&task.schemas, &old)?;
    old.narrow(&task.schemas);
    new.narrow(&task.schemas);
    let report = compare(&old, &new, &task.schemas);
    if task.json {
        report::json(&report)?;
    } else {
        report::comparison(&report)?;
    }
    Ok(ExitCode::from(report.exit_code))
}

/// Both at once. If one can't be read, nothing is said of the other.
fn read_both(old: &Url, new: &Url) -> Result<(Catalog, Catalog), Error> {
    let progress = Progress::start();
    let (of_old, of_new) = (progress.steps(), progress.steps());
    thread::scope(|scope| {
        let old = scope.spawn(move || catalog::read(old, OLD, false, of_old));
        let new = catalog::read(new, NEW, true, of_new);
        let old = old.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((old, new?))
    })
}

fn refuse_one_server(old: &Catalog, new: &Catalog) -> Result<(), Error> {
    let place = |catalog: &Catalog| (catalog.server.database_oid, catalog.server.database.clone());
    let is_one = match (&old.identity, &new.identity) {
        (Some(old), Some(new)) => old == new,
        // Then by the address, which neither pooler nor socket hides from the server.
        _ => {
            old.server.port.is_some()
                && (&old.server.address, old.server.port) == (&new.server.address, new.server.port)
        }
    };
    if is_one && place(old) == place(new) {
        let text = "both URLs lead to the same database of the same server: there is nothing to compare";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(())
}

fn refuse_unknown_schemas(schemas: &[String], old: &Catalog) -> Result<(), Error> {
    let known = old.schemas.iter().flatten();
    let unknown =
        schemas.iter().find(|schema| old.schemas.is_some() && !known.clone().any(|known| known.name == **schema));
    match unknown {
        Some(schema) => Err(Error::Usage(format!("the old server has no schema {}", catalog::quoted(schema)))),
        None => Ok(()),
    }
}

/// Pure: everything is known.
pub(crate) fn compare(old: &Catalog, new: &Catalog, schemas: &[String]) -> Report {
    let types = types::compare(old, new);
    let mut findings = Findings::default();
    settings::server(old, new, &mut findings);
    tables::extensions(old, new, &mut findings);
    let gone = tables::schemas(old, new, &mut findings);
    tables::tables(old, new, &gone, &mut findings);
    settings::settings(old, new, &mut findings);
    roles::compare(old, new, &mut findings);
    settings::encodings(old, new, &mut findings);
    settings::collations(old, new, &mut findings);
    tables::sequences(old, new, &gone, &mut findings);
    tables::indexes(old, new, &mut findings);
    tables::large_objects(old, new, &mut findings);
    let mut findings = findings.0;
    // The worst first; else as they were found.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let seen = |unseen: &Unseen| NotSeen { what: unseen.what.clone(), why: unseen.why.clone() };
    let unseen: Vec<_> = old.unseen.iter().chain(&new.unseen).map(seen).collect();
    let summary = summarise(&types, &findings);
    let exit_code = exit_code(&summary, !unseen.is_empty());
    let advice = report::advice(&summary, !unseen.is_empty());
    let schemas = schemas.to_vec();
    Report {
        version: JSON_VERSION,
        old: side(old),
        new: side(new),
        schemas,
        types,
        are_types_seen: old.types.is_some() && new.types.is_some(),
        findings,
        unseen,
        summary,
        exit_code,
        advice,
    }
}

fn side(catalog: &Catalog) -> Side {
    Side {
        server_version: catalog.server.version.clone(),
        database: catalog.server.database.clone(),
        role: catalog.server.role.clone(),
        in_recovery: catalog.server.in_recovery,
        system_identifier: catalog.identity.as_ref().map(|identity| identity.system_identifier.clone()),
        shown: catalog.server.shown(),
    }
}

fn summarise(types: &[TypeVerdict], findings: &[Finding]) -> Summary {
    let of = |verdict| types.iter().filter(|ty| ty.verdict == verdict).count();
    let severities = types.iter().map(|ty| ty.severity).chain(findings.iter().map(|finding| finding.severity));
    let severe = |severity| severities.clone().filter(|other| *other == severity).count();
    Summary {
        same: of(Verdict::Same),
        moves: of(Verdict::Moves),
        collides: of(Verdict::Collides),
        collides_silently: types
            .iter()
            .filter(|ty| ty.collisions.iter().any(|collision| collision.silent))
            .count(),
        missing: of(Verdict::Missing),
        differs: of(Verdict::Differs),
        breaks: severe(Severity::Breaks),
        handled: severe(Severity::Handled),
        remarks: severe(Severity::Remark),
    }
}

/// "Nothing breaks" is only said of what was looked at: so 3 comes before 1.
fn exit_code(summary: &Summary, is_partial: bool) -> u8 {
    match summary {
        Summary { breaks: 1.., .. } => 2,
        _ if is_partial => 3,
        Summary { handled: 1.., .. } => 1,
        _ => 0,
    }
}
