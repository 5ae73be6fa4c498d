//! Limits of time: those that the server sets, those of a pooler, and those that a silent server needs.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::Pool;
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{
    HotPoolTransactionBuilder, HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool,
};
use fixture::builder;
use testbed::{Cluster, PgBouncer, PgBouncerConfig, Side};

use crate::setting::{Setting, add, alone, runs_of};
use crate::support::server::wait_until;

fn within(time: Duration) -> impl Fn(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder {
    move |builder| builder.within(time)
}

/// The server ends a session whose transaction takes too long. `limit` is the setting that says so.
fn a_transaction_that_the_server_ends_runs_again(server: &'static Cluster, name: &str, limit: &str) {
    let _alone = alone();
    let setting = Setting::on(server, name);
    let slowly = |conn: &mut PgConnection, number: i32, is_slow: bool| {
        if is_slow {
            conn.batch_execute(&format!("SET LOCAL {limit} = '100ms'"))?;
        }
        let added = add(conn, number)?;
        if is_slow {
            wait_until("the server to end the session", || {
                let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                              AND pid <> pg_backend_pid() AND state = 'idle in transaction'";
                let mut client = setting.server.client(&setting.database).expect("a server");
                client.query_one(others, &[]).expect("a count").get::<_, i64>(0) == 0
            });
            // A COMMIT that is sent before the connection is closed would be one of unknown outcome.
            conn.batch_execute("SELECT 1")?;
        }
        Ok(added)
    };
    let pool = setting.pool(2);
    let (result, runs) = runs_of(&pool, |conn, runs| slowly(conn, 1, runs == 1));
    assert!(matches!(result, Ok(1)) && runs == 2, "{result:?} after {runs} runs");

    // It always takes too long. This is tried until the deadline, and no longer.
    let began = Instant::now();
    let always: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(within(Duration::from_secs(1)), |conn| slowly(conn, 2, true));
    // Its last try may have been at the moment of the deadline, for which no connection was left.
    assert!(matches!(always, Err(HotTransactionError::NotCommitted { tries: 1.., .. })), "{always:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let control = pool.get().expect("a connection").hot_transaction(|conn| slowly(conn, 3, true));
    assert!(control.is_err(), "a transaction of a connection");
    assert_eq!(setting.count(), 1);
}

#[test]
fn a_transaction_that_idles_too_long_runs_again() {
    a_transaction_that_the_server_ends_runs_again(
        Cluster::shared(12),
        "idles",
        "idle_in_transaction_session_timeout",
    );
}

#[test]
fn a_transaction_that_takes_too_long_runs_again() {
    a_transaction_that_the_server_ends_runs_again(Cluster::shared(18), "takes_long", "transaction_timeout");
}

#[test]
fn a_statement_that_takes_too_long_is_the_applications_error() {
    let _alone = alone();
    let setting = Setting::start("statement_timeout");
    let (result, runs) = runs_of(&setting.pool(1), |conn, _| {
        conn.batch_execute("SET LOCAL statement_timeout = '20ms'")?;
        sql_query("SELECT pg_sleep(60)").execute(conn)
    });
    // Once more because the table is new.
    assert!(matches!(result, Err(HotTransactionError::Application(_))) && runs <= 2, "{result:?}");
}

/// Does a pool come back after its address has accepted connections without an answer for a while?
fn comes_back_from_silence(name: &str, parameters: &str) -> bool {
    let setting = Setting::start(name);
    let manager = HotUpgradeManager::new(format!("{}{parameters}", setting.url()));
    let pool = builder(2).build(manager).expect("a pool");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    setting.cutter.retarget(silent.local_addr().expect("an address"));
    setting.cutter.cut(Side::Both);
    let limit = Duration::from_secs(2);
    let began = Instant::now();
    let result: Result<usize, HotTransactionError> = pool.hot_transaction_with(within(limit), |conn| add(conn, 1));
    assert!(matches!(result, Err(HotTransactionError::NotCommitted { .. })), "{result:?}");
    assert!(began.elapsed() < limit + Duration::from_secs(2), "{:?}", began.elapsed());
    // What connects now still waits for an answer.
    setting.cutter.retarget(setting.server.address());
    let result: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(within(Duration::from_secs(8)), |conn| add(conn, 2));
    result.is_ok()
}

#[test]
fn a_pool_comes_back_from_a_server_that_never_answers_if_connecting_has_a_limit() {
    let _alone = alone();
    assert!(comes_back_from_silence("silent", "?connect_timeout=2"));
    assert!(!comes_back_from_silence("silent_control", ""), "the control: all threads of the pool still connect");
}

#[test]
fn a_statement_that_is_under_way_is_waited_for_past_the_deadline() {
    let _alone = alone();
    let setting = Setting::start("paused");
    let bouncer = PgBouncer::start(PgBouncerConfig::default()).expect("a pooler");
    bouncer.route(&setting.database, &setting.server.target(&setting.database)).expect("a route");
    let pool = builder(1).build(HotUpgradeManager::new(bouncer.url(&setting.database))).expect("a pool");
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    bouncer.console(&format!("PAUSE {}", setting.database)).expect("a pause");
    let limit = Duration::from_millis(200);
    let began = Instant::now();
    let waiting = thread::spawn(move || {
        let result: Result<usize, HotTransactionError> =
            pool.hot_transaction_with(within(limit), |conn| add(conn, 2));
        (result, began.elapsed())
    });
    wait_until("the deadline", || began.elapsed() > 2 * limit);
    assert!(!waiting.is_finished(), "`BEGIN` is under way");
    bouncer.console(&format!("RESUME {}", setting.database)).expect("it goes on");
    let (result, took) = waiting.join().expect("no panic");
    assert!(matches!(result, Ok(1)) && took > 2 * limit, "{result:?} after {took:?}");
    assert_eq!(setting.count(), 2);
}

#[test]
fn a_url_with_several_hosts_leads_to_the_new_primary() {
    let _alone = alone();
    let mut primary = Cluster::start(12).expect("a primary");
    let mut client = primary.client("postgres").expect("a server");
    client.batch_execute("CREATE TABLE items (id int)").expect("a table");
    drop(client);
    primary.stop().expect("a stop");
    let mut standby = Cluster::standby_of(&primary).expect("a standby");
    primary.restart().expect("a primary");
    let hosts = format!("{},{}", primary.address(), standby.address());
    let url = format!("postgres://postgres@{hosts}/postgres?target_session_attrs=read-write");
    let pool = Pool::builder().max_size(2).build(HotUpgradeManager::new(url)).expect("a pool");
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    standby.catch_up_with(&primary).expect("it follows");
    let mut held = pool.get().expect("a connection");
    primary.crash().expect("a crash");
    assert!(held.hot_transaction(|conn| add(conn, 2)).is_err(), "a transaction of a connection");
    drop(held);
    let waiting = thread::spawn(move || runs_of(&pool, |conn, _| add(conn, 3)));
    standby.promote().expect("a promotion");
    let (result, runs) = waiting.join().expect("no panic");
    assert!(matches!(result, Ok(1)) && runs == 1, "{result:?} after {runs} runs");
    let mut client = standby.client("postgres").expect("a server");
    let written: i64 = client.query_one("SELECT count(*) FROM items WHERE id = 3", &[]).expect("a count").get(0);
    assert_eq!(written, 1);
}
