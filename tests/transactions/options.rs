//! Options of a transaction, and statements before the probe.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Document, insert};

use crate::support::documents::{connections, work};
use crate::support::pools::upgrade;
use crate::support::server::settings;

#[test]
fn options_hold_whichever_way_the_transaction_begins() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    for server in [upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        for _ in 0..2 {
            let isolation = hot.hot_transaction_with(
                |builder| builder.serializable().read_only().deferrable(),
                |conn| settings(conn, "transaction_isolation, transaction_read_only, transaction_deferrable"),
            );
            assert_eq!(isolation, Ok("serializable, on, on".to_owned()));
            let others = hot.hot_transaction_with(
                |builder| builder.repeatable_read().read_write().not_deferrable(),
                |conn| settings(conn, "transaction_isolation, transaction_read_only, transaction_deferrable"),
            );
            assert_eq!(others, Ok("repeatable read, off, off".to_owned()));
            let default = hot.hot_transaction_with(
                |builder| builder.serializable().read_committed(),
                |conn| settings(conn, "transaction_isolation"),
            );
            assert_eq!(default, Ok("read committed".to_owned()));
        }
    }
    for server in [upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        for _ in 0..2 {
            let locked = hot.hot_transaction_with(
                |builder| builder.before_probe(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; LOCK TABLE documents; SET LOCAL lock_timeout = '77s'",
                ),
                |conn| {
                    let number = i64::from(server.major()) as u64;
                    insert(conn, &Document::numbered(number))?;
                    settings(conn, "transaction_isolation, lock_timeout")
                },
            );
            assert_eq!(locked, Ok("repeatable read, 77s".to_owned()));
        }
    }
}

#[test]
fn what_fails_before_the_probe_is_reported_and_leaves_no_transaction_open() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    let result = hot.hot_transaction_with(
        |builder| builder.before_probe("LOCK TABLE no_such_table"),
        |_| -> QueryResult<()> { panic!("the closure must not run") },
    );
    assert!(result.expect_err("there is no such table").to_string().contains("no_such_table"));
    assert_eq!(hot.hot_transaction(|conn| work(conn, 3)), Ok(()));
}

#[test]
fn what_fails_before_the_probe_leaves_no_transaction_open_on_the_server() {
    let upgrade = upgrade();
    let (mut hot, _) = connections(&upgrade.url());
    for _ in 0..2 {
        let begun =
            hot.hot_transaction_with(|builder| builder.before_probe("SELECT 1/0"), |_| QueryResult::Ok(()));
        assert!(begun.expect_err("a division by zero").to_string().contains("zero"));
        // A plain statement: a verified transaction rolls back whatever is open.
        assert_eq!(diesel::sql_query("SELECT 1").execute(&mut hot), Ok(1));
    }
}
