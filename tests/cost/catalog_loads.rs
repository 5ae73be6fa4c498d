//! What a change costs and who hears of it, counted. The counters belong to the process: one test at a time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error, Pool};
use diesel_postgres_hot_upgrade::{
    HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, Outcome, on_change, stats, synchronize,
};
use fixture::{
    RECREATE_ENUM, Statements, Through, Upgrade, count_titled, migrate, start_time, take_in_turn, two_in_turn,
    write_and_read_back,
};
use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn upgrade(config: PgBouncerConfig) -> Upgrade {
    Upgrade::on_own_servers(config).expect("two servers and a pooler")
}

fn pool(url: &str, size: u32) -> Pool<HotUpgradeManager> {
    Pool::builder()
        .max_size(size)
        .connection_timeout(Duration::from_secs(20))
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(url))
        .expect("a pool")
}

/// Checks out every connection at the same moment, each on a thread of its own, and uses it.
fn storm(pool: &Pool<HotUpgradeManager>) {
    let barrier = Barrier::new(pool.max_size() as usize);
    thread::scope(|scope| {
        for number in 0..u64::from(pool.max_size()) {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let mut conn = pool.get().expect("a connection");
                // Nobody gives back before all have one.
                barrier.wait();
                assert_eq!(write_and_read_back(&mut conn, next_number() + number), Ok(()));
            });
        }
    });
}

fn next_number() -> u64 {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    1_000 * NUMBER.fetch_add(1, Ordering::SeqCst) as u64
}

/// Catalog loads in the server's own statement log.
fn logged_loads(server: &Cluster, database: &str) -> usize {
    let log = server.log().expect("the server's log");
    log.lines()
        .filter(|line| line.contains(database) && line.contains("diesel-postgres-hot-upgrade: load"))
        .count()
}

fn one_load_for_sixteen(config: PgBouncerConfig) {
    let _alone = alone();
    let upgrade = upgrade(config);
    let pool = pool(&upgrade.url(), 16);
    storm(&pool);
    assert_eq!(logged_loads(upgrade.old, &upgrade.database), 1, "sixteen new connections share one load");

    let before = stats();
    upgrade.switch_to(upgrade.new).expect("a switch");
    storm(&pool);
    let after = stats();

    assert_eq!(after.catalog_loads() - before.catalog_loads(), 1);
    assert_eq!(logged_loads(upgrade.new, &upgrade.database), 1, "the server counts the same");
    assert_eq!(after.changes() - before.changes(), 1);
    assert_eq!(after.resets() - before.resets(), 16);
    assert_eq!(pool.state().connections, 16);

    // Both servers are known now.
    upgrade.switch_to(upgrade.old).expect("a switch");
    storm(&pool);
    assert_eq!(stats().catalog_loads(), after.catalog_loads());
    assert_eq!(stats().changes() - after.changes(), 1);
}

#[test]
fn looks_cost_the_round_trips_that_the_documentation_says() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let url = format!("postgres://postgres@{}/{}", forwarder.address(), upgrade.database);
    let mut conn = PgConnection::establish(&url).expect("a connection");
    let mut cost = || {
        let before = forwarder.round_trips();
        synchronize(&mut conn).expect("a server");
        forwarder.round_trips() - before
    };
    let mut settled = |expected: usize, what: &str| {
        assert_eq!(cost(), expected, "{what}");
        // Prepares the question, and waits for transactions that the server may have open by itself.
        let steady = (0..20).map(|_| cost()).find(|trips| *trips == 1);
        assert_eq!(steady, Some(1), "after {what}");
    };
    settled(3 + 1, "a new connection, and its first preparation");
    settled(1, "nothing");
    upgrade.run_on(upgrade.old, "CREATE TABLE one_more ()").expect("a table");
    settled(3 + 1, "a table");
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    settled(4, "another type");
    upgrade.run_on(upgrade.old, "CREATE TYPE one_type_more AS ENUM ()").expect("a type");
    settled(5 + 1, "one type more");
    for (server, which) in [(upgrade.new, "another server"), (upgrade.old, "the one before")] {
        upgrade.switch_to(server).expect("a switch");
        settled(4 + 1, which);
    }
}

#[test]
fn a_change_costs_one_catalog_load_for_a_pool_of_sixteen() {
    one_load_for_sixteen(PgBouncerConfig::default());
}

#[test]
fn a_change_costs_one_catalog_load_where_sixteen_share_one_server_connection() {
    one_load_for_sixteen(PgBouncerConfig { default_pool_size: 1, ..PgBouncerConfig::default() });
}

