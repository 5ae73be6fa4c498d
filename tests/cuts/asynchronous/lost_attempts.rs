//! A rerun of an async pool's transaction is not hindered by its own lost attempt. As `lost_attempts.rs` has it for the
//! blocking pool.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{CutCause, HotPoolTransactionBuilder, HotTransactionError};
use testbed::{Cluster, Cutter, Side};

use super::pools::AsyncPool;
use super::setting::{Conn, Runs, blocking, run};
use crate::support::server::wait_until;

/// The lost attempt would go on for this long.
const BUSY: &str = "SELECT pg_sleep(60) /* lost async */";

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
async fn take(conn: &mut Conn, takes: Takes) -> QueryResult<usize> {
    if takes == Takes::LockTimeout {
        conn.batch_execute("SET LOCAL lock_timeout = '50ms'").await?;
    }
    let sql = match takes {
        Takes::Update | Takes::LockTimeout => "UPDATE accounts SET balance = balance + 1 WHERE id = 1",
        Takes::NoWait => "SELECT 1 FROM accounts WHERE id = 1 FOR UPDATE NOWAIT",
        Takes::SkipLocked => "SELECT 1 FROM accounts WHERE id = 1 FOR UPDATE SKIP LOCKED",
    };
    RunQueryDsl::execute(diesel::sql_query(sql), conn).await
}

struct Setting {
    server: &'static Cluster,
    database: String,
    cutter: Cutter,
    pool: bb8::Pool<Conn>,
}

impl Setting {
    async fn start(name: &str, major: u32, role: &str) -> Self {
        let server = Cluster::shared(major);
        let database = format!("{name}_{major}_{}", std::process::id());
        blocking(|| {
            server.create_database(&database).expect("a database");
            let table = "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
                 INSERT INTO accounts VALUES (1, 0); GRANT ALL ON accounts TO PUBLIC";
            server.client(&database).expect("a server").batch_execute(table).expect("a table");
        });
        let cutter = Cutter::start(server.address()).expect("a cutter");
        let url = server.url_at(cutter.address(), &database).replace("postgres@", &format!("{role}@"));
        Setting { server, database, cutter, pool: bb8::Pool::start(&url, 2).await }
    }

    fn are_busy(&self) -> bool {
        let mut client = self.server.client(&self.database).expect("a server");
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND wait_event = 'PgSleep' AND query LIKE '%/* lost async */'";
        client.query_one(sql, &[]).expect("a count").get::<_, i64>(0) > 0
    }

    /// Runs a transaction whose first attempt is lost while a statement of it runs.
    async fn run(
        &self,
        options: impl FnOnce(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder,
        takes: Takes,
        side: Side,
    ) -> (Result<usize, HotTransactionError>, usize) {
        self.cutter.reset();
        let runs = Runs::default();
        let transaction = self.pool.hot_transaction_with(options, async |conn| {
            let run = runs.next();
            let rows = take(conn, takes).await?;
            if run == 1 {
                RunQueryDsl::execute(diesel::sql_query(BUSY), conn).await?;
            }
            Ok(rows)
        });
        let cut = async {
            while !blocking(|| self.are_busy()) {
                tokio::task::yield_now().await;
            }
            self.cutter.cut(side);
        };
        let (result, ()) = futures_util::future::join(transaction, cut).await;
        (result, runs.count())
    }
}

async fn a_rerun_is_not_hindered(major: u32) {
    let setting = Setting::start("lost_async", major, "postgres").await;
    for side in [Side::Both, Side::Client] {
        for takes in ALL {
            let began = Instant::now();
            let within = |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(20));
            let (result, runs) = setting.run(within, takes, side).await;
            let took = began.elapsed();
            let context = format!("{takes:?} after a cut of {side:?}: {result:?} in {took:?}");
            assert!(matches!(result, Ok(1)) && runs == 2, "{context}");
            assert!(took < Duration::from_secs(10), "{context}");
        }
    }
    let balance: i32 = blocking(|| {
        let mut client = setting.server.client(&setting.database).expect("a server");
        client.query_one("SELECT balance FROM accounts", &[]).expect("a balance").get(0)
    });
    assert_eq!(balance, 4, "of eight transactions, four added one, once each");
}

#[test]
fn a_rerun_is_not_hindered_by_its_lost_attempt_on_10() {
    run(a_rerun_is_not_hindered(10));
}

#[test]
fn a_rerun_is_not_hindered_by_its_lost_attempt_on_18() {
    run(a_rerun_is_not_hindered(18));
}

