//! The session of a lost attempt goes on, with its locks, until the server notices that the client is gone. A rerun neither
//! waits for it, nor fails because of it, nor reads past its locks.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, Error, Pool};
use diesel::sql_query;
use diesel::sql_types::{Integer, Text};
use diesel_postgres_hot_upgrade::{
    CutCause, HotPoolTransactionBuilder, HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool,
};
use fixture::builder;
use testbed::{Cluster, Cutter, Side};

use crate::support::server::wait_until;

/// The lost attempt would go on for this long.
const BUSY: &str = "SELECT pg_sleep(60) /* lost */";

/// How the closure takes the row that the lost attempt has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Update,
    NoWait,
    LockTimeout,
    SkipLocked,
}

const ALL: [Takes; 4] = [Takes::Update, Takes::NoWait, Takes::LockTimeout, Takes::SkipLocked];

/// How many rows it got.
fn take(conn: &mut PgConnection, takes: Takes) -> QueryResult<usize> {
    match takes {
        Takes::Update => sql_query("UPDATE accounts SET balance = balance + 1 WHERE id = 1").execute(conn),
        Takes::NoWait => sql_query("SELECT 1 FROM accounts WHERE id = 1 FOR UPDATE NOWAIT").execute(conn),
        Takes::LockTimeout => {
            conn.batch_execute("SET LOCAL lock_timeout = '50ms'")?;
            take(conn, Takes::Update)
        }
        Takes::SkipLocked => sql_query("SELECT 1 FROM accounts WHERE id = 1 FOR UPDATE SKIP LOCKED").execute(conn),
    }
}

struct Setting {
    server: &'static Cluster,
    database: String,
    cutter: Cutter,
    pool: Pool<HotUpgradeManager>,
}

impl Setting {
    fn start(name: &str, major: u32, role: &str) -> Self {
        let server = Cluster::shared(major);
        let database = format!("{name}_{major}_{}", std::process::id());
        server.create_database(&database).expect("a database");
        let mut client = server.client(&database).expect("a server");
        client
            .batch_execute(
                "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
                 INSERT INTO accounts VALUES (1, 0); GRANT ALL ON accounts TO PUBLIC",
            )
            .expect("a table");
        let cutter = Cutter::start(server.address()).expect("a cutter");
        let url = server.url_at(cutter.address(), &database).replace("postgres@", &format!("{role}@"));
        let pool = builder(2).build(HotUpgradeManager::new(url)).expect("a pool");
        Setting { server, database, cutter, pool }
    }

    fn busy_sessions(&self, condition: &str) -> i64 {
        let mut client = self.server.client(&self.database).expect("a server");
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND pid <> pg_backend_pid() AND {condition}"
        );
        client.query_one(&sql, &[]).expect("a count").get(0)
    }

    /// Cuts the first run of a closure while it is busy.
    fn cut_while(&self, condition: &str, side: Side) {
        wait_until("the attempt is busy", || self.busy_sessions(condition) > 0);
        self.cutter.cut(side);
    }
}

/// Asleep: while it is only prepared, the server would notice the cut.
const RUNS_STATEMENT: &str = "wait_event = 'PgSleep' AND query LIKE '%/* lost */'";
const IS_IDLE: &str = "state = 'idle in transaction' AND query LIKE '%/* idle */'";

/// The first attempt takes the row, and is lost while a statement runs, or while it is idle and the server can't notice.
fn run(
    setting: &Setting,
    takes: Takes,
    condition: &str,
    side: Side,
) -> (Result<usize, HotTransactionError>, usize) {
    let is_idle = condition == IS_IDLE;
    thread::scope(|scope| {
        setting.cutter.reset();
        scope.spawn(|| setting.cut_while(condition, side));
        let mut runs = 0;
        let within = |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(20));
        let result = setting.pool.hot_transaction_with(within, |conn| {
            runs += 1;
            let rows = take(conn, takes)?;
            if runs == 1 && is_idle {
                sql_query("SELECT 1 /* idle */").execute(conn)?;
                wait_until("the cut", || setting.cutter.has_cut());
            } else if runs == 1 {
                sql_query(BUSY).execute(conn)?;
            }
            Ok(rows)
        });
        (result, runs)
    })
}

fn a_rerun_is_not_hindered(major: u32) {
    let setting = Setting::start("lost", major, "postgres");
    for (condition, side) in
        [(RUNS_STATEMENT, Side::Both), (RUNS_STATEMENT, Side::Client), (IS_IDLE, Side::Client)]
    {
        for takes in ALL {
            let began = Instant::now();
            let (result, runs) = run(&setting, takes, condition, side);
            let took = began.elapsed();
            let context = format!("{takes:?} after a cut of {side:?} where {condition}: {result:?} in {took:?}");
            assert!(matches!(result, Ok(1)), "{context}");
            assert_eq!(runs, 2, "{context}");
            assert!(took < Duration::from_secs(10), "{context}");
        }
    }
    let mut client = setting.server.client(&setting.database).expect("a server");
    let balance: i32 = client.query_one("SELECT balance FROM accounts", &[]).expect("a balance").get(0);
    assert_eq!(balance, 6, "of twelve transactions, six added one, once each");
}

#[test]
fn a_rerun_is_not_hindered_by_its_lost_attempt_on_10() {
    a_rerun_is_not_hindered(10);
}

#[test]
fn a_rerun_is_not_hindered_by_its_lost_attempt_on_18() {
    a_rerun_is_not_hindered(18);
}

