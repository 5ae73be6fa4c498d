//! The two pools side by side.

use std::collections::BTreeSet;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::load::Tally;

/// More texts are summed up in one line.
const MAX_TEXTS: usize = 8;

pub(crate) fn comparison(stock: &Tally, hot: &Tally) -> Table {
    let mut table = table("PostgreSQL 10 → 12 behind PgBouncer, under load");
    let mut row = |what: &str, of: fn(&Tally) -> String| {
        table.add_row([what.to_owned(), of(stock), of(hot)]);
    };
    row("statements", |tally| tally.statements.to_string());
    row("failures", |tally| tally.failures().to_string());
    row("  before the switch", |tally| tally.failures_before.to_string());
    row("  checked out before the switch was done", |tally| tally.failures_in_flight.to_string());
    row("  checked out after the switch", |tally| tally.failures_after_checkout.to_string());
    row("wrong answers", |tally| tally.wrong_answers.to_string());
    row("first success after the switch", |tally| duration(tally.first_success, "never"));
    row("median checkout before the switch", |tally| duration(tally.median_checkout(), "none"));
    table
}

pub(crate) fn failures(stock: &Tally, hot: &Tally) -> Table {
    let mut table = table("failures by text");
    let mut texts: Vec<_> = stock
        .failures_by_text
        .keys()
        .chain(hot.failures_by_text.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let count = |tally: &Tally, text: &String| tally.failures_by_text.get(text).copied().unwrap_or_default();
    texts.sort_by_key(|text| std::cmp::Reverse(count(stock, text) + count(hot, text)));
    for text in texts.iter().take(MAX_TEXTS) {
        table.add_row([text.trim().to_owned(), count(stock, text).to_string(), count(hot, text).to_string()]);
    }
    let rest = texts.iter().skip(MAX_TEXTS);
    if rest.len() > 0 {
        let sum = |tally: &Tally| rest.clone().map(|text| count(tally, text)).sum::<u64>().to_string();
        table.add_row([format!("{} more texts", rest.len()), sum(stock), sum(hot)]);
    }
    table
}

pub(crate) fn verdict(stock: &Tally, hot: &Tally) -> String {
    let control = if stock.failures() + stock.wrong_answers == 0 {
        "The stock pool did not fail either: this run shows nothing."
    } else {
        "The stock pool failed, as it does on such a switch."
    };
    let protected = if diesel_postgres_hot_upgrade::stats().probes() == 0 {
        "The protection was switched off by the environment."
    } else if hot.is_right() {
        "The protected pool gave no wrong answer, and no connection that it handed out after the switch failed."
    } else {
        "The protected pool did NOT keep its promise."
    };
    format!("{control}\n{protected}")
}

fn table(title: &str) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([title, "stock", "protected"]);
    for index in [1, 2] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn duration(duration: Option<Duration>, none: &str) -> String {
    match duration {
        Some(duration) if duration < Duration::from_millis(1) => format!("{} µs", duration.as_micros()),
        Some(duration) => format!("{:.1} ms", duration.as_secs_f64() * 1000.0),
        None => none.to_owned(),
    }
}
