//! A role may not take advisory locks on one server. On another one it may, and there a transaction takes its lock.

use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::Pool;
use diesel::sql_types::BigInt;
use diesel_postgres_hot_upgrade::{
    HotPoolTransactionBuilder, HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool,
};
use fixture::{Upgrade, builder};
use testbed::{Cluster, Forwarder, PgBouncerConfig};

/// Two servers behind a pooler, on the first of which the role may not lock, and a pool of one connection.
struct Setting {
    upgrade: Upgrade,
    address: Forwarder,
    pool: Pool<HotUpgradeManager>,
}

impl Setting {
    fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let role = format!("may_not_lock_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let config = PgBouncerConfig { users: vec![role.clone()], ..PgBouncerConfig::default() };
        let upgrade = Upgrade::start(config).expect("two servers");
        for server in [upgrade.old, upgrade.new] {
            upgrade.run_on(server, &format!("CREATE ROLE {role} LOGIN")).expect("a role");
        }
        let revoke = "REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) FROM PUBLIC";
        upgrade.run_on(upgrade.old, revoke).expect("no permission");
        let address = Forwarder::start(upgrade.pgbouncer.address()).expect("an address");
        let url = upgrade.pgbouncer.url_at(address.address(), &upgrade.database);
        let url = url.replace("postgres@", &format!("{role}@"));
        Setting { upgrade, address, pool: builder(1).build(HotUpgradeManager::new(url)).expect("a pool") }
    }

    fn switch_to(&self, server: &Cluster) {
        self.upgrade.switch_to(server).expect("a switch");
    }

    /// How many locks a transaction holds.
    fn locks(&self, options: fn(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder) -> i64 {
        let locks: Result<i64, HotTransactionError> = self.pool.hot_transaction_with(options, locks);
        locks.expect("a transaction")
    }
}

fn locks(conn: &mut PgConnection) -> QueryResult<i64> {
    let held = "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())";
    diesel::select(diesel::dsl::sql::<BigInt>(held)).get_result(conn)
}

fn a_lock_is_taken_wherever_the_role_may(options: fn(HotPoolTransactionBuilder) -> HotPoolTransactionBuilder) {
    let setting = Setting::start();
    let (old, new) = (setting.upgrade.old, setting.upgrade.new);
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(setting.locks(options), 0, "it may not, and does without");
        }
        setting.switch_to(new);
        for number in 0..2 {
            assert_eq!(setting.locks(options), 1, "transaction {number} on the other server");
        }
        let mut conn = setting.pool.get().expect("a connection");
        assert_eq!(conn.hot_transaction(locks), Ok(0), "the control");
        drop(conn);
        setting.switch_to(old);
    }
    assert_eq!(setting.address.connections(), 1, "the connection stays");
}

#[test]
fn a_lock_is_taken_on_each_server_on_which_the_role_may() {
    a_lock_is_taken_wherever_the_role_may(|builder| builder);
}

#[test]
fn a_lock_is_taken_too_if_sql_comes_before_the_probe() {
    a_lock_is_taken_wherever_the_role_may(|builder| builder.before_probe("SET LOCAL statement_timeout = '60s'"));
}
