//! What a pool's transaction reports: the application's errors, a deadline that has passed, an unknown outcome. What is
//! counted and logged belongs to the process, so one test at a time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_query;
use diesel_postgres_hot_upgrade::{
    CutCause, HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool, stats,
};
use fixture::builder;
use log::Level;
use testbed::{Cluster, Cutter, Place, Side, Way};

use crate::support::events::{logged, record_log};
use crate::support::own_process::in_a_process_of_its_own;
use crate::support::server::wait_until;

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    record_log();
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table `items` in a database of the test's own, whose key is unique at COMMIT.
struct Setting {
    server: &'static Cluster,
    database: String,
    cutter: Cutter,
}

impl Setting {
    fn start(name: &str) -> Self {
        let server = Cluster::shared(12);
        let database = format!("{name}_{}", std::process::id());
        server.create_database(&database).expect("a database");
        let cutter = Cutter::start(server.address()).expect("a cutter");
        let setting = Setting { server, database, cutter };
        setting.administer("CREATE TABLE items (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
        setting
    }

    fn administer(&self, sql: &str) {
        self.server.client(&self.database).expect("a server").batch_execute(sql).expect("SQL");
    }

    fn count(&self) -> i64 {
        let mut client = self.server.client(&self.database).expect("a server");
        client.query_one("SELECT count(*) FROM items", &[]).expect("a count").get(0)
    }

    fn url(&self) -> String {
        self.server.url_at(self.cutter.address(), &self.database)
    }

    fn pool(&self, size: u32) -> Pool<HotUpgradeManager> {
        builder(size).build(HotUpgradeManager::new(self.url())).expect("a pool")
    }
}

fn add(conn: &mut PgConnection, id: i32) -> QueryResult<usize> {
    sql_query(format!("INSERT INTO items VALUES ({id})")).execute(conn)
}

/// An error type that says nothing of the connection.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    ByRule,
    ByDatabase,
}

