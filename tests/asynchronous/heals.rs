//! Prepared statements that are out of date: one rerun heals them, directly and behind a pooler that prepares them. The
//! control fails each time.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use fixture::Upgrade;
use testbed::PgBouncerConfig;

use crate::support::pools::upgrade;
use crate::tools::{Hot, Stock, blocking, connect, run};

diesel::table! {
    stale (id) {
        id -> Int4,
        v -> Text,
    }
}

macro_rules! read {
    ($conn:expr) => {
        RunQueryDsl::load::<String>(stale::table.select(stale::v), $conn).await
    };
}

async fn a_column_becomes_text(is_pooled: bool) {
    // One server connection: each stale plan is met again.
    let config = PgBouncerConfig { default_pool_size: 1, ..PgBouncerConfig::default() };
    let upgrade = blocking(|| Upgrade::start(config)).expect("two servers and a pooler");
    let direct = upgrade.old.url(&upgrade.database);
    let url = if is_pooled { upgrade.url() } else { direct.clone() };
    let mut owner: Stock = connect(&direct).await;
    let create = "CREATE TABLE stale (id int4 PRIMARY KEY, v varchar); INSERT INTO stale VALUES (1, 'x')";
    owner.batch_execute(create).await.expect("a table");
    let mut verified: Hot = connect(&url).await;
    let mut single: Hot = connect(&url).await;
    let mut stock: Stock = connect(&url).await;
    let x = Ok(vec!["x".to_owned()]);
    for _ in 0..2 {
        assert_eq!(verified.hot_transaction(async |conn| read!(conn)).await, x);
        assert_eq!(single.hot_query(stale::table.select(stale::v)).load::<String>().await, x);
        assert_eq!(read!(&mut stock), x);
    }
    owner.batch_execute("ALTER TABLE stale ALTER v TYPE text").await.expect("a migration");
    assert!(read!(&mut stock).is_err(), "the control is right");
    for round in 0..3 {
        assert_eq!(verified.hot_transaction(async |conn| read!(conn)).await, x, "round {round}");
        let healed = single.hot_query(stale::table.select(stale::v)).load::<String>().await;
        assert_eq!(healed, x, "round {round}");
    }
    let control = stock.transaction(async |conn| read!(conn)).await;
    assert!(control.is_err(), "the control is right");
}

#[test]
fn a_stale_plan_is_healed() {
    run(a_column_becomes_text(false));
}

#[test]
fn a_stale_plan_of_a_pooler_is_healed() {
    run(a_column_becomes_text(true));
}

#[test]
fn statements_that_are_gone_are_prepared_again() {
    run(async {
        let upgrade = blocking(upgrade);
        let mut hot: Hot = connect(&upgrade.old.url(&upgrade.database)).await;
        let one = async |conn: &mut Hot| {
            RunQueryDsl::get_result::<i32>(diesel::select(1.into_sql::<diesel::sql_types::Integer>()), conn).await
        };
        assert_eq!(hot.hot_transaction(one).await, Ok(1));
        hot.batch_execute("DEALLOCATE ALL").await.expect("it is allowed");
        assert_eq!(hot.hot_transaction(one).await, Ok(1));
        let is_broken = diesel_async::pooled_connection::PoolableConnection::is_broken(&mut hot);
        assert!(is_broken, "its pool replaces it");
    });
}
