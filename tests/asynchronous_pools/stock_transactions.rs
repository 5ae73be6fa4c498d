//! `build_transaction`: the options and the meaning of diesel-async's own.

use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use testbed::Cluster;

use crate::tools::{Hot, Stock, connect, run};

/// What a transaction says of itself. `$options` go on the builder.
macro_rules! shown {
    ($conn:expr $(, $options:ident)*) => {
        $conn.build_transaction()$(.$options())*.run(async |conn| {
            let settings = "concat_ws(' ', current_setting('transaction_isolation'),
                 current_setting('transaction_read_only'), current_setting('transaction_deferrable'))";
            RunQueryDsl::get_result::<String>(diesel::select(diesel::dsl::sql::<Text>(settings)), conn).await
        })
        .await
    };
}

#[test]
fn options_mean_what_they_mean_for_the_stock_connection() {
    run(async {
        let url = Cluster::shared(12).url("postgres");
        let (mut hot, mut stock): (Hot, Stock) = (connect(&url).await, connect(&url).await);
        let by_hot: Vec<QueryResult<String>> = vec![
            shown!(hot),
            shown!(hot, read_only, serializable, deferrable),
            shown!(hot, repeatable_read, read_write),
            shown!(hot, read_committed, not_deferrable),
        ];
        let by_stock: Vec<QueryResult<String>> = vec![
            shown!(stock),
            shown!(stock, read_only, serializable, deferrable),
            shown!(stock, repeatable_read, read_write),
            shown!(stock, read_committed, not_deferrable),
        ];
        assert_eq!(by_hot, by_stock);
        assert_eq!(by_hot[1], Ok("serializable on on".to_owned()));
    });
}

#[test]
fn it_commits_rolls_back_and_refuses_to_nest() {
    run(async {
        let mut conn: Hot = connect(&Cluster::shared(12).url("postgres")).await;
        conn.batch_execute("CREATE TEMPORARY TABLE counted (n int4)").await.expect("a table");
        let count = async |conn: &mut Hot| {
            let counted = diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT count(*) FROM counted)");
            RunQueryDsl::get_result::<i64>(diesel::select(counted), conn).await.expect("a count")
        };
        let insert = async |conn: &mut Hot| conn.batch_execute("INSERT INTO counted VALUES (1)").await;
        let committed: QueryResult<()> = conn.build_transaction().run(insert).await;
        assert_eq!((committed, count(&mut conn).await), (Ok(()), 1));
        let rolled_back: QueryResult<()> = conn
            .build_transaction()
            .run(async |conn| {
                conn.batch_execute("INSERT INTO counted VALUES (1)").await?;
                let nested = conn.build_transaction().run(async |_| QueryResult::Ok(())).await;
                assert_eq!(nested, Err(Error::AlreadyInTransaction));
                Err(Error::RollbackTransaction)
            })
            .await;
        assert_eq!((rolled_back, count(&mut conn).await), (Err(Error::RollbackTransaction), 1));
        let verified: QueryResult<()> = conn.hot_transaction(async |_| Ok(())).await;
        assert_eq!(verified, Ok(()), "it goes on");
    });
}