impl From<Error> for Refused {
    fn from(_: Error) -> Self {
        Refused::ByDatabase
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

fn runs_of<T, E: From<Error>, M: ManageConnection<Connection = PgConnection>>(
    pool: &Pool<M>,
    mut closure: impl FnMut(&mut PgConnection, usize) -> Result<T, E>,
) -> (Result<T, HotTransactionError<E>>, usize) {
    let mut runs = 0;
    let result = pool.hot_transaction(|conn| {
        runs += 1;
        closure(conn, runs)
    });
    (result, runs)
}

#[test]
fn an_error_of_the_application_is_not_run_again() {
    let _alone = alone();
    let setting = Setting::start("application");
    let pool = setting.pool(2);
    let before = stats();

    let (result, runs) = runs_of(&pool, |conn, _| {
        add(conn, 1)?;
        Err::<(), _>(Refused::ByRule)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(Refused::ByRule))), "{result:?}");
    assert_eq!(runs, 1);

    let (result, _) = runs_of(&pool, |conn, _| sql_query("SELECT nowhere").execute(conn));
    let Err(HotTransactionError::Application(Error::DatabaseError(_, information))) = result else {
        panic!("{result:?}");
    };
    assert!(information.message().contains("nowhere"));

    let (result, runs) = runs_of(&pool, |conn, _| add(conn, 1).and_then(|_| add(conn, 1)));
    let is_violation = |result: &Result<usize, HotTransactionError>| {
        matches!(
            result,
            Err(HotTransactionError::Application(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
        )
    };
    assert!(is_violation(&result), "a deferred constraint, at COMMIT: {result:?}");
    assert_eq!(runs, 1);
    let options = |sql: &'static str| pool.hot_transaction_with(|builder| builder.before_probe(sql), |_| Ok(()));
    let result: Result<(), HotTransactionError> = options("SELECT nowhere");
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");

    assert_eq!(setting.count(), 0);
    let after = stats();
    assert_eq!(after.reruns_after_cuts(), before.reruns_after_cuts());
    assert_eq!(pool.state().connections, 2, "none was dropped");
}

#[test]
fn whether_a_connection_was_lost_is_not_read_from_the_closures_error() {
    let _alone = alone();
    let setting = Setting::start("lost");
    let pool = setting.pool(2);
    let before = stats();

    let (result, runs) = runs_of(&pool, |conn, runs| {
        add(conn, 1).map_err(|_| Refused::ByRule)?;
        if runs == 1 {
            setting.cutter.cut(Side::Both);
        }
        // It hides what has happened.
        add(conn, 2).map_err(|_| Refused::ByRule)
    });
    assert!(result.is_ok() && runs == 2, "{result:?}");
    let (result, runs) = runs_of(&pool, |conn, runs| {
        add(conn, 3)?;
        if runs == 1 {
            setting.cutter.cut(Side::Both);
            // It returns Ok on a dead connection.
            let _ = add(conn, 4);
            return Ok(());
        }
        QueryResult::Ok(())
    });
    assert!(result.is_ok() && runs == 2, "{result:?}");
    let (result, runs) = runs_of(&pool, |conn, runs| {
        add(conn, 5)?;
        if runs == 1 {
            // Nothing is sent on it any more, but for COMMIT.
            setting.cutter.cut(Side::Both);
        }
        QueryResult::Ok(())
    });
    assert!(result.is_ok() && runs == 2, "{result:?}");
    assert_eq!(setting.count(), 4, "1, 2, 3 and 5, once each");
    let after = stats();
    assert!(after.lost_connections() >= before.lost_connections() + 3);
    assert!(after.reruns_after_cuts() >= before.reruns_after_cuts() + 3);
    assert_eq!(after.unknown_outcomes(), before.unknown_outcomes());

    let mut conn = setting.pool(1).get().expect("a connection");
    let control = conn.hot_transaction(|conn| {
        add(conn, 6)?;
        setting.cutter.cut(Side::Both);
        QueryResult::Ok(())
    });
    assert!(control.is_err(), "a transaction of a connection");
}

#[test]
fn an_application_that_has_decided_to_fail_fails_on_a_dead_connection_too() {
    let _alone = alone();
    let setting = Setting::start("decided");
    let (result, runs) = runs_of(&setting.pool(1), |conn, _| {
        add(conn, 1)?;
        setting.cutter.cut(Side::Both);
        Err::<(), _>(Refused::ByRule)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(Refused::ByRule))), "{result:?}");
    assert_eq!((runs, setting.count()), (1, 0));
}

#[test]
fn an_exhausted_pool_is_waited_for_until_the_deadline() {
    let _alone = alone();
    let setting = Setting::start("exhausted");
    let pool = setting.pool(1);
    let _held = pool.get().expect("the only connection");
    let within = Duration::from_millis(300);
    let began = Instant::now();
    let result: Result<(), HotTransactionError> =
        pool.hot_transaction_with(|builder| builder.within(within), |_| Ok(()));
    let took = began.elapsed();
    let Err(error @ HotTransactionError::NotCommitted { cause: CutCause::NoConnection(_), tries: 0, .. }) = result
    else {
        panic!("{result:?}");
    };
    assert!(error.to_string().contains("can be run again"), "{error}");
    assert!(took >= within && took < within + Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_server_that_is_down_is_waited_for_without_spinning() {
    let _alone = alone();
    let mut server = Cluster::start(12).expect("a server");
    let manager = HotUpgradeManager::new(server.url("postgres"));
    let pool = Pool::builder().max_size(2).build(manager).expect("a pool");
    let within = |seconds| {
        move |builder: diesel_postgres_hot_upgrade::HotPoolTransactionBuilder| {
            builder.within(Duration::from_secs(seconds))
        }
    };
    let before = stats();
    server.stop().expect("a stop");
    let result: Result<(), HotTransactionError> = pool.hot_transaction_with(within(2), |_| Ok(()));
    let Err(HotTransactionError::NotCommitted { tries, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(tries <= 3, "{tries} tries");
    let reruns = stats().reruns_after_cuts() - before.reruns_after_cuts();
    assert!(reruns < 10, "{reruns} reruns in two seconds");

    let waiting = std::thread::spawn(move || {
        let result: Result<(), HotTransactionError> = pool.hot_transaction_with(within(30), |_| Ok(()));
        result
    });
    server.restart().expect("it is back");
    let result = waiting.join().expect("no panic");
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_panic_rolls_back_and_costs_no_slot_of_the_pool() {
    let _alone = alone();
    let setting = Setting::start("panic");
    let pool = setting.pool(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
            add(conn, 1)?;
            panic!("in the closure")
        });
    }));
    assert!(panicked.is_err());
    let result: Result<_, HotTransactionError> = pool.hot_transaction(|conn| add(conn, 2));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(setting.count(), 1);
}

#[test]
fn an_unknown_outcome_is_reported_and_counted_and_not_run_again() {
    let _alone = alone();
    let setting = Setting::start("unknown");
    let pool = setting.pool(1);
    let before = stats();
    let (result, runs) = runs_of(&pool, |conn, _| {
        add(conn, 1)?;
        setting.cutter.order(Way::ToServer, Place::AfterMessage(0), Side::Client);
        QueryResult::Ok(())
    });
    let Err(error @ HotTransactionError::OutcomeUnknown { .. }) = result else {
        panic!("{result:?}");
    };
    assert!(error.to_string().contains("look for what it wrote"), "{error}");
    assert_eq!(runs, 1);
    let after = stats();
    assert_eq!(after.unknown_outcomes(), before.unknown_outcomes() + 1);
    assert_eq!(after.lost_connections(), before.lost_connections() + 1);
    assert_eq!(after.reruns_after_cuts(), before.reruns_after_cuts());
}

#[test]
fn an_outage_is_warned_of_once_and_each_rerun_is_noted() {
    in_a_process_of_its_own(module_path!(), "an_outage_is_warned_of_once_and_each_rerun_is_noted", || {
        let _alone = alone();
        let setting = Setting::start("warned");
        let pool = setting.pool(2);
        for number in 0..3 {
            let (result, _) = runs_of(&pool, |conn, runs| {
                if runs == 1 {
                    setting.cutter.cut(Side::Both);
                }
                add(conn, number)
            });
            assert!(result.is_ok(), "{result:?}");
        }
        assert_eq!(logged(Level::Warn, "lost under a transaction").len(), 1);
        let reruns = logged(Level::Debug, "runs again on another connection").len();
        assert!(reruns >= 3, "{reruns}");
        assert_eq!(stats().reruns_after_cuts(), reruns as u64);
    });
}

#[test]
fn a_verified_transaction_in_the_closure_is_a_savepoint() {
    let _alone = alone();
    let setting = Setting::start("nested");
    let pool = setting.pool(1);
    let result: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
        add(conn, 1)?;
        let inner = conn.hot_transaction(|conn| {
            add(conn, 2)?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        assert_eq!(inner, Err(Error::RollbackTransaction));
        conn.hot_transaction(|conn| add(conn, 3).map(drop))
    });
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(setting.count(), 2);
}

#[test]
fn options_are_those_of_diesel() {
    let _alone = alone();
    let setting = Setting::start("options");
    let pool = setting.pool(1);
    let shown = |conn: &mut PgConnection, name: &str| {
        let sql = format!("current_setting('{name}')");
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&sql)).get_result::<String>(conn)
    };
    let result: Result<_, HotTransactionError> = pool.hot_transaction_with(
        |builder| builder.serializable().read_only().deferrable().before_probe("SET LOCAL work_mem = '1MB'"),
        |conn| {
            ["transaction_isolation", "transaction_read_only", "transaction_deferrable", "work_mem"]
                .map(|name| shown(conn, name))
                .into_iter()
                .collect::<QueryResult<Vec<_>>>()
        },
    );
    assert_eq!(result.expect("a transaction"), ["serializable", "on", "on", "1MB"]);
    let result: Result<_, HotTransactionError> = pool.hot_transaction_with(
        |builder| {
            builder.repeatable_read().read_write().not_deferrable().before_probe("SET TRANSACTION READ ONLY")
        },
        |conn| Ok(shown(conn, "transaction_isolation")? + &shown(conn, "transaction_read_only")?),
    );
    assert_eq!(result.expect("a transaction"), "repeatable readon", "nothing is queried before it");
}

#[test]
fn a_role_that_may_not_lock_does_without() {
    let _alone = alone();
    let setting = Setting::start("may_not_lock");
    let role = format!("may_not_lock_{}", std::process::id());
    setting.administer(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON items TO {role};
         REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) FROM PUBLIC"
    ));
    in_a_process_of_its_own(module_path!(), "a_role_that_may_not_lock_does_without", || {
        let url = setting.url().replace("postgres@", &format!("{role}@"));
        let pool = builder(2).build(HotUpgradeManager::new(url)).expect("a pool");
        for number in [1, 2] {
            let (result, runs) = runs_of(&pool, |conn, runs| {
                if runs == 1 {
                    setting.cutter.cut(Side::Both);
                }
                add(conn, number)
            });
            assert!(result.is_ok() && runs == 2, "{result:?}");
        }
        assert_eq!(logged(Level::Warn, "may not take advisory locks").len(), 1);
    });
}

