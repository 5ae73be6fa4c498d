//! A thousand changes in a row: what is left on the server, in PgBouncer and in memory.

use std::fs;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel::sql_types::BigInt;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::{RECREATE_ENUM, Status, Upgrade, count_titled, documents, write_and_read_back};
use testbed::PgBouncerConfig;

const CHANGES: u64 = 1_000;
/// After as many, the snapshots that are kept have reached the size that they may have, and the oldest go.
const WARM_UP: u64 = 600;
/// For each statement that the application uses; those of this crate are among them.
const MAX_STATEMENTS: i64 = 64;
/// Types that stay as they are, so that a snapshot that is kept weighs something: about 150 KiB.
const BYSTANDERS: u32 = 900;
/// All snapshots together may have 64 MiB, as the process counts them: without what the allocator adds.
const MAX_SNAPSHOTS_IN_KIB: u64 = 128 * 1024;
/// Well below what the snapshots of the changes after the warm-up would take.
const MAX_GROWTH_IN_KIB: u64 = 4 * 1024;

/// An application with pools of one connection each, to the server and to PgBouncer.
struct Application {
    name: &'static str,
    statements_in_use: i64,
    work: fn(&mut PgConnection, u64) -> Result<(), String>,
    direct: Pool<HotUpgradeManager>,
    pooled: Pool<HotUpgradeManager>,
    most_on_server: i64,
    most_in_pgbouncer: i64,
}

impl Application {
    fn start(
        upgrade: &Upgrade,
        name: &'static str,
        statements_in_use: i64,
        work: fn(&mut PgConnection, u64) -> Result<(), String>,
    ) -> Self {
        let pool = |url: String| {
            Pool::builder()
                .max_size(1)
                .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
                .build(HotUpgradeManager::new(format!("{url}?application_name={name}")))
                .expect("a pool")
        };
        Application {
            name,
            statements_in_use,
            work,
            direct: pool(upgrade.old.url(&upgrade.database)),
            pooled: pool(upgrade.url()),
            most_on_server: 0,
            most_in_pgbouncer: 0,
        }
    }

    /// One checkout of each pool.
    fn use_both(&mut self, change: u64) {
        assert_eq!(use_one(&self.pooled, |conn| (self.work)(conn, 2 * change)), Ok(()), "change {change}");
        let counted = use_one(&self.direct, |conn| {
            (self.work)(conn, 2 * change + 1)?;
            // Before the connection is given back, and may be replaced.
            on_server(conn).map_err(|error| error.to_string())
        });
        self.most_on_server = self.most_on_server.max(counted.expect("what the server keeps for the connection"));
    }

    fn look_into_pgbouncer(&mut self, upgrade: &Upgrade) {
        let clients = upgrade.pgbouncer.show("CLIENTS").expect("its clients");
        // None, while the pool replaces it.
        for client in clients.iter().filter(|client| client["application_name"] == self.name) {
            let count = client["prepared_statements"].parse().expect("a number");
            self.most_in_pgbouncer = self.most_in_pgbouncer.max(count);
        }
    }
}

fn use_one<M: ManageConnection<Connection = PgConnection>, T>(
    pool: &Pool<M>,
    work: impl Fn(&mut PgConnection) -> Result<T, String>,
) -> Result<T, String> {
    work(&mut *pool.get().map_err(|error| error.to_string())?)
}

fn on_server(conn: &mut PgConnection) -> QueryResult<i64> {
    diesel::select(sql::<BigInt>("(SELECT count(*) FROM pg_prepared_statements)")).get_result(conn)
}

/// One statement. Nobody else writes a document of that status.
fn count_published(conn: &mut PgConnection, _: u64) -> Result<(), String> {
    let published = documents::table.filter(documents::status.eq(Status::Published)).count().get_result(conn);
    if published == Ok(1_i64) { Ok(()) } else { Err(format!("published: {published:?}")) }
}

/// Two statements, and an insert, which Diesel does not keep.
fn write_and_count(conn: &mut PgConnection, number: u64) -> Result<(), String> {
    let number = 2 * number + 1;
    write_and_read_back(conn, number)?;
    let titled = count_titled(conn, &format!("TITLE {number}"));
    if titled == Ok(1) { Ok(()) } else { Err(format!("titled: {titled:?}")) }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_thousand_changes_leave_few_statements_behind_and_no_memory() {
    let _alone = crate::support::counted::alone();
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    let bystanders = format!(
        "DO $$ BEGIN FOR number IN 1..{BYSTANDERS} LOOP
             EXECUTE format('CREATE TYPE bystander_%s AS ENUM (''x'')', number);
         END LOOP; END $$"
    );
    upgrade.run_on(upgrade.old, &bystanders).expect("more types");
    let mut applications = [
        Application::start(&upgrade, "one", 1, count_published),
        Application::start(&upgrade, "two", 2, write_and_count),
    ];
    let stock = Pool::builder()
        .max_size(1)
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a stock pool");
    let mut client = upgrade.old.client(&upgrade.database).expect("a connection");
    let mut change_types = || {
        let published =
            "INSERT INTO documents (title, attributes, status, code) VALUES ('', '', 'published', 'DE-0')";
        let sql = format!("TRUNCATE documents; {RECREATE_ENUM}; {published}");
        client.batch_execute(&sql).expect("another enum of the same name");
    };
    change_types();
    assert_eq!(use_one(&stock, |conn| count_published(conn, 0)), Ok(()));

    let (before, mut after_warm_up) = (resident_kib(), 0);
    for change in 1..=CHANGES {
        change_types();
        for application in &mut applications {
            application.use_both(change);
            // It is asked on a new connection each time.
            if change % 4 == 0 {
                application.look_into_pgbouncer(&upgrade);
            }
        }
        if change == WARM_UP {
            after_warm_up = resident_kib();
        }
    }
    let at_the_end = resident_kib();
    use_one(&stock, |conn| count_published(conn, 0)).expect_err("the control is right as well");

    println!(
        "{CHANGES} changes: {before} KiB before, {after_warm_up} KiB after {WARM_UP}, {at_the_end} KiB at the end"
    );
    for Application { statements_in_use, most_on_server, most_in_pgbouncer, .. } in applications {
        println!(
            "statements in use: {statements_in_use}; at most on the server: {most_on_server}; in PgBouncer: \
             {most_in_pgbouncer}"
        );
        for most in [most_on_server, most_in_pgbouncer] {
            // Resets deallocate what is this session's alone. Fewer than what is in use would mean that none are seen.
            let bounds = statements_in_use..MAX_STATEMENTS * statements_in_use;
            assert!(bounds.contains(&most), "{most} prepared statements, {statements_in_use} in use");
        }
    }
    let snapshots = after_warm_up.saturating_sub(before);
    assert!(snapshots < MAX_SNAPSHOTS_IN_KIB, "{snapshots} KiB more after {WARM_UP} changes");
    let growth = at_the_end.saturating_sub(after_warm_up);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB more after {after_warm_up} KiB");
}
