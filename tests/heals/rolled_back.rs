//! A verified transaction creates a type, uses it and is rolled back; then the type is created again.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_postgres_hot_upgrade::HotUpgradeExt;

use crate::client::{Client, In};
use crate::scenarios::A_ROLLED_BACK_TYPE_IS_CREATED;
use crate::site::{Site, Way};
use crate::uses::{How, binds_label};

fn create_and_use(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("CREATE TYPE label AS ENUM ('x')")?;
    binds_label(conn, How::Plain)
}

fn is_created_again(way: Way, within: In, plainly_too: bool) {
    let mut site = Site::start(way);
    let mut stock = site.connect();
    let roll_back = |conn: &mut PgConnection| create_and_use(conn).and(Err::<(), _>(Error::RollbackTransaction));
    assert_eq!(stock.transaction(roll_back), Err(Error::RollbackTransaction));
    let mut clients = Client::all(&site);
    for client in &mut clients {
        let rolled_back = client.with(|conn| conn.hot_transaction(roll_back));
        assert_eq!(rolled_back, Err(Error::RollbackTransaction), "{}", client.name());
    }
    site.run("CREATE TYPE label AS ENUM ('x')");
    for _ in 0..3 {
        binds_label(&mut stock, How::Plain).expect_err("the control");
    }
    for client in &mut clients {
        let name = client.name();
        for time in 0..3 {
            let healed = client.with(|conn| within.run(conn, &A_ROLLED_BACK_TYPE_IS_CREATED));
            assert_eq!(healed, Ok(()), "{name}, {time}");
            if plainly_too {
                assert_eq!(client.with(|conn| binds_label(conn, How::Plain)), Ok(()), "{name}, {time}, plainly");
            }
        }
    }
}

#[test]
fn it_is_used_in_verified_transactions() {
    is_created_again(Way::Direct, In::HotTransaction, true);
    is_created_again(Way::Transactions, In::HotTransaction, false);
    is_created_again(Way::WithoutStatementCache, In::HotTransaction, true);
}

#[test]
fn it_is_used_by_hot_queries() {
    is_created_again(Way::Direct, In::HotQuery, true);
    is_created_again(Way::Transactions, In::HotQuery, false);
    is_created_again(Way::WithoutStatementCache, In::HotQuery, true);
}

/// The transaction that creates it runs on the same connection.
#[test]
fn the_same_connection_creates_it_at_last() {
    let site = Site::start(Way::Direct);
    let mut stock = site.connect();
    let rolled_back = |conn: &mut PgConnection| create_and_use(conn).and(Err::<(), _>(Error::RollbackTransaction));
    assert_eq!(stock.transaction(rolled_back), Err(Error::RollbackTransaction));
    for _ in 0..3 {
        assert_ne!(stock.transaction(rolled_back), Err(Error::RollbackTransaction), "the control");
    }
    for (number, mut client) in Client::all(&site).into_iter().enumerate() {
        let name = client.name();
        client.with(|conn| {
            for _ in 0..2 {
                assert_eq!(conn.hot_transaction(rolled_back), Err(Error::RollbackTransaction), "{name}");
            }
            assert_eq!(conn.hot_transaction(create_and_use), Ok(()), "{name}");
            assert_eq!(conn.hot_transaction(|conn| binds_label(conn, How::Plain)), Ok(()), "{name}");
            let rename = format!("ALTER TYPE label RENAME TO label_{number}");
            conn.batch_execute(&rename).expect("room for the next one");
        });
    }
}
