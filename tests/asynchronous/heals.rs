//! Prepared statements that are gone. Those that are out of date are tested for both drivers at once: `tests/drivers`.

use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::support::pools::upgrade;
use crate::tools::{Hot, blocking, connect, run};

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
