//! The figures as rows of text, a cell for each subject: for the terminal and the page.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::args::Pooler;
use crate::figures::{Figures, SubjectFigures};

/// More texts of errors are summed up in one line.
const MAX_TEXTS: usize = 6;

/// Of a text of an error.
const MAX_CHARACTERS: usize = 90;

/// A label and a cell for each subject.
pub(crate) type Row = (String, Vec<String>);

pub(crate) fn title(figures: &Figures) -> String {
    let options = &figures.options;
    let there = if options.switches == 1 { String::new() } else { format!(", {} switches", options.switches) };
    let pooler = match options.pooler {
        Pooler::Transaction => "behind PgBouncer",
        Pooler::Session => "behind PgBouncer in session mode",
        Pooler::None => "without a pooler",
    };
    format!("PostgreSQL {} → {} {pooler}{there}", options.from, options.to)
}

pub(crate) fn comparison(figures: &Figures) -> Vec<Row> {
    let row = |label: &str, of: fn(&SubjectFigures) -> String| {
        (label.to_owned(), figures.subjects.iter().map(of).collect())
    };
    let mut rows = vec![
        row("transactions", |of| of.transactions.to_string()),
        row("right answers", |of| of.right_answers.to_string()),
        row("failures", |of| of.failures.to_string()),
        row("  before the first switch", |of| of.failures_when.before_first_switch.to_string()),
        row("  checked out before a switch was done", |of| of.failures_when.during_switch.to_string()),
        row("  checked out after it", |of| of.failures_when.after_switch.to_string()),
        row("wrong answers", |of| of.wrong_answers.to_string()),
        row("longest time without a right answer", |of| duration(of.longest_gap)),
        row("checkout, median", |of| of.checkout.map_or("–".to_owned(), duration)),
        row("right answer, median", |of| duration(of.p50)),
        row("right answer, 99 %", |of| duration(of.p99)),
    ];
    if figures.subjects.iter().any(|of| of.failures_when.connection_lost > 0) {
        rows.insert(6, row("  connection cut", |of| of.failures_when.connection_lost.to_string()));
    }
    if figures.subjects.iter().any(|of| of.unknown_outcomes > 0) {
        let wrong = rows.iter().position(|(label, _)| label == "wrong answers").unwrap_or_default();
        rows.insert(wrong, row("unknown outcomes, reported as such", |of| of.unknown_outcomes.to_string()));
    }
    rows
}

/// What the failures said, the most frequent first.
pub(crate) fn failures(figures: &Figures) -> Vec<Row> {
    let mut counts = BTreeMap::<&str, Vec<u64>>::new();
    for (index, subject) in figures.subjects.iter().enumerate() {
        for (text, count) in &subject.failures_by_text {
            counts.entry(text).or_insert_with(|| vec![0; figures.subjects.len()])[index] += count;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
    let rest = counts.split_off(counts.len().min(MAX_TEXTS));
    let cells = |counts: &[u64]| counts.iter().map(u64::to_string).collect();
    let mut rows: Vec<Row> = counts.iter().map(|(text, counts)| (shortened(text), cells(counts))).collect();
    if !rest.is_empty() {
        let sums: Vec<u64> =
            (0..figures.subjects.len()).map(|index| rest.iter().map(|(_, counts)| counts[index]).sum()).collect();
        rows.push((format!("{} more texts", rest.len()), cells(&sums)));
    }
    rows
}

/// Some errors have several lines, of which the first says what it is.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(MAX_CHARACTERS).collect();
    if short == text { short } else { format!("{short} …") }
}

/// `1 failure`, `2 failures`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.001 => format!("{} µs", duration.as_micros()),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        seconds => format!("{seconds:.2} s"),
    }
}
