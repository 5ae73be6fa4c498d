//! The results as cells of text, for the terminal and for Markdown.

use crate::args::Subject;
use crate::counts::Count;
use crate::disturbed::Disturbed;
use crate::goals::{self, Goal};
use crate::paired::Spread;
use crate::profile::Piece;
use crate::report::{Report, Row};
use crate::types::Probe;

/// Rows, the first of which is the header.
pub(crate) type Table = Vec<Vec<String>>;

/// Those that have rows.
pub(crate) fn tables(report: &Report) -> Vec<Table> {
    let rows = headed(&ROWS, report.rows.iter().map(row));
    let types = headed(&TYPES, report.types.iter().map(types));
    let profile = headed(&PROFILE, report.profile.iter().map(piece));
    let disturbed = headed(&DISTURBED, report.disturbed.iter().map(disturbed));
    let counts = headed(&COUNTS, report.counts.iter().map(count));
    [rows, disturbed, counts, types, profile].into_iter().filter(|table| table.len() > 1).collect()
}

const ROWS: [&str; 8] =
    ["what", "network", "stock", "this crate", "ratio (quartiles)", "difference", "goal", "pairs"];
const DISTURBED: [&str; 7] =
    ["a checkout while …", "without", "with", "ratio (quartiles)", "goal", "round trips", "goal"];
const COUNTS: [&str; 4] = ["counted", "stock", "this crate", "goal"];
const TYPES: [&str; 6] = ["watched types", "checkout", "with none", "difference (quartiles)", "a type", "pairs"];
const PROFILE: [&str; 5] = [
    "processor time",
    "the server's",
    "beyond the ping (quartiles)",
    "the application's",
    "beyond the ping (quartiles)",
];

fn headed(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let header = header.iter().map(|&name| name.to_owned()).collect();
    std::iter::once(header).chain(rows).collect()
}

fn row(row: &Row) -> Vec<String> {
    let of = &row.comparison;
    let figure = |value| if row.subject == Subject::Threads { rate(value) } else { time(value) };
    vec![
        row.what.to_owned(),
        row.network.clone(),
        figure(of.stock),
        figure(of.ours),
        spread(&of.ratio, number),
        figure(of.difference.median),
        row.goal.zip(row.verdict).map(reached).unwrap_or_default(),
        of.pairs.to_string(),
    ]
}

fn disturbed(of: &Disturbed) -> Vec<String> {
    vec![
        of.what.clone(),
        time(of.without),
        time(of.with),
        spread(&of.ratio, number),
        reached((goals::DISTURBED_TIME, of.time_verdict)),
        format!("{:.2}", of.round_trips),
        reached((goals::DISTURBED_ROUND_TRIPS, of.round_trips_verdict)),
    ]
}

fn count(of: &Count) -> Vec<String> {
    vec![
        of.what.clone(),
        of.stock.map(counted).unwrap_or_default(),
        counted(of.ours),
        of.goal.zip(of.verdict).map(reached).unwrap_or_default(),
    ]
}

/// A goal, and whether it is met.
fn reached((goal, verdict): (Goal, &'static str)) -> String {
    format!("{goal}: {verdict}")
}

/// A whole number, or a mean.
fn counted(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.2}") }
}

fn types(of: &Probe) -> Vec<String> {
    vec![
        of.types.to_string(),
        time(of.checkout),
        time(of.with_none),
        spread(&of.difference, time),
        format!("{:.2} µs", of.a_type * 1e6),
        of.pairs.to_string(),
    ]
}

fn piece(of: &Piece) -> Vec<String> {
    vec![
        of.what.to_owned(),
        time(of.server),
        spread(&of.server_beyond_ping, time),
        time(of.application),
        spread(&of.application_beyond_ping, time),
    ]
}

fn spread(spread: &Spread, shown: fn(f64) -> String) -> String {
    let [low, high] = spread.quartiles.map(shown);
    format!("{} ({low}–{high})", shown(spread.median))
}

/// A ratio.
fn number(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

/// To three digits.
pub(crate) fn time(seconds: f64) -> String {
    let (number, unit) = match seconds.abs() {
        short if short < 1e-3 => (seconds * 1e6, "µs"),
        short if short < 1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let decimals = match number.abs() {
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

fn rate(per_second: f64) -> String {
    format!("{per_second:.0}/s")
}
