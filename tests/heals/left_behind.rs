//! What heals a connection leaves nothing behind on the server, so that it need not be replaced.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::scenarios::A_COLUMN_BECOMES_WIDER;
use crate::site::{Site, Way};
use crate::support::pools::hot_pool;
use crate::uses::How;

const CHANGES: usize = 50;

/// As many as an application has that uses this, and this crate's own.
const FEW: i64 = 8;

fn leaves_nothing_behind(way: Way) {
    let mut site = Site::start(way);
    (A_COLUMN_BECOMES_WIDER.prepare)(site.owner()).expect("a table");
    let pool = hot_pool(&site.url(), 1, way.cache());
    let used = |conn: &mut PgConnection| (A_COLUMN_BECOMES_WIDER.used)(conn, How::Plain);
    let pid =
        |conn: &mut PgConnection| diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()")).get_result(conn);
    let first: i32 = pid(&mut pool.get().expect("a checkout")).expect("its process");
    for change in 0..CHANGES {
        let wide = if change % 2 == 0 { "int8" } else { "int4" };
        site.run(&format!("ALTER TABLE t ALTER v TYPE {wide}"));
        let mut conn = pool.get().expect("a checkout");
        assert_eq!(conn.hot_transaction(used), Ok(()), "after change {change}");
    }
    let mut conn = pool.get().expect("a checkout");
    assert_eq!(pid(&mut conn), Ok(first), "the connection was replaced");
    let count = diesel::dsl::sql::<BigInt>("(SELECT count(*) FROM pg_prepared_statements)");
    let count: i64 = diesel::select(count).get_result(&mut *conn).expect("a count");
    assert!(count <= FEW, "{count} prepared statements");
}

#[test]
fn nothing_is_left_behind_directly() {
    leaves_nothing_behind(Way::Direct);
}

#[test]
fn nothing_is_left_behind_in_session_mode() {
    leaves_nothing_behind(Way::Sessions);
}
