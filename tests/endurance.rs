//! A thousand changes in a row. Alone in its process, whose memory it measures.

use std::fs;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel::sql_types::BigInt;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::{RECREATE_ENUM, Upgrade, count_titled, write_and_read_back};
use testbed::PgBouncerConfig;

const CHANGES: u64 = 1_000;
/// After as many, caches and allocators have what they need.
const WARM_UP: u64 = 100;
/// What is prepared again after each change: two queries of the fixture, and the probe.
const STATEMENTS_IN_USE: i64 = 3;
/// Types that stay as they are, so that a snapshot that is kept weighs something: about 10 KiB.
const BYSTANDERS: u32 = 100;
/// Well below what the snapshots of all changes would take.
const MAX_GROWTH_IN_KIB: u64 = 3 * 1024;

fn pool(url: &str) -> Pool<HotUpgradeManager> {
    Pool::builder()
        .max_size(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(url))
        .expect("a pool")
}

fn work<M: ManageConnection<Connection = PgConnection>>(pool: &Pool<M>, number: u64) -> Result<(), String> {
    let mut conn = pool.get().map_err(|error| error.to_string())?;
    write_and_read_back(&mut conn, number)?;
    let titled = count_titled(&mut conn, &format!("TITLE {number}")).map_err(|error| error.to_string())?;
    if titled == 1 { Ok(()) } else { Err(format!("{titled} documents")) }
}

/// What the server keeps for the connection.
fn on_server(pool: &Pool<HotUpgradeManager>) -> i64 {
    let mut conn = pool.get().expect("a connection");
    diesel::select(sql::<BigInt>("(SELECT count(*) FROM pg_prepared_statements)"))
        .get_result(&mut conn)
        .expect("a count")
}

/// What PgBouncer keeps for its clients: the most that one of them has.
fn in_pgbouncer(upgrade: &Upgrade) -> i64 {
    let clients = upgrade.pgbouncer.show("CLIENTS").expect("its clients");
    let counts = clients.iter().filter(|client| client["database"] == upgrade.database);
    counts.map(|client| client["prepared_statements"].parse().expect("a number")).max().expect("a client")
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_thousand_changes_leave_few_statements_behind_and_no_memory() {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    let bystanders = format!(
        "DO $$ BEGIN FOR number IN 1..{BYSTANDERS} LOOP
             EXECUTE format('CREATE TYPE bystander_%s AS ENUM (''x'')', number);
         END LOOP; END $$"
    );
    upgrade.run_on(upgrade.old, &bystanders).expect("more types");
    let (direct, pooled) = (pool(&upgrade.old.url(&upgrade.database)), pool(&upgrade.url()));
    let stock = Pool::builder()
        .max_size(1)
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a stock pool");
    assert_eq!(work(&stock, 1), Ok(()));
    let mut client = upgrade.old.client(&upgrade.database).expect("a connection");

    let (mut most_on_server, mut most_in_pgbouncer, mut after_warm_up) = (0, 0, 0);
    for change in 1..=CHANGES {
        client
            .batch_execute(&format!("TRUNCATE documents; {RECREATE_ENUM}"))
            .expect("another enum of the same name");
        assert_eq!(work(&direct, 2 * change), Ok(()), "change {change}");
        assert_eq!(work(&pooled, 2 * change + 1), Ok(()), "change {change}");
        most_on_server = most_on_server.max(on_server(&direct));
        if change % 4 == 0 {
            most_in_pgbouncer = most_in_pgbouncer.max(in_pgbouncer(&upgrade));
        }
        if change == WARM_UP {
            after_warm_up = resident_kib();
        }
    }
    let at_the_end = resident_kib();
    work(&stock, 1).expect_err("the control is right as well");

    println!(
        "{CHANGES} changes: at most {most_on_server} prepared statements on the server, {most_in_pgbouncer} in \
         PgBouncer; {after_warm_up} KiB after {WARM_UP}, {at_the_end} KiB at the end"
    );
    for most in [most_on_server, most_in_pgbouncer] {
        assert!((STATEMENTS_IN_USE..64 * STATEMENTS_IN_USE).contains(&most), "{most} prepared statements");
    }
    let growth = at_the_end.saturating_sub(after_warm_up);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB more after {after_warm_up} KiB");
}
