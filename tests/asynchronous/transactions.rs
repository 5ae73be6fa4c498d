//! What a verified transaction reports, and when it runs again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::Error;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager,
};
use fixture::{RECREATE_ENUM, Upgrade};
use testbed::Cluster;

use crate::support::pools::upgrade;
use crate::tools::{Hot, Stock, blocking, connect, run, write_and_read_back};

async fn direct() -> (Upgrade, Hot, Stock) {
    let upgrade = blocking(upgrade);
    let url = upgrade.old.url(&upgrade.database);
    let mut owner: Stock = connect(&url).await;
    owner.batch_execute("CREATE TABLE counted (n int4 UNIQUE)").await.expect("a table");
    (upgrade, connect(&url).await, owner)
}

async fn count(conn: &mut Stock) -> i64 {
    let counted = diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT count(*) FROM counted)");
    RunQueryDsl::get_result(diesel::select(counted), conn).await.expect("a count")
}

fn made(attempts: &AtomicUsize) -> usize {
    AtomicUsize::load(attempts, Ordering::SeqCst)
}

async fn insert(conn: &mut Hot) -> QueryResult<()> {
    conn.batch_execute("INSERT INTO counted VALUES (1)").await
}

/// Ways to end a transaction unseen, or with diesel-async's own means.
const ENDS: [&str; 6] = ["COMMIT", "/* a */ rollback", "END", "ABORT; SELECT 1", "its commit", "as a query"];

async fn end(conn: &mut Hot, how: &str) -> QueryResult<()> {
    match how {
        "its commit" => AnsiTransactionManager::commit_transaction(conn).await,
        "as a query" => diesel::sql_query("COMMIT").execute(conn).await.map(drop),
        sql => conn.batch_execute(sql).await,
    }
}

#[test]
fn a_closure_that_ends_the_transaction_by_itself_is_an_error_and_is_not_run_again() {
    run(async {
        for how in ENDS {
            let (_upgrade, mut hot, mut owner) = direct().await;
            let attempts = Arc::new(AtomicUsize::new(0));
            let result: QueryResult<()> = hot
                .hot_transaction(async |conn| {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    insert(conn).await?;
                    end(conn, how).await
                })
                .await;
            let error = result.expect_err(how).to_string();
            assert!(error.contains("by itself"), "{how}: {error}");
            // After that, a statement fails, and the catalog has changed.
            owner.batch_execute("DELETE FROM counted").await.expect("a table");
            let result: QueryResult<()> = hot
                .hot_transaction(async |conn| {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    insert(conn).await?;
                    end(conn, how).await?;
                    conn.batch_execute("CREATE TYPE another AS ENUM ()").await?;
                    conn.batch_execute("SELECT 1/0").await
                })
                .await;
            assert!(result.is_err(), "{how}");
            assert_eq!(made(&attempts), 2, "{how}");
            assert!(count(&mut owner).await <= 1, "{how}: nothing is committed twice");
            assert_eq!(hot.hot_transaction(async |_| QueryResult::Ok(())).await, Ok(()), "{how}: it goes on");
        }
    });
}

/// The text has an `END` after a semicolon, which ends the body of a function, and no transaction.
#[test]
fn a_closure_can_create_a_function_whose_body_is_sql() {
    const CREATE: &str = "CREATE FUNCTION answer() RETURNS int4 LANGUAGE sql BEGIN ATOMIC \
         SELECT 1; SELECT CASE WHEN true THEN 42 END; END";
    run(async {
        let server = blocking(|| Cluster::start(18)).expect("a server");
        for as_query in [false, true] {
            let mut hot: Hot = connect(&server.url("postgres")).await;
            hot.batch_execute("DROP FUNCTION IF EXISTS answer()").await.expect("none");
            let created = hot.hot_transaction(async |conn| match as_query {
                false => conn.batch_execute(CREATE).await,
                true => diesel::sql_query(CREATE).execute(conn).await.map(drop),
            });
            assert_eq!(created.await, Ok(()));
            let answer = diesel::dsl::sql::<diesel::sql_types::Integer>("answer()");
            assert_eq!(diesel::select(answer).get_result::<i32>(&mut hot).await, Ok(42));
        }
    });
}

/// A query of the application's own, which has an id, as most queries have.
#[derive(QueryId)]
struct Commit;

impl QueryFragment<Pg> for Commit {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("COMMIT");
        Ok(())
    }
}

impl<C> diesel::RunQueryDsl<C> for Commit {}

#[test]
fn a_closure_that_commits_with_a_query_of_its_own_is_not_run_again() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        owner
            .batch_execute("ALTER TABLE counted DROP CONSTRAINT counted_n_key")
            .await
            .expect("rows can be there twice");
        let attempts = Arc::new(AtomicUsize::new(0));
        let result: QueryResult<()> = hot
            .hot_transaction(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                insert(conn).await?;
                Commit.execute(conn).await?;
                conn.batch_execute(RECREATE_ENUM).await?;
                conn.batch_execute("SELECT 1/0").await
            })
            .await;
        assert!(result.is_err());
        assert_eq!((made(&attempts), count(&mut owner).await), (1, 1));
    });
}

#[test]
fn an_error_that_the_closure_hides_is_an_error_and_nothing_is_committed() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        let result: QueryResult<()> = hot
            .hot_transaction(async |conn| {
                insert(conn).await?;
                let _ = conn.batch_execute("SELECT 1/0").await;
                Ok(())
            })
            .await;
        let error = result.expect_err("nothing was committed").to_string();
        assert!(error.contains("returned Ok"), "{error}");
        assert_eq!(count(&mut owner).await, 0);
        let control: QueryResult<()> = owner
            .transaction(async |conn| {
                let _ = conn.batch_execute("SELECT 1/0").await;
                Ok(())
            })
            .await;
        assert_eq!(control, Ok(()), "the control, which reports a success");
    });
}

