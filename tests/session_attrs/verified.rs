//! Verified transactions with options, inside others, and on servers that change under a held connection.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, TestCustomizer};
use diesel_postgres_hot_upgrade::{
    HotTransactionBuilder, HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, TargetSessionAttrs, synchronize,
};

use super::servers::{Address, Kind, with_standby, write};
use crate::support::diverging::{DATABASE, session};
use crate::support::pools::builder;

type Options = fn(HotTransactionBuilder) -> HotTransactionBuilder;

const OPTIONS: [Options; 5] = [
    |builder| builder.read_only(),
    |builder| builder.read_only().serializable().deferrable(),
    |builder| builder.read_write(),
    |builder| builder.read_only().before_probe("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    |builder| builder.before_probe("SET LOCAL search_path = pg_catalog, public; SET TRANSACTION READ ONLY"),
];

#[test]
fn a_transaction_is_judged_by_the_sessions_default_not_by_its_own_options() {
    for (attrs, kind) in [
        (TargetSessionAttrs::ReadWrite, Kind::Primary),
        (TargetSessionAttrs::Primary, Kind::ReadOnlyPrimary),
        (TargetSessionAttrs::ReadOnly, Kind::ReadOnlyPrimary),
    ] {
        let manager = HotUpgradeManager::new(kind.url()).target_session_attrs(attrs);
        let mut conn = manager.connect().expect("a server that fits");
        for options in OPTIONS {
            for _ in 0..2 {
                let result = conn.hot_transaction_with(options, |conn| {
                    // As a savepoint.
                    conn.hot_transaction(|conn| synchronize(conn).map(drop))
                });
                assert_eq!(result, Ok(()), "{attrs}, {kind:?}");
            }
            manager.is_valid(&mut conn).expect("a server that fits");
        }
    }
}

#[test]
fn what_fails_on_a_standby_before_the_check_is_reported_as_a_server_that_does_not_fit() {
    let address = Address::of(Kind::Primary);
    let lock: Options = |builder| builder.before_probe("LOCK TABLE writes IN EXCLUSIVE MODE");
    let serializable: Options = |builder| builder.serializable();
    let manager = |attrs| HotUpgradeManager::new(address.url()).target_session_attrs(attrs);
    for (options, error_of_server) in [(lock, "during recovery"), (serializable, "serializable mode")] {
        address.lead_to(Kind::Primary);
        let mut conn = manager(TargetSessionAttrs::ReadWrite).connect().expect("a server that fits");
        let mut control = manager(TargetSessionAttrs::Any).connect().expect("a connection");
        for conn in [&mut conn, &mut control] {
            conn.hot_transaction_with(options, |_| QueryResult::Ok(())).expect("a primary");
        }
        address.lead_to(Kind::Standby);
        let begin = |conn: &mut PgConnection| {
            conn.hot_transaction_with(options, |_| QueryResult::Ok(())).expect_err("a standby").to_string()
        };
        let (error, of_control) = (begin(&mut conn), begin(&mut control));
        assert!(error.contains(Kind::Standby.description()), "{error}");
        assert!(of_control.contains(error_of_server), "the control: {of_control}");
        assert!(manager(TargetSessionAttrs::ReadWrite).has_broken(&mut conn));
    }
}

#[test]
fn an_open_transaction_stays_usable_if_its_server_does_not_fit() {
    let manager = HotUpgradeManager::new(Kind::Primary.url()).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let mut conn = manager.connect().expect("a server that fits");
    synchronize(&mut conn).expect("a first look");
    conn.batch_execute("SET default_transaction_read_only = on").expect("a setting");
    let answered = conn.transaction(|conn| {
        let error = synchronize(conn).expect_err("it does not fit").to_string();
        assert!(error.contains(Kind::ReadOnlyPrimary.description()), "{error}");
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("7")).get_result::<i32>(conn)
    });
    assert_eq!(answered, Ok(7));
    assert!(manager.has_broken(&mut conn));
}

#[test]
fn a_standby_that_is_promoted_without_a_restart_is_a_primary_at_once() {
    let (primary, mut standby) = with_standby(12);
    let url = standby.url(DATABASE);
    let manager = |attrs| HotUpgradeManager::new(url.as_str()).target_session_attrs(attrs);
    let read_write = manager(TargetSessionAttrs::ReadWrite);
    let (standbys, all) = (manager(TargetSessionAttrs::Standby), manager(TargetSessionAttrs::Any));
    read_write.connect().map(drop).expect_err("a standby");
    let mut conns = [(); 2].map(|()| standbys.connect().expect("a standby"));
    let mut control = all.connect().expect("a connection");
    for conn in &mut conns {
        standbys.is_valid(conn).expect("a standby");
        conn.hot_transaction(|_| QueryResult::Ok(())).expect("a standby");
    }

    standby.catch_up_with(&primary).expect("a standby that follows");
    standby.promote().expect("a promotion");

    let [checked, verified] = &mut conns;
    let error = standbys.is_valid(checked).expect_err("a primary").to_string();
    assert!(error.contains(Kind::Primary.description()), "{error}");
    let error = verified.hot_transaction(write).expect_err("a primary").to_string();
    assert!(error.contains(Kind::Primary.description()), "{error}");
    assert_eq!(control.hot_transaction(write), Ok(()));
    let mut conn = read_write.connect().expect("a primary");
    read_write.is_valid(&mut conn).expect("a primary");
    assert_eq!(conn.hot_transaction(write), Ok(()));
}

#[test]
fn a_failure_after_which_the_server_no_longer_fits_is_the_applications_and_its_connection_is_dropped() {
    let (primary, _standby) = with_standby(12);
    let manager =
        HotUpgradeManager::new(primary.url(DATABASE)).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let mut conn = manager.connect().expect("a server that fits");
    let failed = conn.hot_transaction(|conn| {
        session(&primary)
            .batch_execute("ALTER SYSTEM SET default_transaction_read_only = on")
            .and_then(|()| session(&primary).batch_execute("SELECT pg_reload_conf()"))?;
        crate::support::server::wait_until("the primary is read-only", || write(&mut session(&primary)).is_err());
        conn.batch_execute("SELECT nowhere")
    });
    let error = failed.expect_err("no such column").to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert!(manager.has_broken(&mut conn));
}

#[test]
fn test_transactions_work() {
    let manager = HotUpgradeManager::new(Kind::Primary.url()).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let pool = builder(1)
        .connection_customizer(Box::new(HotUpgradeCustomizer::wrap(Box::new(TestCustomizer))))
        .build(manager)
        .expect("a pool");
    for _ in 0..3 {
        let mut conn = pool.get().expect("a connection");
        assert_eq!(conn.hot_transaction(write), Ok(()));
    }
}