#[test]
fn a_server_that_takes_no_writes_any_more_is_left() {
    let _alone = alone();
    let start = || {
        let server = Cluster::start(12).expect("a server");
        let mut client = server.client("postgres").expect("a server");
        client.batch_execute("CREATE TABLE items (id int)").expect("a table");
        server
    };
    let [old, new] = [start(), start()];
    let make_read_only = |server: &Cluster| {
        let mut client = server.client("postgres").expect("a server");
        client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").expect("a setting");
        client.batch_execute("SELECT pg_reload_conf()").expect("a reload");
    };
    let cutter = Cutter::start(old.address()).expect("a cutter");
    let url = old.url_at(cutter.address(), "postgres");
    let pool = builder(4).build(HotUpgradeManager::new(url.as_str())).expect("a pool");
    let stock = builder(4).build(ConnectionManager::<PgConnection>::new(url.as_str())).expect("a pool");
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");

    make_read_only(&old);
    let is_read_only = |result: QueryResult<usize>| {
        matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)))
    };
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
    let options =
        |builder: diesel_postgres_hot_upgrade::HotPoolTransactionBuilder| builder.within(Duration::from_secs(1));
    let result: Result<usize, HotTransactionError> = pool.hot_transaction_with(options, |conn| add(conn, 4));
    let Err(HotTransactionError::NotCommitted { cause: CutCause::ReadOnly(error), .. }) = result else {
        panic!("{result:?}");
    };
    assert!(is_read_only(Err(error)));
    cutter.retarget(new.address());
    let (result, runs) = waiting.join().expect("no panic");
    assert!(result.is_ok() && runs > 1, "{result:?} after {runs} runs");
    let control = pool.get().map(|mut conn| conn.hot_transaction(|conn| add(conn, 5)));
    drop(control);
    assert!(is_read_only(stock.get().expect("a connection").transaction(|conn| add(conn, 6))), "the control");
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

#[test]
fn the_environment_makes_it_stock() {
    const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";
    if std::env::var_os(VARIABLE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().expect("this test's program"))
            .args(["--exact", "errors::the_environment_makes_it_stock"])
            .env(VARIABLE, "off")
            .output()
            .expect("another run");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && report.contains("1 passed"), "{report}");
        return;
    }
    let _alone = alone();
    let setting = Setting::start("off");
    let pool = setting.pool(1);
    let (result, _) = runs_of(&pool, |conn, _| add(conn, 1));
    assert!(result.is_ok(), "{result:?}");
    let (result, runs) = runs_of(&pool, |conn, _| {
        setting.cutter.cut(Side::Both);
        add(conn, 2)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(_))) && runs == 1, "{result:?}");
    assert_eq!(stats().lost_connections(), 0);
}
