//! The new server lacks an extension that the old one has.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use fixture::{Document, count_titled, documents, insert};
use log::Level;

use crate::support::events::{logged, record_log};
use crate::support::pools::{hot_pool, upgrade};

#[test]
fn an_extension_that_is_missing_on_the_new_server_breaks_only_its_own_queries() {
    record_log();
    let upgrade = upgrade();
    let hot = hot_pool(&upgrade.url(), 2, CacheSize::Unbounded);
    upgrade.run_on(upgrade.new, "DROP EXTENSION hstore CASCADE").expect("no hstore on the new server");
    upgrade.switch_to(upgrade.new).expect("a switch");

    let mut conn = hot.get().expect("a checkout does not fail");
    assert_eq!(count_titled(&mut conn, "no such title"), Ok(0), "citext still works");
    let error = insert(&mut conn, &Document::numbered(1)).expect_err("there is no hstore").to_string();
    assert!(error.contains("hstore"), "the error names the type: {error}");
    assert_eq!(documents::table.count().get_result(&mut conn), Ok(0_i64), "the connection goes on");

    let warnings = logged(Level::Warn, &upgrade.database);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("missing: ") && warnings[0].contains("public.hstore"), "{warnings:?}");
}
