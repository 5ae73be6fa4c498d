//! The ways in which a switch cuts connections.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use fixture::{Upgrade, migrate};
use testbed::{Cluster, Cutter, HaProxy, PgBouncerConfig, Place, Side, Way};

use super::drivers::Driver;
use super::keep::keep;
use crate::support::server::wait_until;

/// How often each document is on these servers together.
pub(super) fn written(servers: &[&Cluster], database: &str) -> HashMap<u64, i64> {
    let mut written = HashMap::new();
    for server in servers {
        let mut client = server.client(database).expect("a server");
        for row in client.query("SELECT code::text, count(*) FROM documents GROUP BY 1", &[]).expect("documents") {
            let code: String = row.get(0);
            let number = code.strip_prefix("DE-").and_then(|number| number.parse().ok()).expect("a number");
            *written.entry(number).or_default() += row.get::<_, i64>(1);
        }
    }
    written
}

pub(super) fn run_on(server: &Cluster, database: &str, sql: &str) {
    server.client(database).expect("a server").batch_execute(sql).expect("SQL");
}

pub(super) fn terminate_all(server: &Cluster, database: &str) {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    );
    run_on(server, "postgres", &sql);
}

fn of(upgrade: &Upgrade, switch: u32) -> &'static Cluster {
    if switch % 2 == 0 { upgrade.new } else { upgrade.old }
}

fn pgbouncer_kills(driver: Driver, scenario: &str, pool_mode: &'static str) {
    // KILL cuts logins off, which PgBouncer takes for failed ones: it would wait 15 s before it tries again.
    let extra = vec![("server_login_retry".to_owned(), "0.02".to_owned())];
    let upgrade =
        Upgrade::start(PgBouncerConfig { pool_mode, extra, default_pool_size: 60, ..PgBouncerConfig::default() })
            .expect("two servers and a pooler");
    let ledgers =
        keep(driver, &upgrade.url(), |switch, _| upgrade.cut_over_to(of(&upgrade, switch)).expect("a switch"));
    ledgers.check(scenario, &written(&[upgrade.old, upgrade.new], &upgrade.database));
}

#[test]
fn pgbouncer_kills_and_resumes() {
    pgbouncer_kills(Driver::Blocking, "PgBouncer's KILL", "transaction");
}

#[test]
fn pgbouncer_kills_in_session_mode() {
    pgbouncer_kills(Driver::Blocking, "KILL in session mode", "session");
}

#[test]
fn a_forwarder_cuts_at_random_bytes() {
    cut_at_random_bytes(Driver::Blocking);
}

fn cut_at_random_bytes(driver: Driver) {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers");
    let cutter = Cutter::start(upgrade.old.address()).expect("a cutter");
    let url = upgrade.old.url_at(cutter.address(), &upgrade.database);
    let ledgers = keep(driver, &url, |switch, progress| {
        for _ in 0..8 {
            let way = if fastrand::bool() { Way::ToServer } else { Way::ToClient };
            cutter.order(way, Place::AfterBytes(fastrand::usize(1..5_000)), Side::Both);
            wait_until("a cut", || cutter.has_cut());
            progress.wait_for(4);
        }
        cutter.retarget(of(&upgrade, switch).address());
        cutter.cut(Side::Both);
    });
    ledgers.check("cut at random bytes", &written(&[upgrade.old, upgrade.new], &upgrade.database));
}

#[test]
fn every_backend_is_terminated() {
    terminate_every_backend(Driver::Blocking);
}

fn terminate_every_backend(driver: Driver) {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers");
    let (server, database) = (upgrade.new, upgrade.database.as_str());
    let ledgers = keep(driver, &server.url(database), |_, _| terminate_all(server, database));
    ledgers.check("pg_terminate_backend", &written(&[server], database));
}

pub(super) fn shown(server: &Cluster, setting: &str) -> String {
    let mut client = server.client("app").expect("a server");
    client.query_one(&format!("SHOW {setting}"), &[]).expect("a setting").get(0)
}

/// A server of a test's own, with the fixture in its database `app`.
pub(super) fn own_server(major: u32) -> Cluster {
    let server = Cluster::start(major).expect("a server");
    server.create_database("app").expect("a database");
    migrate(&server.url("app")).expect("migrations");
    server
}

#[test]
fn one_server_is_stopped_and_eight_seconds_later_another_one_starts_in_its_place() {
    stop_and_start(Driver::Blocking);
}

fn stop_and_start(driver: Driver) {
    let (mut old, mut new) = (own_server(10), own_server(12));
    new.stop().expect("a stop");
    let url = old.url("app");
    let ledgers = keep(driver, &url, |switch, _| {
        let (from, to) = if switch % 2 == 0 { (&mut old, &mut new) } else { (&mut new, &mut old) };
        from.stop().expect("a stop");
        // What is tested: nothing is there for that long.
        thread::sleep(Duration::from_secs(8));
        to.restart_in_place_of(from).expect("a start");
    });
    let mut there = HashMap::new();
    for (server, other) in [(0, 1), (1, 0)] {
        let servers = [&mut old, &mut new];
        servers[other].stop().expect("a stop");
        let servers = [&mut old, &mut new];
        servers[server].restart().expect("a start");
        for (number, times) in written(&[[&old, &new][server]], "app") {
            *there.entry(number).or_default() += times;
        }
    }
    ledgers.check("8 s without a server", &there);
}

#[test]
fn a_standby_is_promoted_after_its_primary_crashed() {
    promote(Driver::Blocking);
}

