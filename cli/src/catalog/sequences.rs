//! How far the data is that a sequence numbers.

use serde::Deserialize;

use crate::catalog::read::Reader;
use crate::catalog::rows::Sequence;
use crate::catalog::sql::{identifier, rows_as_json};
use crate::error::Error;

/// A statement has at most that many questions.
const AT_ONCE: usize = 100;

#[derive(Deserialize)]
struct Farthest {
    number: usize,
    farthest: Option<i64>,
}

/// Notes which sequences can't be seen, and asks the new server for the highest values of the columns they fill.
pub(crate) fn look_at(reader: &mut Reader, sequences: &mut [Sequence], is_new: bool) -> Result<(), Error> {
    let hidden = sequences.iter().filter(|sequence| !sequence.is_visible).count();
    if hidden > 0 {
        reader.note("sequences", format!("the role may not see {hidden} of {}", sequences.len()));
    }
    if !is_new {
        return Ok(());
    }
    let numbered = |sequence: &Sequence| sequence.is_indexed && sequence.table_name.is_some();
    let denied = sequences.iter().filter(|sequence| numbered(sequence) && !sequence.may_select).count();
    if denied > 0 {
        reader.note("the data behind sequences", format!("the role may not read {denied} of the tables"));
    }
    let asked = sequences.iter().enumerate().filter(|(_, s)| numbered(s) && s.may_select);
    let questions: Vec<_> = asked.filter_map(|(number, s)| Some((number, question(number, s)?))).collect();
    for some in questions.chunks(AT_ONCE) {
        let texts: Vec<_> = some.iter().map(|(_, text)| text.as_str()).collect();
        let noted = reader.unseen.len();
        let rows =
            match reader.ask_as_it_is("the data behind sequences", &rows_as_json(&texts.join(" UNION ALL ")))? {
                Some(rows) => rows,
                None => {
                    reader.unseen.truncate(noted);
                    one_by_one(reader, some)?
                }
            };
        for Farthest { number, farthest } in rows {
            sequences[number].farthest = farthest;
        }
    }
    Ok(())
}

/// One of them is locked, or has a policy for its rows.
fn one_by_one(reader: &mut Reader, questions: &[(usize, String)]) -> Result<Vec<Farthest>, Error> {
    let mut rows = Vec::new();
    for (_, text) in questions {
        rows.extend(reader.ask_as_it_is("the data behind a sequence", &rows_as_json(text))?.unwrap_or_default());
    }
    Ok(rows)
}

/// The column has an index, and a built-in type of whole numbers.
fn question(number: usize, sequence: &Sequence) -> Option<String> {
    let (schema, table) = (sequence.table_schema.as_ref()?, sequence.table_name.as_ref()?);
    let column = identifier(sequence.column_name.as_ref()?);
    let farthest = if sequence.increment < 0 { "min" } else { "max" };
    let table = format!("{}.{}", identifier(schema), identifier(table));
    Some(format!(
        "SELECT {number} AS number, \
         (SELECT pg_catalog.{farthest}(t.{column}) FROM {table} t)::pg_catalog.int8 AS farthest"
    ))
}