#[test]
fn a_lock_before_the_probe_is_not_hindered_either() {
    let setting = Setting::start("lost_probe", 12, "postgres");
    thread::scope(|scope| {
        scope.spawn(|| setting.cut_while(RUNS_STATEMENT, Side::Both));
        let mut runs = 0;
        let options = |builder: HotPoolTransactionBuilder| {
            builder.repeatable_read().before_probe("LOCK TABLE accounts IN EXCLUSIVE MODE NOWAIT -- a comment")
        };
        let result: Result<(), HotTransactionError> = setting.pool.hot_transaction_with(options, |conn| {
            runs += 1;
            if runs == 1 { sql_query(BUSY).execute(conn).map(drop) } else { Ok(()) }
        });
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(runs, 2);
    });
}

/// What a customizer does that gives its connections another role than the one that logs in.
#[derive(Debug)]
struct SetRole(String);

impl CustomizeConnection<PgConnection, Error> for SetRole {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.batch_execute(&format!("SET ROLE {}", self.0)).map_err(Error::QueryError)
    }
}

#[test]
fn a_role_that_was_set_is_not_hindered_either() {
    let [login, role] = ["lost_login", "lost_role"].map(|name| format!("{name}_{}", std::process::id()));
    let mut client = Cluster::shared(12).client("postgres").expect("a server");
    client
        .batch_execute(&format!("CREATE ROLE {role}; CREATE ROLE {login} LOGIN IN ROLE {role}"))
        .expect("two roles");
    let mut setting = Setting::start("lost_role", 12, &login);
    let manager = HotUpgradeManager::new(
        setting
            .server
            .url_at(setting.cutter.address(), &setting.database)
            .replace("postgres@", &format!("{login}@")),
    );
    setting.pool =
        builder(2).connection_customizer(Box::new(SetRole(role.clone()))).build(manager).expect("a pool");
    let began = Instant::now();
    let (result, runs) = run(&setting, Takes::Update, RUNS_STATEMENT, Side::Both);
    assert!(matches!(result, Ok(1)) && runs == 2, "{result:?} after {runs} runs");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut conn = setting.pool.get().expect("a connection");
    let current = diesel::dsl::sql::<Text>("current_user::text");
    assert_eq!(diesel::select(current).get_result(&mut conn), Ok(role), "it is still the role");

    // The control: the role by itself may not.
    let mut held = setting.pool.get().expect("another connection");
    let pid: i32 =
        diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()")).get_result(&mut held).expect("a pid");
    assert!(sql_query(format!("SELECT pg_cancel_backend({pid})")).execute(&mut conn).is_err());
}

#[test]
fn without_that_a_rerun_fails_or_reads_past_the_lock() {
    let setting = Setting::start("lost_control", 12, "postgres");
    thread::scope(|scope| {
        scope.spawn(|| setting.cut_while(RUNS_STATEMENT, Side::Both));
        let mut conn = setting.pool.get().expect("a connection");
        let lost = conn.hot_transaction(|conn| {
            take(conn, Takes::Update)?;
            sql_query(BUSY).execute(conn)
        });
        lost.expect_err("the connection was cut");
    });
    let again = |takes| setting.pool.get().expect("a connection").hot_transaction(|conn| take(conn, takes));
    assert!(again(Takes::NoWait).is_err());
    assert!(again(Takes::LockTimeout).is_err());
    assert_eq!(again(Takes::SkipLocked), Ok(0), "silently nothing");
    assert_eq!(setting.busy_sessions(RUNS_STATEMENT), 1, "the session is still there");
}

#[test]
fn a_lost_attempt_that_cannot_be_ended_is_waited_for_until_the_deadline() {
    let role = format!("lost_{}", std::process::id());
    let server = Cluster::shared(12);
    let mut client = server.client("postgres").expect("a server");
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).expect("a role");
    let setting = Setting::start("lost_forbidden", 12, &role);
    let mut client = server.client(&setting.database).expect("a server");
    client
        .batch_execute("REVOKE EXECUTE ON FUNCTION pg_cancel_backend(int), pg_terminate_backend(int) FROM PUBLIC")
        .expect("no permission");
    let within = Duration::from_millis(1_500);
    thread::scope(|scope| {
        let cut = scope.spawn(|| {
            setting.cut_while(RUNS_STATEMENT, Side::Both);
            Instant::now()
        });
        let mut runs = 0;
        let began = Instant::now();
        let result: Result<(), HotTransactionError> = setting.pool.hot_transaction_with(
            |builder| builder.within(within),
            |conn| {
                runs += 1;
                take(conn, Takes::Update)?;
                sql_query(BUSY).execute(conn).map(drop)
            },
        );
        let ended = Instant::now();
        let last =
            if let Err(HotTransactionError::NotCommitted { cause, .. }) = &result { Some(cause) } else { None };
        assert!(matches!(last, Some(CutCause::StillRunning)), "{result:?}");
        assert_eq!(runs, 1, "the closure has not run again");
        let late = ended.duration_since(cut.join().expect("a cut").max(began + within));
        assert!(late < Duration::from_secs(1), "{late:?} after the deadline");
    });
}

#[test]
fn on_a_standby_the_locks_can_be_taken_too() {
    let mut primary = Cluster::start(12).expect("a primary");
    primary.stop().expect("a stop");
    let standby = Cluster::standby_of(&primary).expect("a standby");
    let pool = builder(1).build(HotUpgradeManager::new(standby.url("postgres"))).expect("a pool");
    let mut runs = 0;
    let result: Result<i32, HotTransactionError> = pool.hot_transaction(|conn| {
        runs += 1;
        if runs == 1 {
            let _ = sql_query("SELECT pg_terminate_backend(pg_backend_pid())").execute(conn);
        }
        diesel::select(diesel::dsl::sql::<Integer>("1")).get_result(conn)
    });
    assert!(matches!(result, Ok(1)) && runs == 2, "{result:?} after {runs} runs");
}
