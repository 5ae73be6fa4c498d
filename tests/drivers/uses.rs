//! What scenarios do with a connection, and what went wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel::prelude::*;
use fixture::{Document, documents};

use crate::support::drivers::Session;
use crate::support::meaning::{Label, Meaning, Question, Verdict, judge};

/// Inserts a document and reads it back, by all types of the fixture.
pub(crate) fn write_and_read_back(conn: &mut Session<'_>) -> QueryResult<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let document = Document::numbered(NUMBER.fetch_add(1, Ordering::Relaxed));
    conn.execute(diesel::insert_into(documents::table).values(document.clone()))?;
    let found: Vec<Document> = conn.load(
        documents::table
            .filter(documents::title.eq(document.title.to_uppercase()))
            .filter(documents::attributes.eq(document.attributes.clone()))
            .filter(documents::status.eq(document.status))
            .filter(documents::code.eq(document.code.clone()))
            .select(Document::as_select()),
    )?;
    assert_eq!(found, [document], "a wrong answer");
    Ok(())
}

/// By plain statements.
pub(crate) fn plain(conn: &mut Session<'_>) -> Verdict {
    write_and_read_back(conn).map_err(|error| error.to_string())
}

/// In a verified transaction.
pub(crate) fn verified(conn: &mut Session<'_>) -> Verdict {
    conn.hot_transaction(write_and_read_back).map_err(|error| error.to_string())
}

/// What `label` means, asked by a statement that is prepared each time and by one that is kept.
pub(crate) fn meaning(conn: &mut Session<'_>) -> QueryResult<Meaning> {
    let fresh: Meaning = conn.get(Question::<Label>::new(false))?;
    if judge(Ok(fresh.clone())).is_err() {
        return Ok(fresh);
    }
    conn.get(Question::<Label>::new(true))
}

pub(crate) fn plain_label(conn: &mut Session<'_>) -> Verdict {
    judge(meaning(conn))
}

pub(crate) fn verified_label(conn: &mut Session<'_>) -> Verdict {
    judge(conn.hot_transaction(meaning))
}

pub(crate) fn label_in_a_plain_transaction(conn: &mut Session<'_>) -> Verdict {
    judge(conn.transaction(meaning))
}