#[test]
fn a_lock_before_the_probe_is_not_hindered_either() {
    run(async {
        let setting = Setting::start("lost_async_probe", 12, "postgres").await;
        let options = |builder: HotPoolTransactionBuilder| {
            builder.repeatable_read().before_probe("LOCK TABLE accounts IN EXCLUSIVE MODE NOWAIT -- a comment")
        };
        let (result, runs) = setting.run(options, Takes::Update, Side::Both).await;
        assert!(matches!(result, Ok(1)) && runs == 2, "{result:?} after {runs} runs");
    });
}

#[test]
fn a_role_that_was_set_is_not_hindered_either() {
    run(async {
        let [login, role] =
            ["lost_async_login", "lost_async_role"].map(|name| format!("{name}_{}", std::process::id()));
        blocking(|| {
            let mut client = Cluster::shared(12).client("postgres").expect("a server");
            let roles = format!("CREATE ROLE {role}; CREATE ROLE {login} LOGIN IN ROLE {role}");
            client.batch_execute(&roles).expect("two roles");
        });
        let mut setting = Setting::start("lost_async_role", 12, &login).await;
        let url = setting.server.url_at(setting.cutter.address(), &setting.database);
        let mut config = ManagerConfig::<Conn>::default();
        let set_role = format!("SET ROLE {role}");
        config.custom_setup = Box::new(move |url| {
            let (url, set_role) = (url.to_owned(), set_role.clone());
            Box::pin(async move {
                let mut conn = Conn::establish(&url).await?;
                conn.batch_execute(&set_role).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(conn)
            })
        });
        let url = url.replace("postgres@", &format!("{login}@"));
        let manager = AsyncDieselConnectionManager::new_with_config(url, config);
        setting.pool = bb8::Pool::builder().max_size(2).build(manager).await.expect("a pool");
        let began = Instant::now();
        let within = |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(20));
        let (result, runs) = setting.run(within, Takes::Update, Side::Both).await;
        assert!(matches!(result, Ok(1)) && runs == 2, "{result:?} after {runs} runs");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let mut conn = setting.pool.check_out().await;
        let current = diesel::select(diesel::dsl::sql::<Text>("current_user::text"));
        assert_eq!(RunQueryDsl::get_result(current, &mut *conn).await, Ok(role), "it is still the role");

        // The control: the role by itself may not.
        let mut held = setting.pool.check_out().await;
        let pid = diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()"));
        let pid: i32 = RunQueryDsl::get_result(pid, &mut *held).await.expect("a pid");
        let cancel = diesel::sql_query(format!("SELECT pg_cancel_backend({pid})"));
        assert!(RunQueryDsl::execute(cancel, &mut *conn).await.is_err());
    });
}

#[test]
fn without_that_a_rerun_fails_or_reads_past_the_lock() {
    run(async {
        let setting = Setting::start("lost_async_control", 12, "postgres").await;
        let mut conn = setting.pool.check_out().await;
        let lost = conn.hot_transaction(async |conn| {
            take(conn, Takes::Update).await?;
            RunQueryDsl::execute(diesel::sql_query(BUSY), conn).await
        });
        let cut = async {
            while !blocking(|| setting.are_busy()) {
                tokio::task::yield_now().await;
            }
            setting.cutter.cut(Side::Both);
        };
        let (lost, ()): (QueryResult<usize>, ()) = futures_util::future::join(lost, cut).await;
        lost.expect_err("the connection was cut");
        let mut again = Vec::new();
        for takes in [Takes::NoWait, Takes::LockTimeout, Takes::SkipLocked] {
            let mut conn = setting.pool.check_out().await;
            again.push(conn.hot_transaction(async |conn| take(conn, takes).await).await);
        }
        assert!(matches!(again[..], [Err(_), Err(_), Ok(0)]), "{again:?}");
        assert!(blocking(|| setting.are_busy()), "the session is still there");
    });
}

#[test]
fn a_lost_attempt_that_cannot_be_ended_is_waited_for_until_the_deadline() {
    run(async {
        let role = format!("lost_async_{}", std::process::id());
        blocking(|| {
            let mut client = Cluster::shared(12).client("postgres").expect("a server");
            client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).expect("a role");
        });
        let setting = Setting::start("lost_async_forbidden", 12, &role).await;
        blocking(|| {
            let mut client = setting.server.client(&setting.database).expect("a server");
            let revoke =
                "REVOKE EXECUTE ON FUNCTION pg_cancel_backend(int), pg_terminate_backend(int) FROM PUBLIC";
            client.batch_execute(revoke).expect("no permission");
        });
        let within = |builder: HotPoolTransactionBuilder| builder.within(Duration::from_millis(1_500));
        let (result, runs) = setting.run(within, Takes::Update, Side::Both).await;
        let is_still_running =
            matches!(result, Err(HotTransactionError::NotCommitted { cause: CutCause::StillRunning, .. }));
        assert!(is_still_running && runs == 1, "{result:?} after {runs} runs");
        blocking(|| wait_until("the session is still there", || setting.are_busy()));
    });
}
