//! The picture, the tables and the verdict on one page that needs no other file.

use crate::figures::Figures;
use crate::rows::{self, Row};
use crate::subject::Subject;
use crate::verdict;

const STYLE: &str = "\
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif;
  max-width: 1000px; margin: 2em auto; padding: 0 1em; background: #FFFFFF; color: #1F2328 }
svg { width: 100%; height: auto }
.table { overflow-x: auto }
table { border-collapse: collapse; margin: 1.5em 0; width: 100% }
th, td { text-align: right; padding: .3em .8em; border-bottom: 1px solid #D1D9E0 }
th:first-child, td:first-child { text-align: left; min-width: 14em; white-space: pre-wrap; overflow-wrap: anywhere }
td { font-variant-numeric: tabular-nums; white-space: nowrap }
@media (prefers-color-scheme: dark) {
  body { background: #0D1117; color: #F0F6FC }
  th, td { border-color: #3D444D }
}
";

pub(crate) fn render(figures: &Figures, picture: &str) -> String {
    let title = escaped(&rows::title(figures));
    let sentences: String =
        verdict::sentences(figures).lines().map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
    let subjects: String = Subject::ALL
        .map(|subject| {
            format!(
                "<li><b>{}</b>: {}</li>\n",
                subject.name(),
                escaped(subject.description(figures.options.pooler))
            )
        })
        .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>The same load on three pools at the same time:</p>\n<ul>\n{subjects}</ul>\n\
         {picture}\n<h2>What came of it</h2>\n<ul>\n{sentences}</ul>\n{}{}</body>\n</html>\n",
        table("", &rows::comparison(figures)),
        table("failures by text", &rows::failures(figures)),
    )
}

fn table(title: &str, rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header = Subject::ALL.map(|subject| format!("<th>{}</th>", subject.name())).concat();
    let body: String = rows
        .iter()
        .map(|(label, cells)| {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            format!("<tr><td>{}</td>{cells}</tr>\n", escaped(label))
        })
        .collect();
    format!("<div class=\"table\"><table>\n<tr><th>{title}</th>{header}</tr>\n{body}</table></div>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
