//! A comparison, for people.

use std::cmp::Reverse;

use crate::compare::{Finding, Report, Severity, Summary, TypeVerdict, Verdict};
use crate::report::{Tone, Words, clean, table};

/// Where there are more types than that, the rest is in the JSON.
const ROWS: usize = 200;

/// Of the columns that use a type, and so on.
const NAMES: usize = 5;

const WIDTH: usize = 80;

pub(crate) fn text(report: &Report) -> String {
    let mut text = wrapped(&format!("old: {}", report.old.shown), "     ");
    text += &wrapped(&format!("new: {}", report.new.shown), "     ");
    if !report.schemas.is_empty() {
        text += &wrapped(&format!("only the schemas {}", report.schemas.join(", ")), "     ");
    }
    text += &types(report);
    text += &findings(report);
    if !report.unseen.is_empty() {
        let rows = report
            .unseen
            .iter()
            .map(|unseen| vec![Words(unseen.what.clone(), Tone::Careful), Words::plain(unseen.why.clone())]);
        text += "\nNot looked at:\n";
        text += &table(&["what", "why"], rows.collect());
    }
    let advice = &report.advice;
    format!("{text}\n{advice}\n")
}

fn types(report: &Report) -> String {
    let Summary { same, moves, collides, missing, differs, .. } = report.summary;
    if !report.are_types_seen {
        return "\nTypes: not looked at\n".to_owned();
    }
    let mut text =
        format!("\nTypes: {same} same, {moves} move, {collides} collide, {missing} missing, {differs} differ\n");
    let (same, mut others): (Vec<_>, Vec<_>) = report.types.iter().partition(|ty| ty.verdict == Verdict::Same);
    others
        .sort_by_key(|ty| (Reverse(ty.severity), Reverse(ty.collisions.iter().any(|collision| collision.silent))));
    if !others.is_empty() {
        let rows = others.iter().take(ROWS).map(|ty| row(ty));
        text += &table(&["type", "verdict", "what, and which columns"], rows.collect());
    }
    if others.len() > ROWS {
        text += &format!("and {} more: see --json\n", others.len() - ROWS);
    }
    if !same.is_empty() {
        let names: Vec<_> = same.iter().map(|ty| ty.shown.clone()).collect();
        text += &wrapped(&format!("same: {}", some(&names, 20)), "  ");
    }
    text
}

fn row(ty: &TypeVerdict) -> Vec<Words> {
    let (word, tone) = match (ty.verdict, ty.severity) {
        (Verdict::Same, _) => ("same", Tone::Good),
        (Verdict::Moves, _) => ("moves", Tone::Careful),
        (Verdict::Collides, _) => ("COLLIDES", Tone::Bad),
        (Verdict::Missing, Severity::Breaks) => ("missing BREAKS", Tone::Bad),
        (Verdict::Missing, _) => ("missing", Tone::Plain),
        (Verdict::Differs, Severity::Breaks) => ("differs BREAKS", Tone::Bad),
        (Verdict::Differs, _) => ("differs", Tone::Careful),
    };
    let mut lines = Vec::new();
    if let Some(new) = ty.new.filter(|_| ty.moves) {
        lines.push(format!("OID {} → {}, array {} → {}", ty.old.ty, new.ty, ty.old.array, new.array));
    }
    for collision in &ty.collisions {
        let what = if collision.of_array { "array's OID" } else { "OID" };
        let silent = if collision.silent { "SILENT: " } else { "" };
        lines.push(format!("{what} {} names {}; {silent}{}", collision.oid, collision.names, collision.why));
    }
    lines.extend(ty.differences.iter().map(|difference| difference.text.clone()));
    if !ty.columns.is_empty() {
        lines.push(format!("used by {}", some(&ty.columns, NAMES)));
    }
    if !ty.functions.is_empty() {
        lines.push(format!("in the signature of {}", some(&ty.functions, NAMES)));
    }
    if ty.columns.is_empty() && ty.functions.is_empty() {
        lines.push("nothing uses it".to_owned());
    }
    vec![
        Words::plain(format!("{}\n{}", ty.shown, ty.kind)),
        Words(word.to_owned(), tone),
        Words::plain(lines.join("\n")),
    ]
}

fn findings(report: &Report) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let rows = report.findings.iter().map(|Finding { about, severity, text, objects }| {
        let (word, tone) = match severity {
            Severity::Breaks => ("BREAKS", Tone::Bad),
            _ => ("remark", Tone::Plain),
        };
        let text = if objects.is_empty() { text.clone() } else { format!("{text}: {}", some(objects, 2 * NAMES)) };
        vec![Words::plain(*about), Words(word.to_owned(), tone), Words::plain(text)]
    });
    format!("\nWhat else differs:\n{}", table(&["about", "", "what"], rows.collect()))
}

/// The first names, and how many more there are.
pub(crate) fn some(names: &[String], at_most: usize) -> String {
    let shown = names.iter().take(at_most).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(at_most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Broken between words.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in clean(text).split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        if !last.trim().is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
