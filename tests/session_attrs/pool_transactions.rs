//! A server that no longer fits is noticed only after a statement of a pool's transaction has failed there. The control
//! is `conn.hot_transaction`, whose failure is the application's.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{
    HotPoolTransactionBuilder, HotTransactionError, HotUpgradeExt, HotUpgradeManager, HotUpgradePool,
    TargetSessionAttrs, synchronize,
};
use testbed::{Cluster, Forwarder};

use super::servers::{with_standby, write};
use crate::support::diverging::{DATABASE, original, session};
use crate::support::pools::builder;
use crate::support::server::wait_until;

/// It fails on a primary.
fn resume_replay(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT pg_wal_replay_resume()")
}

#[test]
fn a_transaction_that_fails_because_its_standby_was_promoted_runs_again_on_another_standby() {
    let (mut primary, mut standby) = with_standby(12);
    primary.stop().expect("a stop");
    let other = Cluster::standby_of(&primary).expect("a standby");
    primary.restart().expect("a restart");
    let address = Forwarder::start(standby.address()).expect("an address");
    let url = standby.url_at(address.address(), DATABASE);
    let manager = || HotUpgradeManager::new(url.as_str()).target_session_attrs(TargetSessionAttrs::Standby);
    let pool = builder(2).build(manager()).expect("a pool");
    let mut conn = manager().connect().expect("a standby");

    let mut runs = 0;
    let mut result: Result<(), HotTransactionError> = Ok(());
    let control = conn.hot_transaction(|conn| {
        result = pool.hot_transaction(|conn| {
            runs += 1;
            if runs == 1 {
                standby.promote().expect("a promotion");
                address.lead_new_to(other.address());
            }
            resume_replay(conn)
        });
        resume_replay(conn)
    });
    assert!(result.is_ok(), "{result:?} after {runs} runs");
    assert_eq!(runs, 2);
    let error = control.expect_err("the control").to_string();
    assert!(error.contains("recovery is not in progress"), "{error}");
    assert!(manager().has_broken(&mut conn), "its pool would drop it");
}

/// Two servers of which the first one becomes read-only.
struct Setting {
    old: Cluster,
    new: Cluster,
    address: Forwarder,
}

impl Setting {
    fn start() -> Self {
        let [old, new] = [(); 2].map(|()| original(12));
        for server in [&old, &new] {
            session(server).batch_execute("CREATE TABLE writes (n int)").expect("a table");
        }
        let address = Forwarder::start(old.address()).expect("an address");
        Setting { old, new, address }
    }

    fn manager(&self) -> HotUpgradeManager {
        let url = self.old.url_at(self.address.address(), DATABASE);
        HotUpgradeManager::new(url).target_session_attrs(TargetSessionAttrs::ReadWrite)
    }

    fn pool(&self) -> Pool<HotUpgradeManager> {
        builder(2).build(self.manager()).expect("a pool")
    }

    fn demote(&self) {
        let mut administrator = session(&self.old);
        administrator.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").expect("a setting");
        administrator.batch_execute("SELECT pg_reload_conf()").expect("a reload");
        wait_until("the server is read-only", || write(&mut session(&self.old)).is_err());
        self.address.lead_new_to(self.new.address());
    }
}

/// It fails on the server that is read-only.
fn needs_new(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT 1 / (current_setting('default_transaction_read_only') = 'off')::int")
}

#[test]
fn a_transaction_that_only_reads_moves_on_too() {
    let setting = Setting::start();
    let (pool, mut conn) = (setting.pool(), setting.manager().connect().expect("a server that fits"));
    let read_only = |builder: HotPoolTransactionBuilder| builder.read_only();
    let mut runs = 0;
    let mut result: Result<(), HotTransactionError> = Ok(());
    let control = conn.hot_transaction_with(
        |builder| builder.read_only(),
        |conn| {
            result = pool.hot_transaction_with(read_only, |conn| {
                runs += 1;
                if runs == 1 {
                    setting.demote();
                }
                needs_new(conn)
            });
            needs_new(conn)
        },
    );
    assert!(result.is_ok(), "{result:?} after {runs} runs");
    assert_eq!(runs, 2);
    assert!(control.is_err(), "the control");
}

#[test]
fn a_closure_that_has_committed_by_itself_does_not_run_again() {
    let setting = Setting::start();
    let pool = setting.pool();
    let mut runs = 0;
    let result: Result<(), HotTransactionError> = pool.hot_transaction(|conn| {
        runs += 1;
        write(conn)?;
        conn.batch_execute("COMMIT")?;
        if runs == 1 {
            setting.demote();
        }
        synchronize(conn).map(drop)
    });
    assert!(matches!(result, Err(HotTransactionError::Application(_))), "{result:?}");
    assert_eq!(runs, 1);
    let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT count(*) FROM writes)");
    assert_eq!(diesel::select(count).get_result::<i64>(&mut session(&setting.old)), Ok(1));
}

#[test]
fn an_error_of_the_application_stays_one_on_the_server_that_fits() {
    let setting = Setting::start();
    let pool = setting.pool();
    let mut runs = 0;
    let result: Result<(), HotTransactionError> = pool.hot_transaction_with(
        |builder| builder.read_only(),
        |conn| {
            runs += 1;
            if runs == 1 {
                setting.demote();
            }
            conn.batch_execute("SELECT nowhere")
        },
    );
    let Err(HotTransactionError::Application(error)) = result else {
        panic!("{result:?}");
    };
    assert!(error.to_string().contains("nowhere"), "{error}");
    // A new connection's caches are suspected once.
    assert!((2..=3).contains(&runs), "{runs} runs on two servers");
}
