//! An application that makes the crate send every kind of statement that it has.

use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::CacheSize;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_query;
use diesel::sql_types::{Array, Citext, Nullable};
use diesel_postgres_hot_upgrade::{TargetSessionAttrs, Verify, track};
use fixture::{RECREATE_ENUM, Status, Upgrade, sql_types};
use testbed::{Cluster, PgBouncerConfig};

use super::server_log::APPLICATION;
use crate::support::drivers::{Begin, Driver, Options, Pool, Session};
use crate::support::events::record_log;

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The servers that a test may read the log of: four of them, in two pairs.
pub(crate) fn servers(majors: [u32; 2]) -> [&'static Cluster; 2] {
    use std::sync::LazyLock;
    type Pair = LazyLock<[Cluster; 2]>;
    fn start(majors: [u32; 2]) -> [Cluster; 2] {
        majors.map(|major| Cluster::start(major).unwrap_or_else(|error| panic!("{error}")))
    }
    static OLDER: Pair = LazyLock::new(|| start(PAIRS[0]));
    static NEWER: Pair = LazyLock::new(|| start(PAIRS[1]));
    if majors == PAIRS[0] { OLDER.each_ref() } else { NEWER.each_ref() }
}

pub(crate) const PAIRS: [[u32; 2]; 2] = [[10, 12], [14, 18]];

/// With a schema that is there only where somebody made something hostile.
const OTHER_PATH: &str = "evil, pg_catalog, public, information_schema";

/// A database on two servers, and the name of a role without privileges that the pooler knows.
pub(crate) struct Setting {
    pub(crate) upgrade: Upgrade,
    pub(crate) clerk: String,
}

