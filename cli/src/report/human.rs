//! A comparison, for people.

use std::cmp::Reverse;

use crate::compare::{Finding, Report, Severity, Summary, TypeVerdict, Verdict};
use crate::report::{Tone, Words, one_line, some, table, wrapped};

/// Where there are more types than that, the rest is in the JSON.
const ROWS: usize = 200;

/// Of the columns that use a type, and so on.
const NAMES: usize = 5;

pub(crate) fn text(report: &Report) -> String {
    let mut text = wrapped(&one_line(&format!("old: {}", report.old.shown)), "", "     ");
    text += &wrapped(&one_line(&format!("new: {}", report.new.shown)), "", "     ");
    if !report.schemas.is_empty() {
        text += &wrapped(&one_line(&format!("only the schemas {}", report.schemas.join(", "))), "", "     ");
    }
    text += &types(report);
    text += &findings(report);
    if !report.unseen.is_empty() {
        let rows = report
            .unseen
            .iter()
            .map(|unseen| vec![Words(unseen.what.clone(), Tone::Careful), Words::plain(one_line(&unseen.why))]);
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
        text += &wrapped(&format!("same: {}", some(&names, 20)), "", "  ");
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
        Words::plain(lines.iter().map(|line| one_line(line)).collect::<Vec<_>>().join("\n")),
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
        vec![Words::plain(*about), Words(word.to_owned(), tone), Words::plain(one_line(&text))]
    });
    format!("\nWhat else differs:\n{}", table(&["about", "", "what"], rows.collect()))
}