fn one_load_for_each(through: Through) {
    let _alone = alone();
    let upgrade = upgrade(two_in_turn());
    let servers = [upgrade.old, upgrade.new];
    let _between = take_in_turn(&upgrade.pgbouncer, &upgrade.database, servers, through).expect("both servers");
    let mut hot = PgConnection::establish(&upgrade.url()).expect("a connection");
    let mut stock = PgConnection::establish(&upgrade.url()).expect("a connection");
    let use_it = |conn: &mut PgConnection| {
        write_and_read_back(conn, next_number()).map_err(|_| diesel::result::Error::RollbackTransaction)?;
        start_time(conn)
    };
    let before = stats();
    let mut answered = HashSet::new();
    for number in 0..50 {
        // Each costs its own number of turns: else the last of them might be the same server's always.
        let server = if number % 3 == 0 {
            hot.hot_transaction_with(|builder| builder.before_probe("SET LOCAL lock_timeout = '9s'"), use_it)
        } else {
            hot.hot_transaction(use_it)
        };
        answered.insert(server.expect("a verified transaction"));
    }
    let after = stats();
    assert_eq!(answered.len(), 2, "one server answered all");
    assert_eq!(after.catalog_loads() - before.catalog_loads(), 2, "both stay known");
    let flips = after.resets() - before.resets();
    assert!(flips >= 10, "only {flips} times another server answered");
    let control = (0..50).filter(|_| stock.transaction(use_it).is_err()).count();
    assert!(control >= 10, "the control failed only {control} times");

    // Four at once, whichever server answers each.
    let pool = pool(&upgrade.url(), 4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    pool.get().expect("a connection").hot_transaction(use_it).expect("a verified transaction");
                }
            });
        }
    });
    let with_pool = stats();
    assert!(with_pool.resets() > after.resets(), "one server answered all");
    assert_eq!(with_pool.catalog_loads(), after.catalog_loads(), "a flip costs no load");
}

#[test]
fn two_hosts_that_alternate_cost_one_catalog_load_each() {
    one_load_for_each(Through::Hosts);
}

#[test]
fn a_load_balancer_that_alternates_between_two_servers_costs_one_catalog_load_for_each() {
    one_load_for_each(Through::LoadBalancer);
}

#[test]
fn an_unchanged_server_costs_one_statement_a_checkout() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let pool = pool(&upgrade.url(), 1);
    // The first ones may have to wait for transactions that began before: autovacuum's, say.
    for _ in 0..20 {
        drop(pool.get().expect("a connection"));
    }
    let statements = Statements::default();
    pool.get().expect("a connection").set_instrumentation(statements.clone());
    let before = stats();
    for _ in 0..100 {
        drop(pool.get().expect("a connection"));
    }
    let after = stats();
    assert_eq!(after.probes() - before.probes(), 100);
    assert_eq!(statements.count(), 100, "each probe is one statement, and nothing else is sent");
    assert_eq!(after.catalog_loads(), before.catalog_loads());
    assert_eq!(after.resets(), before.resets());
}

#[test]
fn what_other_sessions_create_costs_no_catalog_load() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let url = upgrade.old.url(&upgrade.database);
    let mut conn = PgConnection::establish(&url).expect("a connection");
    let mut other = PgConnection::establish(&url).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    let before = stats();
    for number in 0..10 {
        let sql = format!(
            "CREATE TABLE t{number} (id int); CREATE VIEW v{number} AS SELECT 1;
             CREATE TEMP TABLE x{number} (id int); CREATE TYPE pg_temp.y{number} AS ENUM ('a')"
        );
        other.batch_execute(&sql).expect("tables, views, and temporary types");
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    }
    assert_eq!(stats().catalog_loads(), before.catalog_loads());
}

#[test]
fn sessions_that_see_a_type_otherwise_do_not_drive_each_other_to_load() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let url = upgrade.old.url(&upgrade.database);
    let connect = || PgConnection::establish(&url).expect("a connection");
    let (mut plain, mut shadowing, mut quoting) = (connect(), connect(), connect());
    shadowing.batch_execute("CREATE TEMP TABLE document_status (id int)").expect("a table of that name");
    quoting.batch_execute("SET quote_all_identifiers = on").expect("a setting");
    for conn in [&mut plain, &mut shadowing, &mut quoting] {
        synchronize(conn).expect("a first look");
    }
    let before = stats();
    for _ in 0..10 {
        for conn in [&mut plain, &mut shadowing, &mut quoting] {
            assert!(matches!(synchronize(conn), Ok(Outcome::Unchanged)));
        }
    }
    assert_eq!(stats().catalog_loads(), before.catalog_loads());
    assert_eq!(stats().resets(), before.resets());
}