impl Setting {
    pub(crate) fn start(majors: [u32; 2]) -> Setting {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // What is warned of once in a process is counted by other tests.
        record_log();
        let clerk = format!("clerk_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let config = PgBouncerConfig { users: vec![clerk.clone()], ..PgBouncerConfig::default() };
        let [old, new] = servers(majors);
        let upgrade = Upgrade::between(old, new, config).expect("two servers and a pooler");
        for server in [old, new] {
            upgrade.run_on(server, &format!("CREATE ROLE {clerk} LOGIN")).expect("a role");
        }
        Setting { upgrade, clerk }
    }

    /// Runs every path.
    pub(crate) fn run(&self, driver: Driver) -> Result<(), AnyError> {
        self.pools(driver)?;
        self.held_connection(driver)?;
        self.cut_connections(driver)?;
        self.only_servers_that_fit(driver)?;
        self.without_pooler(driver)?;
        self.without_permissions(driver)
    }

    fn both(&self) -> [&'static Cluster; 2] {
        [self.upgrade.old, self.upgrade.new]
    }

    /// As the application's administrator would: it is no business of the crate.
    fn administer(&self, server: &Cluster, sql: &str) -> Result<(), AnyError> {
        self.upgrade.run_on(server, &format!("{APPLICATION} SET search_path = pg_catalog, public; {sql}"))
    }

    /// New connections, checkouts, changes of the server and of its types, and new types.
    fn pools(&self, driver: Driver) -> Result<(), AnyError> {
        let upgrade = &self.upgrade;
        let url = upgrade.url();
        let verify = Verify::AtMostEvery(std::time::Duration::from_secs(60));
        let pools = [
            driver.pool(&url, 2, Options::HOT),
            driver.pool(&url, 2, Options { cache: CacheSize::Disabled, ..Options::HOT }),
            driver.pool(&url, 1, Options { verify, ..Options::HOT }),
        ];
        use_all(&pools)?;
        let [old, new] = self.both();
        for (round, server) in [old, new, old, new, old].into_iter().enumerate() {
            upgrade.switch_to(server)?;
            // The window has to be over for a pool that does not ask.
            use_all(&pools[..2])?;
            let mut reader = server.client(&upgrade.database)?;
            reader.batch_execute(&format!("{APPLICATION} BEGIN; LOCK TABLE documents IN ACCESS SHARE MODE"))?;
            self.administer(
                server,
                &format!("CREATE TABLE public.table_{round} (); CREATE TYPE public.type_{round} AS (a int)"),
            )?;
            for _ in 0..3 {
                use_all(&pools[..2])?;
            }
            reader.batch_execute(&format!("{APPLICATION} COMMIT"))?;
            use_all(&pools[..2])?;
            self.administer(server, RECREATE_ENUM)?;
            use_all(&pools[..2])?;
        }
        Ok(())
    }

    /// Transactions of a pool whose connection is lost, with and without a session that stays; one that fails; and one of
    /// a role that may not lock.
    fn cut_connections(&self, driver: Driver) -> Result<(), AnyError> {
        let upgrade = &self.upgrade;
        for server in self.both() {
            let pool = driver.pool(&server.url(&upgrade.database), 2, Options::HOT);
            let before = format!("{APPLICATION} SET LOCAL lock_timeout = '9s'");
            let after_it = Begin { is_serializable: true, before_probe: Some(&before), ..Begin::default() };
            for how in [Begin::default(), after_it] {
                let mut runs = 0;
                pool.hot_transaction(&how, |conn| {
                    runs += 1;
                    if runs == 1 {
                        let end = format!("{APPLICATION} SELECT pg_terminate_backend(pg_backend_pid())");
                        conn.execute(sql_query(end))?;
                    }
                    answer(conn)
                })?;
            }
            let nowhere =
                |conn: &mut Session<'_>| conn.execute(sql_query(format!("{APPLICATION} SELECT nowhere")));
            pool.hot_transaction(&Begin::default(), nowhere).expect_err("no such column");

            self.administer(
                server,
                "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(bigint) FROM PUBLIC",
            )?;
            let url = server.url(&upgrade.database).replace("postgres@", &format!("{}@", self.clerk));
            driver.pool(&url, 1, Options::HOT).hot_transaction(&Begin::default(), answer)?;
        }
        self.refused_locks(driver)
    }

    /// What is known of a server that refuses the lock says nothing of the next one.
    fn refused_locks(&self, driver: Driver) -> Result<(), AnyError> {
        let url = self.upgrade.url().replace("postgres@", &format!("{}@", self.clerk));
        let pool = driver.pool(&url, 1, Options::HOT);
        let before = format!("{APPLICATION} SET LOCAL lock_timeout = '9s'");
        let [old, new] = self.both();
        for server in [old, new, old] {
            self.upgrade.switch_to(server)?;
            for _ in 0..2 {
                let how = Begin { before_probe: Some(&before), ..Begin::default() };
                pool.hot_transaction(&how, answer)?;
            }
        }
        Ok(())
    }

    /// Transactions, and statements that heal.
    fn held_connection(&self, driver: Driver) -> Result<(), AnyError> {
        let upgrade = &self.upgrade;
        let mut conn = driver.connect(&upgrade.url(), Options::HOT);
        let mut conn = conn.session();
        let [old, new] = self.both();
        for (round, server) in [old, new, old, new, old].into_iter().enumerate() {
            upgrade.switch_to(server)?;
            let serializable = Begin { is_serializable: true, is_read_only: true, ..Begin::default() };
            for _ in 0..2 {
                conn.hot_transaction(answer)?;
                conn.hot_transaction_with(&serializable, answer)?;
            }
            let before = format!("{APPLICATION} SET LOCAL lock_timeout = '9s'");
            conn.hot_transaction_with(&Begin { before_probe: Some(&before), ..serializable }, answer)?;
            let before = format!("{APPLICATION} SET LOCAL search_path = {OTHER_PATH}");
            conn.hot_transaction_after(&before, answer)?;
            conn.hot_transaction(answer)?;

            // Types that change before a statement, in a transaction, and in a transaction's own catalog.
            self.administer(server, RECREATE_ENUM)?;
            conn.hot_execute(question())?;
            let mut is_first = true;
            conn.hot_transaction(|conn| {
                if std::mem::take(&mut is_first) {
                    self.administer(server, RECREATE_ENUM).expect("another enum");
                }
                answer(conn)
            })?;
            self.administer(server, RECREATE_ENUM)?;
            conn.transaction(|conn| conn.synchronize().and_then(|()| answer(conn)))?;
            conn.transaction(|conn| {
                let create = format!("CREATE TYPE public.inside_{round} AS ENUM ('a')");
                conn.batch_execute(&format!("{APPLICATION} {create}"))?;
                conn.synchronize().and_then(|()| answer(conn))
            })?;
            conn.synchronize()?;
            answer(&mut conn)?;

            // A type that is in no snapshot.
            unknown(&mut conn)?;

            // An error of the application.
            let nowhere = || sql_query(format!("{APPLICATION} SELECT nowhere"));
            conn.hot_execute(nowhere()).expect_err("no such column");
            conn.hot_transaction(|conn| conn.execute(nowhere())).expect_err("no such column");
        }
        Ok(())
    }

    /// Pools that accept these servers, and pools that accept none of them.
    fn only_servers_that_fit(&self, driver: Driver) -> Result<(), AnyError> {
        for server in self.both() {
            let url = server.url(&self.upgrade.database);
            for attrs in [TargetSessionAttrs::ReadWrite, TargetSessionAttrs::Primary] {
                let pool = driver.pool(&url, 1, Options { attrs, ..Options::HOT });
                let mut conn = pool.get()?;
                let mut conn = conn.session();
                conn.hot_transaction(answer)?;
                conn.hot_transaction_after(&format!("{APPLICATION} SET LOCAL lock_timeout = '9s'"), answer)?;
                conn.hot_transaction_after("no SQL", answer).expect_err("bad SQL");
            }
            for attrs in [TargetSessionAttrs::ReadOnly, TargetSessionAttrs::Standby] {
                assert!(driver.refuses(&url, attrs), "a primary");
            }
        }
        Ok(())
    }

    /// One that has its search path from its customizer, and one that lost its prepared statements.
    fn without_pooler(&self, driver: Driver) -> Result<(), AnyError> {
        for server in self.both() {
            let url = server.url(&self.upgrade.database);
            let mut conn = driver.connect(&url, Options::HOT);
            let mut conn = conn.session();
            conn.synchronize()?;
            conn.batch_execute(&format!("{APPLICATION} SET search_path = {OTHER_PATH}"))?;
            conn.synchronize()?;
            conn.batch_execute(&format!("{APPLICATION} RESET search_path; DEALLOCATE ALL"))?;
            conn.synchronize()?;
            // tokio-postgres can't prepare its own statements again.
            if driver == Driver::Blocking {
                answer(&mut conn)?;
            }
        }
        Ok(())
    }

    /// A role that may execute less and less of what the crate asks for.
    fn without_permissions(&self, driver: Driver) -> Result<(), AnyError> {
        let upgrade = &self.upgrade;
        let url = upgrade.url().replace("postgres@", &format!("{}@", self.clerk));
        let function = |name| format!("REVOKE EXECUTE ON FUNCTION pg_catalog.{name} FROM PUBLIC");
        let hashes = |server: &Cluster| if server.major() > 10 { "sha256(bytea)" } else { "md5(bytea)" };
        for step in 0..6 {
            for server in self.both() {
                match step {
                    0 => {}
                    1 => self.administer(server, &function(hashes(server)))?,
                    2 => self.administer(server, &function("pg_control_system()"))?,
                    3 => self.administer(server, &function("pg_postmaster_start_time()"))?,
                    4 => self.administer(server, "REVOKE SELECT ON pg_catalog.pg_type FROM PUBLIC")?,
                    _ => self.administer(server, &function("current_schemas(boolean)"))?,
                }
            }
            let pool = driver.pool(&url, 1, Options::HOT);
            let mut held = driver.connect(&url, Options::HOT);
            let mut held = held.session();
            let [old, new] = self.both();
            for server in [old, new, old] {
                upgrade.switch_to(server)?;
                // Without pg_type, Diesel finds no type by itself either.
                let used = |conn: &mut Session<'_>| if step < 4 { answer(conn) } else { Ok(()) };
                used(&mut pool.get()?.session())?;
                used(&mut pool.get()?.session())?;
                held.hot_transaction(used)?;
                held.hot_transaction(used)?;
                held.transaction(|conn| conn.synchronize().and_then(|()| used(conn)))?;
                self.administer(server, RECREATE_ENUM)?;
                used(&mut pool.get()?.session())?;
                held.hot_transaction(used)?;
            }
        }
        Ok(())
    }
}

fn use_all(pools: &[Pool]) -> Result<(), AnyError> {
    for pool in pools {
        let wrong = pool.on_every_connection(|conn| answer(conn).map_err(|error| error.to_string()));
        if !wrong.is_empty() {
            return Err(wrong.join("; ").into());
        }
    }
    Ok(())
}

/// Binds types that differ from server to server.
fn question() -> impl QueryFragment<Pg> + QueryId + Send {
    sql_query(format!("{APPLICATION} SELECT $1 IS NULL, $2 IS NULL")).bind::<Citext, _>("a").bind::<Array<
        sql_types::DocumentStatus,
    >, _>(vec![
        Status::Draft,
    ])
}

/// Narrows what the process watches to what the application binds.
pub(crate) fn track_all() {
    track::<Citext>();
    track::<sql_types::DocumentStatus>();
}

fn answer(conn: &mut Session<'_>) -> QueryResult<()> {
    conn.execute(question()).map(drop)
}

/// The row type of the fixture's table.
#[derive(Debug, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "documents"))]
struct Row;

#[derive(Debug, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "documents", schema = "public"))]
struct RowInSchema;

#[derive(Debug)]
struct Nothing;

impl<ST> ToSql<ST, Pg> for Nothing {
    fn to_sql<'b>(&'b self, _: &mut Output<'b, '_, Pg>) -> serialize::Result {
        Ok(IsNull::Yes)
    }
}

fn unknown(conn: &mut Session<'_>) -> QueryResult<()> {
    let with_and_without_schema = sql_query(format!("{APPLICATION} SELECT $1 IS NULL, $2 IS NULL"))
        .bind::<Nullable<Row>, _>(None::<Nothing>)
        .bind::<Nullable<RowInSchema>, _>(None::<Nothing>);
    conn.execute(with_and_without_schema).map(drop)
}
