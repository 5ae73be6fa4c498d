//! Plain statements fail unseen, until a verified transaction or a `hot_query` of the same connection heals it.

use diesel::prelude::*;

use crate::client::{Client, In};
use crate::scenarios::{A_COLUMN_BECOMES_TEXT, STATEMENTS_ARE_DEALLOCATED, Scenario};
use crate::site::{Site, Way};
use crate::uses::{How, reads};

/// Another statement that goes stale with the scenario's.
fn other(conn: &mut PgConnection) -> QueryResult<()> {
    reads(conn, How::Plain, "SELECT value FROM (TABLE other) other", b"x")
}

fn one_heals_all(scenario: &Scenario, way: Way, within: In) {
    let mut site = Site::start(way);
    (scenario.prepare)(site.owner()).expect("what the scenario begins with");
    site.run("CREATE TABLE other (value varchar); INSERT INTO other VALUES ('x')");
    let mut stock = site.connect();
    assert_eq!(other(&mut stock), Ok(()));
    let mut clients = Client::all(&site);
    for client in &mut clients {
        client.with(|conn| {
            assert_eq!(other(conn), Ok(()));
            assert_eq!((scenario.used)(conn, How::Plain), Ok(()));
            (scenario.itself)(conn).expect("what the connection does itself");
        });
    }
    (scenario.itself)(&mut stock).expect("what the connection does itself");
    site.run(scenario.change);
    site.run("ALTER TABLE other ALTER value TYPE text");

    for _ in 0..3 {
        other(&mut stock).expect_err("the control");
    }
    for client in &mut clients {
        client.with(|conn| {
            // It may fail, and does not stand in the way.
            let _ = other(conn);
            assert_eq!(within.run(conn, scenario), Ok(()));
            for _ in 0..3 {
                assert_eq!(other(conn), Ok(()));
                assert_eq!((scenario.used)(conn, How::Plain), Ok(()));
            }
        });
    }
}

macro_rules! one_heals_all {
    ($($name:ident = $scenario:ident, $way:ident, $within:ident;)*) => {
        $(
            #[test]
            fn $name() {
                one_heals_all(&$scenario, Way::$way, In::$within);
            }
        )*
    };
}

one_heals_all! {
    a_verified_transaction_heals_all_plans_directly = A_COLUMN_BECOMES_TEXT, Direct, HotTransaction;
    a_verified_transaction_heals_all_plans_in_session_mode = A_COLUMN_BECOMES_TEXT, Sessions, HotTransaction;
    a_hot_query_heals_all_plans_directly = A_COLUMN_BECOMES_TEXT, Direct, HotQuery;
    a_hot_query_heals_all_plans_in_session_mode = A_COLUMN_BECOMES_TEXT, Sessions, HotQuery;
    a_verified_transaction_heals_all_names_directly = STATEMENTS_ARE_DEALLOCATED, Direct, HotTransaction;
    a_hot_query_heals_all_names_in_session_mode = STATEMENTS_ARE_DEALLOCATED, Sessions, HotQuery;
}
