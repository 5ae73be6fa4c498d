//! What changes and restarts leave behind on a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, Error, Pool};
use diesel::sql_types::BigInt;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, stats};
use fixture::{count_titled, migrate, write_and_read_back};
use testbed::{Cluster, PgBouncer, PgBouncerConfig};

use crate::comings_and_goings::database;
use crate::pools::{next_number, pool, upgrade};
use crate::support::counted::alone;
use crate::support::diverging::connect;
use crate::support::freshness::wait_until_stale;
use crate::support::meaning::{Label, meaning};

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

fn statements_left(conn: &mut PgConnection) -> i64 {
    diesel::select(sql::<BigInt>("(SELECT count(*) FROM pg_prepared_statements)"))
        .get_result(conn)
        .expect("a count")
}

/// Each is a snapshot of its own, whose check is a prepared statement of its own; nothing is reset. So a connection that
/// has seen twenty of them is replaced.
#[test]
fn types_that_are_added_leave_few_checks_behind() {
    let _alone = alone();
    let url = database("added");
    let pool = pool(&url, 1);
    for number in 0..22 {
        connect(&url).batch_execute(&format!("CREATE TYPE added_{number} AS ENUM ('x')")).expect("a type");
        wait_until_stale();
        for _ in 0..3 {
            drop(pool.get().expect("a connection"));
        }
    }
    let left = statements_left(&mut pool.get().expect("a connection"));
    assert!(left < 16, "{left} statements");
}

/// Which is what every transaction of an application with tenants does.
#[test]
fn tenants_transactions_leave_few_statements_behind_and_wear_no_connection_out() {
    let _alone = alone();
    let url = database("by_tenant");
    let create = "CREATE SCHEMA tenant; CREATE TYPE tenant.label AS ENUM ('x')";
    connect(&url).batch_execute(create).expect("a tenant");
    let acquired = CountAcquired::default();
    let pool = Pool::builder()
        .max_size(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(acquired.clone()))))
        .build(HotUpgradeManager::new(url))
        .expect("a pool");
    let as_tenant = |conn: &mut PgConnection| {
        let path = "SET LOCAL search_path = tenant, public";
        conn.hot_transaction_with(|builder| builder.before_probe(path), meaning::<Label>).expect("a transaction");
    };
    let before = stats();
    for _ in 0..100 {
        as_tenant(&mut pool.get().expect("a connection"));
    }
    let resets = stats().resets() - before.resets();
    let acquired = acquired.0.load(Ordering::SeqCst);
    let mut conn = pool.get().expect("a connection");
    for _ in 0..40 {
        as_tenant(&mut conn);
    }
    let left = statements_left(&mut conn);
    assert!(acquired <= 2 && left < 64, "{resets} resets, {acquired} connections, {left} statements");
}
