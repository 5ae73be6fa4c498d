//! What tests do with the fixture's documents, on protected and stock connections.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};
use fixture::{Document, Upgrade, documents, insert, read_back};

use crate::support::pools::upgrade;

/// What a transaction of the fixture does: write a document, and read it back.
pub(crate) fn work(conn: &mut PgConnection, number: u64) -> QueryResult<()> {
    let document = Document::numbered(number);
    insert(conn, &document)?;
    assert_eq!(read_back(conn, &document)?, [document], "a wrong answer");
    Ok(())
}

/// A protected connection and a stock one, which have both used the fixture's types.
pub(crate) fn connections(url: &str) -> (PgConnection, PgConnection) {
    let mut hot = PgConnection::establish(url).expect("a connection");
    let mut stock = PgConnection::establish(url).expect("a connection");
    synchronize(&mut hot).expect("a first look");
    hot.hot_transaction(|conn| work(conn, 1)).expect("nothing has changed yet");
    stock.transaction(|conn| work(conn, 2)).expect("nothing has changed yet");
    (hot, stock)
}

pub(crate) const FIRST: u64 = 100;

pub(crate) fn count(conn: &mut PgConnection) -> i64 {
    documents::table.filter(documents::code.eq(code())).count().get_result(conn).expect("a count")
}

fn code() -> fixture::Code {
    Document::numbered(FIRST).code
}

pub(crate) fn insert_first(conn: &mut PgConnection) -> QueryResult<()> {
    insert(conn, &Document::numbered(FIRST))
}

/// Two connections that see the same server, past any pooler.
pub(crate) fn direct() -> (Upgrade, PgConnection, PgConnection) {
    let upgrade = upgrade();
    let (hot, stock) = connections(&upgrade.old.url(&upgrade.database));
    (upgrade, hot, stock)
}

pub(crate) fn fail_by_unique_key(conn: &mut PgConnection) -> QueryResult<usize> {
    diesel::sql_query("INSERT INTO documents SELECT * FROM documents").execute(conn)
}