#[test]
fn an_error_in_a_savepoint_leaves_the_transaction_in_order() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let result = hot
            .hot_transaction(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                insert(conn).await?;
                let failed: QueryResult<()> =
                    conn.hot_transaction(async |conn| conn.batch_execute("SELECT 1/0").await).await;
                assert!(failed.is_err());
                QueryResult::Ok(())
            })
            .await;
        assert_eq!((result, made(&attempts), count(&mut owner).await), (Ok(()), 1, 1));
    });
}

#[test]
fn an_applications_own_errors_are_returned_and_run_once() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        // The first error may find that the catalog changed since the connection began.
        let _: QueryResult<()> = hot.hot_transaction(async |conn| conn.batch_execute("SELECT 1/0").await).await;
        hot.hot_transaction(async |conn| insert(conn).await).await.expect("a row");
        for number in 0..5 {
            let attempts = Arc::new(AtomicUsize::new(0));
            let result: QueryResult<()> = hot
                .hot_transaction(async |conn| {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    insert(conn).await
                })
                .await;
            assert!(matches!(result, Err(Error::DatabaseError(..))), "{result:?}");
            // At first, the table that was just created and the transaction that was rolled back are suspected, once
            // each.
            assert!(made(&attempts) <= if number < 2 { 3 } else { 1 }, "{number}: {}", made(&attempts));
            let result: QueryResult<()> = hot.hot_transaction(async |_| Err(Error::RollbackTransaction)).await;
            assert_eq!(result, Err(Error::RollbackTransaction));
        }
        assert_eq!(count(&mut owner).await, 1);
        assert!(!PoolableConnection::is_broken(&mut hot));
    });
}

#[test]
fn a_deferred_constraint_that_fails_at_commit_is_the_applications_error() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        let deferred = "CREATE TABLE late (n int4 UNIQUE DEFERRABLE INITIALLY DEFERRED)";
        owner.batch_execute(deferred).await.expect("a table");
        let attempts = Arc::new(AtomicUsize::new(0));
        let result: QueryResult<()> = hot
            .hot_transaction(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                conn.batch_execute("INSERT INTO late VALUES (1), (1)").await
            })
            .await;
        let is_unique =
            matches!(result, Err(Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _)));
        assert!(is_unique, "{result:?}");
        assert_eq!(made(&attempts), 1);
        assert_eq!(hot.hot_transaction(async |_| QueryResult::Ok(())).await, Ok(()), "it goes on");
    });
}

#[test]
fn a_statement_over_the_stock_connection_is_not_run_again() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let result: QueryResult<()> = hot
            .hot_transaction(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                insert(conn).await?;
                conn.stock().batch_execute("COMMIT; CREATE TYPE another AS ENUM ()").await?;
                conn.batch_execute("SELECT 1/0").await
            })
            .await;
        assert!(result.is_err());
        assert_eq!((made(&attempts), count(&mut owner).await), (1, 1));
    });
}

#[test]
fn options_come_first_and_a_test_transaction_stays_in_its_pool() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        let result = hot
            .hot_transaction_with(|builder| builder.serializable().read_only(), async |conn| insert(conn).await)
            .await;
        assert!(result.is_err(), "it is read only");
        hot.begin_test_transaction().await.expect("a transaction");
        hot.hot_transaction(async |conn| insert(conn).await).await.expect("a savepoint");
        let nested = hot.hot_transaction_with(|builder| builder, async |_| QueryResult::Ok(())).await;
        assert_eq!(nested, Err(Error::AlreadyInTransaction));
        assert!(!PoolableConnection::is_broken(&mut hot));
        assert_eq!(count(&mut owner).await, 0);
    });
}

#[test]
fn a_panic_in_the_closure_breaks_the_connection_and_nothing_is_committed() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        let task = tokio::spawn(async move {
            let unwound = std::panic::AssertUnwindSafe(hot.hot_transaction(async |conn| {
                insert(conn).await?;
                if conn.is_never() { Ok(()) } else { panic!("as it was meant to") }
            }));
            let unwound: Result<QueryResult<()>, _> = futures_util::FutureExt::catch_unwind(unwound).await;
            (unwound.is_err(), PoolableConnection::is_broken(&mut hot))
        });
        assert_eq!(task.await.expect("it was caught"), (true, true));
        assert_eq!(count(&mut owner).await, 0);
    });
}

trait Never {
    fn is_never(&self) -> bool {
        false
    }
}

impl Never for Hot {}

#[test]
fn a_type_that_is_recreated_inside_a_checkout_is_healed() {
    run(async {
        let (_upgrade, mut hot, mut owner) = direct().await;
        for _ in 0..2 {
            let used: QueryResult<()> = hot.hot_transaction(async |conn| write_and_read_back!(conn)).await;
            assert_eq!(used, Ok(()));
            let control: QueryResult<()> = write_and_read_back!(&mut owner);
            assert_eq!(control, Ok(()));
        }
        let (_other_upgrade, url) = (&_upgrade, _upgrade.old.url(&_upgrade.database));
        let mut migrating: Stock = connect(&url).await;
        migrating.batch_execute(RECREATE_ENUM).await.expect("a migration");
        let healed: QueryResult<()> = hot.hot_transaction(async |conn| write_and_read_back!(conn)).await;
        assert_eq!(healed, Ok(()));
        let again: QueryResult<()> = write_and_read_back!(&mut hot);
        assert_eq!(again, Ok(()));
        let control: QueryResult<()> = write_and_read_back!(&mut owner);
        assert!(control.is_err(), "the control is right");
    });
}
