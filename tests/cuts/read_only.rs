//! Servers that take no writes: what counts as a cut, and what does not.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{
    CutCause, HotPoolTransactionBuilder, HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool,
    TargetSessionAttrs, Verify, stats,
};
use fixture::builder;
use testbed::{Cluster, Cutter, Side};

use crate::setting::{Setting, add, alone, runs_of};
use crate::support::server::wait_until;

/// A server of a test's own, with a table.
fn server() -> Cluster {
    let server = Cluster::start(12).expect("a server");
    let mut client = server.client("postgres").expect("a server");
    client.batch_execute("CREATE TABLE items (id int)").expect("a table");
    server
}

fn is_read_only(result: QueryResult<usize>) -> bool {
    matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)))
}

/// The transaction stays read-only. The question after its rollback is of the next one.
#[test]
fn a_server_that_takes_writes_again_before_it_is_asked_is_no_failure() {
    let _alone = alone();
    let server = server();
    let [pool, hot] =
        [(); 2].map(|()| builder(1).build(HotUpgradeManager::new(server.url("postgres"))).expect("a pool"));
    let mut admin = server.client("postgres").expect("a server");
    let mut set = |sql: &str, conn: &mut PgConnection, shown: &str| {
        admin.batch_execute(sql).expect("a setting");
        admin.batch_execute("SELECT pg_reload_conf()").expect("a reload");
        wait_until("the setting", || {
            let setting =
                diesel::dsl::sql::<diesel::sql_types::Text>("current_setting('default_transaction_read_only')");
            diesel::select(setting).get_result::<String>(conn).expect("a setting") == shown
        });
    };
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    let on = "ALTER SYSTEM SET default_transaction_read_only = on";
    let off = "ALTER SYSTEM RESET default_transaction_read_only";

    set(on, &mut hot.get().expect("a connection"), "on");
    let control = hot.get().expect("a connection").hot_transaction(|conn| {
        set(off, conn, "off");
        add(conn, 2)
    });
    assert!(is_read_only(control), "the control");

    set(on, &mut pool.get().expect("a connection"), "on");
    let (result, runs) = runs_of(&pool, |conn, run| {
        if run == 1 {
            set(off, conn, "off");
        }
        add(conn, 3)
    });
    assert_eq!((result.is_ok(), runs), (true, 2), "{result:?}");
}

#[test]
fn a_server_that_takes_no_writes_any_more_is_left() {
    let _alone = alone();
    let [old, new] = [server(), server()];
    let cutter = Cutter::start(old.address()).expect("a cutter");
    let url = old.url_at(cutter.address(), "postgres");
    let pool = builder(4).build(HotUpgradeManager::new(url.as_str())).expect("a pool");
    let stock = builder(4).build(ConnectionManager::<PgConnection>::new(url.as_str())).expect("a pool");
    let hot = builder(4).build(HotUpgradeManager::new(url.as_str())).expect("a pool");
    for pool in [&pool, &hot] {
        let (result, _) = runs_of(pool, |conn, _| add(conn, 1));
        assert!(result.is_ok(), "{result:?}");
    }

    let mut client = old.client("postgres").expect("a server");
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").expect("a setting");
    client.batch_execute("SELECT pg_reload_conf()").expect("a reload");
    wait_until("the setting", || {
        is_read_only(stock.get().expect("a connection").transaction(|conn| add(conn, 2)))
    });
    // Also on a new connection, which has never been writable.
    let held: Vec<_> = (0..4).map(|_| pool.get().expect("a connection")).collect();
    let waiting = std::thread::spawn({
        let pool = pool.clone();
        move || runs_of(&pool, |conn, _| add(conn, 3))
    });
    drop(held);
    let options = |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(1));
    let result: Result<usize, HotTransactionError> = pool.hot_transaction_with(options, |conn| add(conn, 4));
    let Err(HotTransactionError::NotCommitted { cause: CutCause::ReadOnly(error), .. }) = result else {
        panic!("{result:?}");
    };
    assert!(is_read_only(Err(error)));
    cutter.retarget(new.address());
    let (result, runs) = waiting.join().expect("no panic");
    assert!(result.is_ok() && runs > 1, "{result:?} after {runs} runs");
    let there = |id: i32| {
        let mut client = new.client("postgres").expect("a server");
        client.query_one("SELECT count(*) FROM items WHERE id = $1", &[&id]).expect("a count").get::<_, i64>(0)
    };
    assert_eq!(there(3), 1, "on the new server");
    // The controls stay on the connections that they have.
    for _ in 0..4 {
        let verified = hot.get().expect("a connection").hot_transaction(|conn| add(conn, 5));
        assert!(is_read_only(verified), "a verified transaction of a connection");
        assert!(is_read_only(stock.get().expect("a connection").transaction(|conn| add(conn, 6))), "stock");
    }
    let (result, _) = runs_of(&hot, |conn, _| add(conn, 7));
    assert!(result.is_ok(), "the same pool: {result:?}");
    assert_eq!(there(7), 1);
}

