//! The control: what the examples do, with the stock connection, goes wrong after the same switch.

use diesel::prelude::*;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use crate::words::upgrade;

diesel::table! {
    words (id) {
        id -> Int8,
        word -> Citext,
    }
}

async fn add(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    diesel::insert_into(words::table).values(words::word.eq("word")).execute(conn).await?;
    words::table.filter(words::word.eq("WORD")).count().get_result(conn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_connections_fail_in_both_pools_after_the_switch() {
    let upgrade = tokio::task::block_in_place(upgrade);
    let manager = || AsyncDieselConnectionManager::<AsyncPgConnection>::new(upgrade.url());
    let bb8: bb8::Pool<AsyncPgConnection> =
        bb8::Pool::builder().max_size(1).build(manager()).await.expect("a pool");
    let deadpool = deadpool::Pool::builder(manager()).max_size(1).build().expect("a pool");
    for (is_after, server) in [(false, upgrade.old), (true, upgrade.new)] {
        tokio::task::block_in_place(|| upgrade.switch_to(server)).expect("a switch");
        let mut conn = bb8.get().await.expect("a connection");
        let counted = conn.transaction(async |conn| add(conn).await).await;
        assert_eq!(counted.is_err(), is_after, "bb8: {counted:?}");
        let mut conn = deadpool.get().await.expect("a connection");
        let counted = conn.transaction(async |conn| add(conn).await).await;
        assert_eq!(counted.is_err(), is_after, "deadpool: {counted:?}");
    }
}
