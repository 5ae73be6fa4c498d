//! The report as Markdown, and the section of docs/performance.md.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cells::{self, Table};
use crate::report::Report;
use crate::sentences::sentences;
use crate::shared::AnyError;

const BEGIN: &str = "<!-- performance: begin -->";
const END: &str = "<!-- performance: end -->";

/// As the lines of the documentation are.
const WIDTH: usize = 120;

pub(crate) fn render(report: &Report) -> String {
    let tables = cells::tables(report).iter().map(table).collect::<Vec<_>>().join("\n");
    let list: String = sentences(report).iter().map(|sentence| item(sentence)).collect();
    format!("{tables}\n{list}")
}

fn table(rows: &Table) -> String {
    let mut lines: Vec<_> = rows.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
    let columns = rows.first().map_or(0, Vec::len);
    lines.insert(1, format!("|---|{}\n", "---:|".repeat(columns.saturating_sub(1))));
    lines.concat()
}

/// A list's item, in lines that are not too long.
fn item(sentence: &str) -> String {
    let mut text = "-".to_owned();
    let mut length = 1;
    for word in sentence.split(' ') {
        let width = word.chars().count() + 1;
        if length + width > WIDTH {
            text += "\n ";
            length = 1;
        }
        text += &format!(" {word}");
        length += width;
    }
    text + "\n"
}

/// The file with the tables, found to have a place for them.
pub(crate) struct Readme {
    path: PathBuf,
    before: String,
    after: String,
}

impl Readme {
    pub(crate) fn open(path: &Path) -> Result<Self, AnyError> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.ok_or_else(|| format!("{} has no lines `{BEGIN}` and `{END}`", path.display()))?;
        Ok(Readme { path: path.to_owned(), before: before.to_owned(), after: after.to_owned() })
    }

    pub(crate) fn write(&self, section: &str) -> Result<(), AnyError> {
        let text = format!("{}{BEGIN}\n\n{section}\n{END}{}", self.before, self.after);
        fs::write(&self.path, text)
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()).into())
    }
}
