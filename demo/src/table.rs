//! The tables on the terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::figures::Figures;
use crate::rows::{self, Row};
use crate::subject::Subject;

pub(crate) fn tables(figures: &Figures) -> String {
    let mut text = table(&rows::title(figures), rows::comparison(figures)).to_string();
    let failures = rows::failures(figures);
    if !failures.is_empty() {
        text += &format!("\n{}", table("failures by text", failures));
    }
    text
}

fn table(title: &str, rows: Vec<Row>) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([title].into_iter().chain(Subject::ALL.map(Subject::name)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (label, cells) in rows {
        table.add_row([label].into_iter().chain(cells));
    }
    table
}
