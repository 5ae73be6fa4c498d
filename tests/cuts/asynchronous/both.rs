//! What runs with bb8 and with deadpool, on the table and the address of a blocking test.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::{bb8, deadpool};

use super::pools::AsyncPool;
use super::setting::Conn;

pub(super) async fn add(conn: &mut Conn, id: i32) -> QueryResult<usize> {
    RunQueryDsl::execute(diesel::sql_query(format!("INSERT INTO items VALUES ({id})")), conn).await
}

/// Runs a test with both pools.
macro_rules! with_both {
    ($name:ident, $database:literal, $test:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn bb8() {
                let _alone = alone();
                run($test(Setting::start(concat!($database, "_bb8")), start_bb8));
            }

            #[test]
            fn deadpool() {
                let _alone = alone();
                run($test(Setting::start(concat!($database, "_deadpool")), start_deadpool));
            }
        }
    };
}
pub(super) use with_both;

pub(super) async fn start_bb8(url: String, size: u32) -> bb8::Pool<Conn> {
    bb8::Pool::start(&url, size).await
}

pub(super) async fn start_deadpool(url: String, size: u32) -> deadpool::Pool<Conn> {
    deadpool::Pool::start(&url, size).await
}

/// A transaction whose closure is told how often it has run.
macro_rules! runs_of {
    ($pool:expr, $closure:expr) => {{
        let runs = Runs::default();
        let counted = runs.clone();
        let result = $pool
            .hot_transaction(async |conn| {
                let run = counted.next();
                $closure(conn, run).await
            })
            .await;
        (result, runs.count())
    }};
}
pub(super) use runs_of;
