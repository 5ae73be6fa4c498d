//! The primary is demoted, and nothing is cut: connections stay open, and lead to a server that takes no writes. New
//! ones are led to the new primary. The controls go on to fail: a stock pool, and verified transactions of connections
//! of a pool without the setting. Those of a pool with the setting fail once for each connection in a window.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{
    HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool, TargetSessionAttrs, Verify,
};
use testbed::{Cluster, Forwarder};

use super::servers::{checkout_and_write, with_standby, write};
use crate::support::diverging::{DATABASE, pooler, session};
use crate::support::pools::builder;
use crate::support::ways::{HotPool, pool_of};

const SIZE: u32 = 4;
const WRITES: u32 = 20;

/// What went wrong with some writes, each of which checks out.
fn writes<M: ManageConnection<Connection = PgConnection>>(pool: &Pool<M>) -> Vec<String> {
    (0..WRITES).filter_map(|_| checkout_and_write(pool).err()).collect()
}

/// The same with verified transactions. One on a connection within a window may fail once before it is replaced.
fn verified_writes(pool: &HotPool) -> Vec<String> {
    let write = |_| {
        let mut conn = pool.get().map_err(|error| format!("checkout: {error}"))?;
        conn.hot_transaction(write).map_err(|error| error.to_string())
    };
    (0..WRITES).filter_map(|number: u32| write(number).err()).collect()
}

fn count(server: &Cluster) -> i64 {
    let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT count(*) FROM writes)");
    diesel::select(count).get_result(&mut session(server)).expect("a count")
}

/// The same with transactions of the pool.
fn writes_of_pool(pool: &HotPool) -> Vec<String> {
    let write = |_: u32| -> Result<(), HotTransactionError> { pool.hot_transaction(write) };
    (0..WRITES).filter_map(|number| write(number).err()).map(|error| error.to_string()).collect()
}

/// The pools, all connected, on one address.
struct Pools {
    stock: Pool<ConnectionManager<PgConnection>>,
    without: HotPool,
    checked: HotPool,
    in_a_window: HotPool,
    /// For `pool.hot_transaction`: as the three above.
    of_pool: [HotPool; 3],
}

impl Pools {
    fn connect(url: &str) -> Pools {
        let hot = || HotUpgradeManager::new(url);
        let read_write = || hot().target_session_attrs(TargetSessionAttrs::ReadWrite);
        let hour = Verify::AtMostEvery(std::time::Duration::from_secs(3600));
        let pools = Pools {
            stock: builder(SIZE).build(ConnectionManager::new(url)).expect("a stock pool"),
            without: pool_of(SIZE, hot()),
            checked: pool_of(SIZE, read_write()),
            in_a_window: pool_of(SIZE, read_write().verify(hour)),
            of_pool: [hot(), read_write(), read_write().verify(hour)].map(|manager| pool_of(SIZE, manager)),
        };
        assert_eq!(writes(&pools.stock), [""; 0]);
        for pool in [&pools.without, &pools.checked, &pools.in_a_window] {
            assert_eq!(writes(pool), [""; 0]);
            assert_eq!(verified_writes(pool), [""; 0]);
        }
        for pool in &pools.of_pool {
            assert_eq!(writes_of_pool(pool), [""; 0]);
        }
        pools
    }

    fn use_after_demotion(&self, new: &Cluster) {
        let before = count(new);
        assert_eq!(writes(&self.checked), [""; 0]);
        assert_eq!(verified_writes(&self.checked), [""; 0]);
        for pool in &self.of_pool {
            assert_eq!(writes_of_pool(pool), [""; 0], "a pool's transactions");
        }
        assert_eq!(count(new) - before, i64::from(5 * WRITES), "all on the new primary");

        let refused = verified_writes(&self.in_a_window);
        let is_one_a_connection = (1..=SIZE as usize).contains(&refused.len());
        assert!(is_one_a_connection, "the control: a connection fails once, and is replaced: {refused:?}");
        assert!(refused.iter().all(|error| error.contains("target_session_attrs")), "{refused:?}");
        assert_eq!(verified_writes(&self.in_a_window), [""; 0]);

        for failed in [writes(&self.stock), writes(&self.without), verified_writes(&self.without)] {
            assert_eq!(failed.len(), WRITES as usize, "the control: every write");
            assert!(failed.iter().all(|error| error.contains("read-only transaction")), "{failed:?}");
        }
    }
}

fn a_demoted_primary_gets_no_writes(major: u32) {
    let (mut old, mut new) = with_standby(major);
    let pgbouncer = pooler(&old);
    let address = Forwarder::start(pgbouncer.address()).expect("an address");
    let pools = Pools::connect(&pgbouncer.url_at(address.address(), DATABASE));

    new.catch_up_with(&old).expect("a standby that follows");
    old.stop().expect("a stop");
    new.promote().expect("a promotion");
    old.restart_as_standby_of(&new).expect("a demotion");
    // As the connections of the old pooler stay, there is a new one for the new primary.
    let pooler_of_new = pooler(&new);
    address.lead_new_to(pooler_of_new.address());

    pools.use_after_demotion(&new);
}

#[test]
fn a_demoted_primary_of_10_gets_no_writes() {
    a_demoted_primary_gets_no_writes(10);
}

#[test]
fn a_demoted_primary_of_12_gets_no_writes() {
    a_demoted_primary_gets_no_writes(12);
}

#[test]
fn a_demoted_primary_of_18_gets_no_writes() {
    a_demoted_primary_gets_no_writes(18);
}

#[test]
fn an_old_primary_that_is_left_running_read_only_gets_no_writes() {
    let (old, mut new) = with_standby(12);
    let address = Forwarder::start(old.address()).expect("an address");
    let pools = Pools::connect(&old.url_at(address.address(), DATABASE));

    new.catch_up_with(&old).expect("a standby that follows");
    new.promote().expect("a promotion");
    let mut administrator = session(&old);
    administrator.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").expect("a setting");
    administrator.batch_execute("SELECT pg_reload_conf()").expect("a reload");
    crate::support::server::wait_until("the old primary is read-only", || write(&mut session(&old)).is_err());
    address.lead_new_to(new.address());

    pools.use_after_demotion(&new);
}