#[test]
fn observers_hear_of_a_change_once_and_their_panic_costs_no_slot() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let database = upgrade.database.clone();
    on_change({
        let (heard, database) = (Arc::clone(&heard), database.clone());
        move |change| {
            if change.to().database() == database {
                heard.lock().expect("no panic holds it").push(change.clone());
            }
        }
    });
    on_change(move |change| assert_ne!(change.to().database(), database, "an observer panicked"));

    let pool = pool(&upgrade.url(), 4);
    storm(&pool);
    upgrade.switch_to(upgrade.new).expect("a switch");
    storm(&pool);
    storm(&pool);
    assert_eq!(pool.state().connections, 4);

    let heard = heard.lock().expect("no panic holds it");
    let [change] = &heard[..] else { panic!("heard of {} changes", heard.len()) };
    assert_eq!((change.from().version() / 10_000, change.to().version() / 10_000), (10, 12));
    assert_ne!(change.from().system_identifier(), change.to().system_identifier());
    let moved: Vec<_> = change.moved().iter().map(|moved| moved.name().name()).collect();
    for name in ["citext", "document_code", "document_status", "hstore"] {
        assert!(moved.contains(&name), "{name} moved too: {moved:?}");
    }
    assert!(change.missing().is_empty(), "{:?}", change.missing());
}

#[test]
fn a_change_is_heard_of_where_all_connections_died_with_the_old_server() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let pool = Pool::builder()
        .max_size(2)
        .max_lifetime(None)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a pool of the stock manager");
    let before = stats();
    upgrade.switch_to(upgrade.new).expect("a switch");
    upgrade.pgbouncer.console(&format!("KILL {}", upgrade.database)).expect("every client is disconnected");
    upgrade.pgbouncer.console(&format!("RESUME {}", upgrade.database)).expect("the database is back");
    assert_eq!(write_and_read_back(&mut pool.get().expect("a new connection"), 1), Ok(()));
    assert_eq!(stats().changes() - before.changes(), 1);
}

#[test]
fn a_change_is_heard_of_also_where_a_session_with_another_path_sees_the_types_alike() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    upgrade.run_on(upgrade.old, "CREATE SCHEMA elsewhere").expect("a schema");
    let url = upgrade.old.url(&upgrade.database);
    let mut of_another_path = PgConnection::establish(&url).expect("a connection");
    of_another_path.batch_execute("SET search_path = elsewhere, public").expect("a path");
    synchronize(&mut of_another_path).expect("a first look");
    let pool = pool(&url, 1);
    let before = stats();
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));
    assert_eq!(stats().changes() - before.changes(), 1);
}

#[derive(Debug, Clone, Default)]
struct CountAcquired(Arc<AtomicUsize>);

impl CustomizeConnection<PgConnection, Error> for CountAcquired {
    fn on_acquire(&self, _conn: &mut PgConnection) -> Result<(), Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_connection_that_was_reset_a_few_dozen_times_is_replaced() {
    let _alone = alone();
    let upgrade = upgrade(PgBouncerConfig::default());
    let acquired = CountAcquired::default();
    let pool = Pool::builder()
        .max_size(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(acquired.clone()))))
        .build(HotUpgradeManager::new(upgrade.url()))
        .expect("a pool");
    for round in 0..80 {
        let server = if round % 2 == 0 { upgrade.new } else { upgrade.old };
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), next_number()), Ok(()));
    }
    let acquired = acquired.0.load(Ordering::SeqCst);
    assert!((2..=4).contains(&acquired), "{acquired} connections for 80 switches");
}

#[test]
fn restarts_leave_few_prepared_statements_behind() {
    let _alone = alone();
    let mut server = Cluster::start(12).expect("a server of this test's own");
    server.create_database("restarted").expect("a database");
    migrate(&server.url("restarted")).expect("migrations");
    // The pool may replace its connection just when the server is away.
    let extra = vec![("server_login_retry".to_owned(), "0.1".to_owned())];
    let pgbouncer = PgBouncer::start(PgBouncerConfig { extra, ..PgBouncerConfig::default() }).expect("a pooler");
    pgbouncer.route("restarted", &server.target("restarted")).expect("a route");
    let pool = pool(&pgbouncer.url("restarted"), 1);
    let before = stats();
    let mut most = 0;
    for _ in 0..70 {
        for _ in 0..2 {
            let found = count_titled(&mut pool.get().expect("a connection"), "no such title");
            assert_eq!(found, Ok(0));
        }
        let clients = pgbouncer.show("CLIENTS").expect("its clients");
        let counts = clients.iter().map(|client| client["prepared_statements"].parse().expect("a number"));
        most = most.max(counts.max().unwrap_or(0));
        server.restart().expect("a restart");
    }
    assert_eq!(stats().changes(), before.changes(), "a restart is no change");
    assert!((4..64).contains(&most), "{most} prepared statements");
}
