//! The same as a service of axum, with deadpool: `POST /words/{word}` counts a word, `GET /words/{word}` says how often
//! it was counted.
//!
//! ```sh
//! psql "$DATABASE_URL" -c 'CREATE EXTENSION citext' -c 'CREATE TABLE words (id bigserial PRIMARY KEY, word citext)'
//! cargo run --features diesel-async --example async_deadpool 127.0.0.1:3000
//! ```
#![allow(missing_docs)] // Those of the table.

use std::env;
use std::error::Error;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, serve};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool::Pool};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPgConnection;
use tokio::net::TcpListener;

diesel::table! {
    words (id) {
        id -> Int8,
        word -> Citext,
    }
}

type Answer = Result<String, (StatusCode, String)>;

fn failed(error: impl Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn count(conn: &mut HotUpgradeAsyncPgConnection, word: &str) -> QueryResult<i64> {
    words::table.filter(words::word.eq(word)).count().get_result(conn).await
}

/// In a verified transaction: right also if the server changes at this moment.
async fn add(State(pool): State<Pool<HotUpgradeAsyncPgConnection>>, Path(word): Path<String>) -> Answer {
    let mut conn = pool.get().await.map_err(failed)?;
    let counted = conn.hot_transaction(async |conn| {
        diesel::insert_into(words::table).values(words::word.eq(&word)).execute(conn).await?;
        count(conn, &word).await
    });
    Ok(counted.await.map_err(failed)?.to_string())
}

/// A plain statement, right because of the check at the checkout.
async fn show(State(pool): State<Pool<HotUpgradeAsyncPgConnection>>, Path(word): Path<String>) -> Answer {
    let mut conn = pool.get().await.map_err(failed)?;
    Ok(count(&mut conn, &word).await.map_err(failed)?.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = env::var("DATABASE_URL")?;
    let manager = AsyncDieselConnectionManager::<HotUpgradeAsyncPgConnection>::new(url);
    let pool = Pool::builder(manager).max_size(4).build()?;
    let listener = TcpListener::bind(env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    let service = Router::new().route("/words/{word}", get(show).post(add)).with_state(pool);
    Ok(serve(listener, service).await?)
}
