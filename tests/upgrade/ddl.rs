//! Types that move without an upgrade: they are created anew, renamed or moved on one server, under an open pool.

use diesel::connection::CacheSize;
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::stats;
use fixture::{Document, Upgrade, documents, insert, read_back, write_and_read_back};

use crate::kinds::Verdict;
use crate::pools::{HotPool, NOTHING_WRONG, StockPool, hot_pool, on_every_connection, stock_pool, upgrade};
use crate::types::RECREATE_ENUM;

const SIZE: u32 = 3;

/// A database whose types change, a protected pool and a stock one.
struct Changing {
    upgrade: Upgrade,
    hot: HotPool,
    stock: StockPool,
    used: fn(&mut PgConnection) -> Verdict,
}

impl Changing {
    /// Pools that have used the types that `prepare` created.
    fn start(prepare: &str, used: fn(&mut PgConnection) -> Verdict) -> Self {
        let upgrade = upgrade();
        upgrade.run_on(upgrade.old, prepare).expect("types");
        let hot = hot_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
        let stock = stock_pool(&upgrade.url(), SIZE, CacheSize::Unbounded);
        assert_eq!(on_every_connection(&hot, used), NOTHING_WRONG);
        assert_eq!(on_every_connection(&stock, used), NOTHING_WRONG);
        Changing { upgrade, hot, stock, used }
    }

    fn run(&self, sql: &str) {
        self.upgrade.run_on(self.upgrade.old, sql).expect(sql);
    }

    /// The next checkout of each protected connection is right after `sql`, and that of no stock one.
    fn survives(&self, sql: &str) {
        self.run(sql);
        assert_eq!(on_every_connection(&self.hot, self.used), NOTHING_WRONG, "after {sql}");
        assert_eq!(on_every_connection(&self.stock, self.used).len(), SIZE as usize, "the control, after {sql}");
    }
}

fn documents(conn: &mut PgConnection) -> Verdict {
    write_and_read_back(conn, 7)?;
    diesel::delete(documents::table).execute(conn).map(drop).map_err(|error| error.to_string())
}

#[test]
fn an_enum_is_dropped_and_created_while_its_column_is_text() {
    Changing::start("", documents).survives(
        "ALTER TABLE documents ALTER status TYPE text; DROP TYPE document_status;
         CREATE TYPE document_status AS ENUM ('draft', 'published');
         ALTER TABLE documents ALTER status TYPE document_status USING status::document_status",
    );
}

#[test]
fn a_column_is_changed_to_another_type_of_the_same_name() {
    Changing::start("", documents).survives(RECREATE_ENUM);
}

#[test]
fn a_domain_is_created_anew() {
    Changing::start("", documents).survives(
        "ALTER TABLE documents ALTER code TYPE text; DROP DOMAIN document_code;
         CREATE DOMAIN document_code AS text CHECK (VALUE ~ '^[A-Z]{2}-');
         ALTER TABLE documents ALTER code TYPE document_code",
    );
}

#[test]
fn extensions_are_dropped_and_created_in_another_order() {
    let changing = Changing::start("", documents);
    for order in [["citext", "hstore"], ["hstore", "citext"]] {
        let [first, second] = order;
        changing.survives(&format!(
            "ALTER TABLE documents ALTER title TYPE text, ALTER attributes TYPE text;
             DROP EXTENSION citext; DROP EXTENSION hstore; CREATE EXTENSION {first}; CREATE EXTENSION {second};
             ALTER TABLE documents ALTER title TYPE citext, ALTER attributes TYPE hstore USING attributes::hstore"
        ));
        // The first stock pool has nothing left to lose.
        return;
    }
}

#[test]
fn extensions_are_dropped_with_all_that_depends_on_them() {
    Changing::start("", documents).survives(
        "DROP EXTENSION citext CASCADE; DROP EXTENSION hstore CASCADE; CREATE EXTENSION citext;
         CREATE EXTENSION hstore; ALTER TABLE documents ADD title citext NOT NULL, ADD attributes hstore NOT NULL",
    );
}
