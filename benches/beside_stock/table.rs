//! The tables on the terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::cells;
use crate::report::Report;
use crate::sentences::sentences;

pub(crate) fn render(report: &Report) -> String {
    let tables = cells::tables(report).into_iter().map(|rows| table(rows).to_string());
    let sentences = sentences(report).into_iter().map(|sentence| format!("- {}", plain(&sentence)));
    tables.chain(sentences).collect::<Vec<_>>().join("\n")
}

fn table(rows: cells::Table) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    let mut rows = rows.into_iter().map(|cells| cells.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
    table.set_header(rows.next().unwrap_or_default()).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Without the marks of Markdown.
fn plain(text: &str) -> String {
    text.replace('`', "")
}
