//! Tables of 80 columns.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use crate::report::{WIDTH, clean, is_coloured};

/// How a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Careful,
    Bad,
}

/// A cell.
#[derive(Debug, Clone)]
pub(crate) struct Words(pub(crate) String, pub(crate) Tone);

impl Words {
    pub(crate) fn plain(text: impl Into<String>) -> Words {
        Words(text.into(), Tone::Plain)
    }
}

pub(crate) fn table(header: &[&str], rows: Vec<Vec<Words>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16);
    if is_coloured() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.into_iter().map(|Words(text, tone)| {
            let cell = Cell::new(clean(&text));
            match tone {
                Tone::Plain => cell,
                Tone::Good => cell.fg(Color::Green),
                Tone::Careful => cell.fg(Color::Yellow),
                Tone::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
            }
        }));
    }
    format!("{}\n", table.trim_fmt())
}