fn promote(driver: Driver) {
    let mut primary = own_server(12);
    // The testbed's servers do not wait for the disk. What was acknowledged has to survive here.
    run_on(&primary, "postgres", "ALTER SYSTEM SET synchronous_commit = on");
    let cutter = Cutter::start(primary.address()).expect("a cutter");
    let url = primary.url_at(cutter.address(), "app");
    let ledgers = keep(driver, &url, |_, progress| {
        // A standby that has everything that was acknowledged. To copy the primary is an outage too.
        primary.stop().expect("a stop");
        let mut standby = Cluster::standby_of(&primary).expect("a standby");
        primary.restart().expect("a start");
        run_on(&primary, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        run_on(&primary, "postgres", "SELECT pg_reload_conf()");
        wait_until("it replicates synchronously", || {
            let mut client = primary.client("postgres").expect("a server");
            let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            client.query_one(sql, &[]).expect("a count").get::<_, i64>(0) == 1
        });
        progress.wait_for(40);

        primary.crash().expect("a crash");
        standby.promote().expect("a promotion");
        cutter.retarget(standby.address());
        primary = standby;
    });
    ledgers.check("a promotion", &written(&[&primary], "app"));
}

#[test]
fn the_old_primary_is_left_running_read_only() {
    leave_read_only(Driver::Blocking);
}

fn leave_read_only(driver: Driver) {
    let servers = [own_server(10), own_server(12)];
    let cutter = Cutter::start(servers[0].address()).expect("a cutter");
    let url = servers[0].url_at(cutter.address(), "app");
    let ledgers = keep(driver, &url, |switch, progress| {
        let [from, to] = if switch % 2 == 0 { [0, 1] } else { [1, 0] }.map(|server: usize| &servers[server]);
        run_on(from, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
        run_on(from, "postgres", "SELECT pg_reload_conf()");
        wait_until("it is read-only", || shown(from, "transaction_read_only") == "on");
        run_on(to, "postgres", "ALTER SYSTEM RESET default_transaction_read_only");
        run_on(to, "postgres", "SELECT pg_reload_conf()");
        wait_until("it takes writes", || shown(to, "transaction_read_only") == "off");
        // The address moves last: until then, no server takes writes.
        progress.wait_for_runs(20);
        cutter.retarget(to.address());
    });
    ledgers.check("an old primary left read-only", &written(&[&servers[0], &servers[1]], "app"));
}

#[test]
fn haproxy_shuts_sessions_down() {
    shut_down_by_haproxy(Driver::Blocking);
}

fn shut_down_by_haproxy(driver: Driver) {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers");
    let haproxy = HaProxy::start(&[upgrade.old.address(), upgrade.new.address()]).expect("HAProxy");
    let url = upgrade.old.url_at(haproxy.address(), &upgrade.database);
    let ledgers =
        keep(driver, &url, |switch, _| haproxy.switch_to(1 - (switch % 2) as usize, 2).expect("a switch"));
    ledgers.check("HAProxy", &written(&[upgrade.old, upgrade.new], &upgrade.database));
}

/// The same cuts under the pools of diesel-async.
mod asynchronous {
    use super::{
        Driver, cut_at_random_bytes, leave_read_only, pgbouncer_kills, promote, shut_down_by_haproxy,
        stop_and_start, terminate_every_backend,
    };

    #[test]
    fn every_backend_of_bb8_is_terminated() {
        terminate_every_backend(Driver::Bb8);
    }

    #[test]
    fn every_backend_of_deadpool_is_terminated() {
        terminate_every_backend(Driver::Deadpool);
    }

    #[test]
    fn every_backend_of_a_pool_on_one_thread_is_terminated() {
        terminate_every_backend(Driver::OnOneThread);
    }

    #[test]
    fn pgbouncer_kills_and_resumes_under_bb8() {
        pgbouncer_kills(Driver::Bb8, "PgBouncer's KILL", "transaction");
    }

    #[test]
    fn pgbouncer_kills_and_resumes_under_deadpool() {
        pgbouncer_kills(Driver::Deadpool, "PgBouncer's KILL", "transaction");
    }

    #[test]
    fn pgbouncer_kills_bb8_in_session_mode() {
        pgbouncer_kills(Driver::Bb8, "KILL in session mode", "session");
    }

    #[test]
    fn pgbouncer_kills_deadpool_in_session_mode() {
        pgbouncer_kills(Driver::Deadpool, "KILL in session mode", "session");
    }

    #[test]
    fn a_standby_is_promoted_under_bb8() {
        promote(Driver::Bb8);
    }

    #[test]
    fn a_standby_is_promoted_under_deadpool() {
        promote(Driver::Deadpool);
    }

    #[test]
    fn the_old_primary_is_left_running_read_only_under_bb8() {
        leave_read_only(Driver::Bb8);
    }

    #[test]
    fn the_old_primary_is_left_running_read_only_under_deadpool() {
        leave_read_only(Driver::Deadpool);
    }

    #[test]
    fn haproxy_shuts_sessions_of_bb8_down() {
        shut_down_by_haproxy(Driver::Bb8);
    }

    #[test]
    fn haproxy_shuts_sessions_of_a_pool_on_one_thread_down() {
        shut_down_by_haproxy(Driver::OnOneThread);
    }

    #[test]
    fn a_forwarder_cuts_bb8_at_random_bytes() {
        cut_at_random_bytes(Driver::Bb8);
    }

    #[test]
    fn a_forwarder_cuts_deadpool_at_random_bytes() {
        cut_at_random_bytes(Driver::Deadpool);
    }

    #[test]
    fn one_server_is_stopped_and_another_one_starts_in_its_place_under_bb8() {
        stop_and_start(Driver::Bb8);
    }

    #[test]
    fn one_server_is_stopped_and_another_one_starts_in_its_place_under_deadpool() {
        stop_and_start(Driver::Deadpool);
    }
}
