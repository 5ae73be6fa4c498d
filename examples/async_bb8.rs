//! Counts words with diesel-async and bb8: reads a word from each line of the standard input, and prints how often it
//! was there so far, in upper or lower case.
//!
//! ```sh
//! psql "$DATABASE_URL" -c 'CREATE EXTENSION citext' -c 'CREATE TABLE words (id bigserial PRIMARY KEY, word citext)'
//! cargo run --features diesel-async --example async_bb8
//! ```
#![allow(missing_docs)] // Those of the table.

use std::error::Error;
use std::{env, io};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8::Pool};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;

diesel::table! {
    words (id) {
        id -> Int8,
        word -> Citext,
    }
}

/// Both statements need the OID of `citext`, which is another one on another server.
async fn count(conn: &mut HotUpgradeAsyncPgConnection, word: &str) -> QueryResult<i64> {
    diesel::insert_into(words::table).values(words::word.eq(word)).execute(conn).await?;
    words::table.filter(words::word.eq(word)).count().get_result(conn).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = env::var("DATABASE_URL")?;
    let manager = AsyncDieselConnectionManager::<HotUpgradeAsyncPgConnection>::new(url);
    let pool = Pool::builder().max_size(4).build(manager).await?;
    for line in io::stdin().lines() {
        let word = line?;
        let mut conn = pool.get().await?;
        let count = conn.hot_transaction(async |conn| count(conn, &word).await).await?;
        println!("{word}: {count}");
    }
    Ok(())
}