/// Every connection of the pool, which has two.
fn make_read_only<M: ManageConnection<Connection = PgConnection>>(pool: &Pool<M>) {
    let mut held: Vec<_> = (0..2).map(|_| pool.get().expect("a connection")).collect();
    for conn in &mut held {
        conn.batch_execute("SET default_transaction_read_only = on").expect("a setting");
    }
}

#[test]
fn a_server_that_does_not_fit_is_left_before_the_closure_runs() {
    let _alone = alone();
    let setting = Setting::start("unfit");
    let read_write = || HotUpgradeManager::new(setting.url()).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let hour = Verify::AtMostEvery(Duration::from_secs(3600));
    for (number, manager) in [(0, read_write()), (10, read_write().verify(hour))] {
        let pool = builder(2).build(manager).expect("a pool");
        let (result, _) = runs_of(&pool, |conn, _| add(conn, number));
        assert!(result.is_ok(), "{result:?}");
        make_read_only(&pool);
        let before = stats().unfit_connections();
        let (result, runs) = runs_of(&pool, |conn, _| add(conn, number + 1));
        assert!(matches!(result, Ok(1)) && runs == 1, "{result:?} after {runs} runs");
        assert!(stats().unfit_connections() > before);
    }

    // In a window, a checkout hands them out.
    let pool = builder(2).build(read_write().verify(hour)).expect("a pool");
    drop([(); 2].map(|()| pool.get().expect("a connection, which is checked")));
    make_read_only(&pool);
    let verified = pool.get().expect("a connection").hot_transaction(|conn| add(conn, 20));
    let error = verified.expect_err("the control").to_string();
    assert!(error.contains("target_session_attrs"), "{error}");
    let stock = builder(2).build(ConnectionManager::<PgConnection>::new(setting.url())).expect("a pool");
    make_read_only(&stock);
    let plain = stock.get().expect("a connection").transaction(|conn| add(conn, 21));
    assert!(is_read_only(plain), "the control");
    assert_eq!(setting.count(), 4, "what was acknowledged");
}

#[test]
fn on_a_server_that_never_took_writes_errors_are_the_applications() {
    let _alone = alone();
    let setting = Setting::start("never_writable");
    setting.administer(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", setting.database));
    let pool = setting.pool(2);
    let before = stats();
    for _ in 0..4 {
        let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
        assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");
    }
    assert_eq!(stats().reruns_after_cuts(), before.reruns_after_cuts());
    assert_eq!(pool.state().connections, 2);
}

#[test]
fn a_transaction_that_asks_for_writes_leaves_only_a_server_that_is_in_recovery() {
    let _alone = alone();
    let setting = Setting::start("read_write");
    let pool = setting.pool(1);
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    setting.administer(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", setting.database));
    setting.cutter.cut(Side::Both);
    let write = |numbers: &[i32]| -> Result<(), HotTransactionError> {
        pool.hot_transaction_with(
            |builder| builder.read_write(),
            |conn| numbers.iter().try_for_each(|number| add(conn, *number).map(drop)),
        )
    };
    write(&[2]).expect("it is only read-only by default");
    // The key is taken, which COMMIT finds.
    assert!(matches!(write(&[2]), Err(HotTransactionError::Application(_))));
    let result: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(|builder| builder.read_write(), |conn| sql_query("SELECT 1 / 0").execute(conn));
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");

    // `BEGIN` fails on a standby, which is no fault of the application.
    let mut primary = server();
    primary.stop().expect("a stop");
    let standby = Cluster::standby_of(&primary).expect("a standby");
    primary.restart().expect("a primary");
    let cutter = Cutter::start(primary.address()).expect("a cutter");
    let pool =
        builder(1).build(HotUpgradeManager::new(primary.url_at(cutter.address(), "postgres"))).expect("a pool");
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    cutter.retarget(standby.address());
    cutter.cut(Side::Both);
    let options = |builder: HotPoolTransactionBuilder| builder.read_write().within(Duration::from_secs(1));
    let result: Result<usize, HotTransactionError> = pool.hot_transaction_with(options, |conn| add(conn, 2));
    assert!(
        matches!(result, Err(HotTransactionError::NotCommitted { cause: CutCause::ReadOnly(_), .. })),
        "{result:?}"
    );
    cutter.retarget(primary.address());
    let options = |builder: HotPoolTransactionBuilder| builder.read_write();
    let result: Result<usize, HotTransactionError> = pool.hot_transaction_with(options, |conn| add(conn, 3));
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_read_only_transaction_asks_for_no_writes() {
    let _alone = alone();
    let setting = Setting::start("read_only");
    let pool = setting.pool(1);
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    let result: Result<usize, HotTransactionError> =
        pool.hot_transaction_with(|builder| builder.read_only(), |conn| add(conn, 2));
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");
    let (result, _) = runs_of(&pool, |conn, _| {
        conn.batch_execute("SET TRANSACTION READ ONLY")?;
        add(conn, 3)
    });
    assert!(
        matches!(result, Err(HotTransactionError::Application(_))),
        "a transaction of the closure's: {result:?}"
    );
}
