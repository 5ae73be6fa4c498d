//! A connection of an async pool is cut at every boundary between two messages of a transaction, in both directions.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::deadpool;
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{HotTransactionError, track};
use testbed::{Cluster, Cutter, Place, Side, Way};

use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::support::own_process::in_a_process_of_its_own;
use crate::support::server::wait_until;

#[derive(diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "tracked"))]
struct Tracked;

struct Setting {
    server: &'static Cluster,
    database: String,
    cutter: Cutter,
    pool: deadpool::Pool<Conn>,
}

impl Setting {
    async fn start() -> Self {
        let server = Cluster::shared(12);
        let database = format!("async_boundaries_{}", std::process::id());
        blocking(|| {
            server.create_database(&database).expect("a database");
            let mut client = server.client(&database).expect("a server");
            client
                .batch_execute("CREATE TABLE numbers (n int8 NOT NULL); CREATE TYPE tracked AS ENUM ()")
                .expect("a table");
        });
        let cutter = Cutter::start(server.address()).expect("a cutter");
        let pool = deadpool::Pool::start(&server.url_at(cutter.address(), &database), 1).await;
        Setting { server, database, cutter, pool }
    }

    fn written(&self, number: u64) -> i64 {
        blocking(|| {
            let mut client = self.server.client(&self.database).expect("a server");
            let sql = format!("SELECT count(*) FROM numbers WHERE n = {number}");
            client.query_one(&sql, &[]).expect("a count").get(0)
        })
    }

    /// Prepares every statement, and returns how many messages a transaction takes, each way.
    async fn messages(&self) -> [usize; 2] {
        static NUMBER: AtomicU64 = AtomicU64::new(1_000_000);
        for _ in 0..2 {
            self.cutter.reset();
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let result: Result<(), HotTransactionError> =
                self.pool.hot_transaction(async |conn| write(conn, number).await).await;
            result.expect("nothing is cut");
        }
        [Way::ToServer, Way::ToClient].map(|way| self.cutter.messages(way))
    }

    /// Cuts a transaction, and returns what comes of it, and how often its closure has run.
    async fn cut(&self, number: u64, way: Way, place: Place) -> (Result<(), HotTransactionError>, usize) {
        self.messages().await;
        self.cutter.order(way, place, Side::Both);
        let runs = Runs::default();
        let transaction = self.pool.hot_transaction(async |conn| {
            runs.next();
            write(conn, number).await
        });
        let result = transaction.await;
        blocking(|| wait_until("the cut", || self.cutter.has_cut()));
        (result, runs.count())
    }
}

async fn write(conn: &mut Conn, number: u64) -> QueryResult<()> {
    RunQueryDsl::execute(diesel::sql_query(format!("INSERT INTO numbers VALUES ({number})")), conn).await?;
    let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT count(*) FROM numbers)");
    // `get_result` would not wait for what comes after the row.
    RunQueryDsl::load::<i64>(diesel::select(count), conn).await.map(drop)
}

#[test]
fn wherever_a_connection_is_cut_nothing_is_lost_or_there_twice() {
    let test = "wherever_a_connection_is_cut_nothing_is_lost_or_there_twice";
    in_a_process_of_its_own(module_path!(), test, cut_everywhere);
}

fn cut_everywhere() {
    // Since that exists, no transaction looks for new types, and all have the same messages.
    track::<Tracked>();
    run(async {
        let setting = Setting::start().await;
        let [to_server, to_client] = setting.messages().await;
        let mut places = Vec::new();
        for message in 0..to_server {
            places.push((Way::ToServer, Place::BeforeMessage(message)));
        }
        for message in 0..to_client {
            places.push((Way::ToClient, Place::BeforeMessage(message)));
        }
        // What is sent at once at the end, and answered: the last statement is closed (2 messages, 2 answers), the
        // savepoint (1 and 2), and `COMMIT` (1 and 2).
        let (first_of_last, first_answer) = (to_server - 4, to_client - 6);
        let mut unknown = 0;
        for (number, (way, place)) in (1..).zip(places.iter().copied()) {
            let (result, runs) = setting.cut(number, way, place).await;
            let context = format!("{way:?} {place:?} of {to_server} and {to_client}: {result:?}");
            let Place::BeforeMessage(message) = place else { unreachable!("these places are of one kind") };
            match &result {
                Ok(()) => assert_eq!(setting.written(number), 1, "{context}"),
                Err(HotTransactionError::OutcomeUnknown { .. }) => {
                    let may_be_unknown = match way {
                        Way::ToServer => message >= first_of_last,
                        Way::ToClient => message >= first_answer,
                    };
                    assert!(may_be_unknown && runs == 1, "{context}");
                    assert!(setting.written(number) <= 1, "{context}");
                    unknown += 1;
                }
                Err(_) => panic!("{context}"),
            }
        }
        assert!(unknown > 0 && unknown <= 10, "{unknown} of {} are unknown", places.len());
    });
}
