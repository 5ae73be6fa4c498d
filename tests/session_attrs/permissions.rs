//! Roles that may not ask what the crate asks: which server fits needs no permission.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::ManageConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager, TargetSessionAttrs};
use testbed::Cluster;

use super::servers::Kind;
use crate::support::diverging::{DATABASE, original, session};
use crate::support::events::record_log;
use crate::support::server::wait_until;

const ROLE: &str = "clerk";

fn administer(server: &Cluster, sql: &str) {
    let mut conn = session(server);
    conn.batch_execute("SET default_transaction_read_only = off").expect("a setting");
    conn.batch_execute(sql).expect(sql);
}

/// For the role's sessions: those that are open, and new ones.
fn set_read_only(server: &Cluster, conns: &mut [PgConnection], setting: &str) {
    administer(server, &format!("ALTER SYSTEM SET default_transaction_read_only = {setting}"));
    administer(server, "SELECT pg_reload_conf()");
    let is_set = |conn: &mut PgConnection| {
        let value =
            diesel::dsl::sql::<diesel::sql_types::Text>("current_setting('default_transaction_read_only')");
        diesel::select(value).get_result::<String>(conn).as_deref() == Ok(setting)
    };
    wait_until("sessions have the setting", || is_set(&mut session(server)) && conns.iter_mut().all(is_set));
}

#[test]
fn a_server_that_does_not_fit_is_refused_whatever_a_role_may_ask() {
    // What is warned of once in a process is counted by other tests.
    record_log();
    let server = original(12);
    administer(&server, &format!("CREATE ROLE {ROLE} LOGIN"));
    let url = server.url(DATABASE).replace("postgres@", &format!("{ROLE}@"));
    // After a refusal, a manager pauses.
    let manager = || HotUpgradeManager::new(&url).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let revoked = [
        "SELECT 1",
        "REVOKE EXECUTE ON FUNCTION pg_postmaster_start_time() FROM PUBLIC",
        "REVOKE SELECT ON pg_catalog.pg_type FROM PUBLIC",
        "REVOKE EXECUTE ON FUNCTION current_schemas(boolean) FROM PUBLIC",
    ];
    for revoke in revoked {
        administer(&server, revoke);
        let manager = manager();
        let mut conns = [(); 3].map(|()| manager.connect().expect("a server that fits"));
        for _ in 0..2 {
            for conn in &mut conns {
                manager.is_valid(conn).expect("a server that fits");
                conn.hot_transaction(|_| QueryResult::Ok(())).expect("a server that fits");
            }
            set_read_only(&server, &mut conns, "on");
            let [checked, verified, with_sql] = &mut conns;
            let connected = manager.connect().map(drop).map_err(|error| error.to_string());
            let is_valid = manager.is_valid(checked).map_err(|error| error.to_string());
            let begun = verified.hot_transaction(|_| QueryResult::Ok(())).map_err(|error| error.to_string());
            let begun_with_sql = with_sql.hot_transaction_with(
                |builder| builder.before_probe("SET LOCAL lock_timeout = '9s' -- a comment"),
                |_| QueryResult::Ok(()),
            );
            let begun_with_sql = begun_with_sql.map_err(|error| error.to_string());
            for (refused, what) in
                [(connected, "new"), (is_valid, "checkout"), (begun, "BEGIN"), (begun_with_sql, "with SQL")]
            {
                let error = refused.expect_err(&format!("{revoke}: {what}"));
                assert!(error.contains(Kind::ReadOnlyPrimary.description()), "{revoke}: {what}: {error}");
            }
            set_read_only(&server, &mut conns, "off");
        }
    }

    let manager = manager();
    let mut conns = [(); 2].map(|()| manager.connect().expect("a server that fits"));
    administer(&server, "REVOKE EXECUTE ON FUNCTION pg_is_in_recovery() FROM PUBLIC");
    let [checked, verified] = &mut conns;
    let connected = manager.connect().map(drop).map_err(|error| error.to_string());
    let is_valid = manager.is_valid(checked).map_err(|error| error.to_string());
    let begun = verified.hot_transaction(|_| QueryResult::Ok(())).map_err(|error| error.to_string());
    for refused in [connected, is_valid, begun] {
        let error = refused.expect_err("it can't be known whether the server fits");
        assert!(error.contains("permission denied for function pg_is_in_recovery"), "{error}");
    }
}
