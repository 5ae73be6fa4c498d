//! Statements are deallocated between two uses within one checkout, or in the middle of a verified transaction.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::client::{Client, In};
use crate::scenarios::STATEMENTS_ARE_DEALLOCATED;
use crate::site::{Site, Way};
use crate::uses::How;

fn used(conn: &mut PgConnection) -> QueryResult<()> {
    (STATEMENTS_ARE_DEALLOCATED.used)(conn, How::Plain)
}

/// `forget` is what an application does with its own session.
fn between_two_uses(way: Way, within: In, forget: &str) {
    let site = Site::start(way);
    let mut stock = site.connect();
    assert_eq!(used(&mut stock), Ok(()));
    stock.batch_execute(forget).expect(forget);
    for _ in 0..3 {
        used(&mut stock).expect_err("the control");
    }
    for mut client in Client::all(&site) {
        let name = client.name();
        client.with(|conn| {
            for time in 0..3 {
                assert_eq!(within.run(conn, &STATEMENTS_ARE_DEALLOCATED), Ok(()), "{name}, {time}");
                assert_eq!(within.run(conn, &STATEMENTS_ARE_DEALLOCATED), Ok(()), "{name}, {time}, again");
                conn.batch_execute(forget).expect(forget);
            }
        });
        let next = client.with(|conn| within.run(conn, &STATEMENTS_ARE_DEALLOCATED));
        assert_eq!(next, Ok(()), "{name}, in the next checkout");
    }
}

#[test]
fn deallocated_between_verified_transactions() {
    for way in [Way::Direct, Way::Sessions] {
        between_two_uses(way, In::HotTransaction, "DEALLOCATE ALL");
    }
}

#[test]
fn deallocated_between_hot_queries() {
    for way in [Way::Direct, Way::Sessions] {
        between_two_uses(way, In::HotQuery, "DEALLOCATE ALL");
    }
}

#[test]
fn discarded_with_all_else_of_the_session() {
    for within in [In::HotTransaction, In::HotQuery] {
        between_two_uses(Way::Direct, within, "DISCARD ALL");
    }
}

#[test]
fn deallocated_in_the_middle_of_a_verified_transaction() {
    for way in [Way::Direct, Way::Sessions] {
        let site = Site::start(way);
        let in_the_middle = |conn: &mut PgConnection| {
            used(conn)?;
            conn.batch_execute("DEALLOCATE ALL")?;
            used(conn)
        };
        site.connect().transaction(in_the_middle).expect_err("the control");
        for mut client in Client::all(&site) {
            let name = client.name();
            client.with(|conn| {
                for time in 0..3 {
                    assert_eq!(conn.hot_transaction(in_the_middle), Ok(()), "{name}, {time}");
                    assert_eq!(conn.hot_transaction(used), Ok(()), "{name}, {time}, afterwards");
                }
            });
        }
    }
}
