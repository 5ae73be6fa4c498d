//! The results as text, for the terminal and for Markdown.

use crate::paired::Spread;
use crate::report::Row;

pub(crate) const HEADER: [&str; 8] =
    ["what", "network", "stock", "this crate", "ratio", "quartiles", "goal", "pairs"];

pub(crate) fn of(row: &Row) -> [String; 8] {
    let of = &row.comparison;
    [
        row.what.replace('`', ""),
        row.network.clone(),
        time(of.stock),
        time(of.ours),
        number(of.ratio.median),
        quartiles(&of.ratio),
        row.goal.zip(row.verdict).map(|(goal, verdict)| format!("{goal}: {verdict}")).unwrap_or_default(),
        of.pairs.to_string(),
    ]
}

pub(crate) fn quartiles(spread: &Spread) -> String {
    let [low, high] = spread.quartiles.map(number);
    format!("{low}–{high}")
}

/// Of a ratio: three digits, or more where it is next to nothing.
pub(crate) fn number(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10e-6 => format!("{:.1} µs", seconds * 1e6),
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}
