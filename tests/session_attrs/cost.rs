//! Round trips, counted on the wire.

use std::time::Duration;

use diesel::prelude::*;
use diesel::r2d2::ManageConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager, TargetSessionAttrs, Verify};
use testbed::Forwarder;

use super::servers::{Address, Kind, write};
use crate::support::round_trips::round_trips;

#[test]
fn checkouts_and_verified_transactions_cost_what_they_cost_without() {
    let address = Address::of(Kind::Primary);
    let forwarder = Forwarder::start(address.pgbouncer.address()).expect("a forwarder");
    let url = address.pgbouncer.url_at(forwarder.address(), "app");
    let measured =
        [TargetSessionAttrs::Any, TargetSessionAttrs::ReadWrite, TargetSessionAttrs::Primary].map(|attrs| {
            let manager = || HotUpgradeManager::new(&url).target_session_attrs(attrs);
            let windowed = manager().verify(Verify::AtMostEvery(Duration::from_secs(3600)));
            let manager = manager();
            let before = forwarder.round_trips();
            let mut conn = manager.connect().expect("a connection");
            let new = forwarder.round_trips() - before;
            let checkout = |conn: &mut PgConnection| manager.is_valid(conn).map_err(|error| panic!("{error}"));
            let checkout = round_trips(&forwarder, &mut conn, checkout);
            let verified = round_trips(&forwarder, &mut conn, |conn| conn.hot_transaction(write));
            let read_only = round_trips(&forwarder, &mut conn, |conn| {
                conn.hot_transaction_with(|builder| builder.read_only(), |_| Ok(()))
            });
            let before_probe = round_trips(&forwarder, &mut conn, |conn| {
                conn.hot_transaction_with(|builder| builder.before_probe("SELECT 1"), |_| Ok(()))
            });
            manager.is_valid(&mut conn).expect("a check");
            let before = forwarder.round_trips();
            windowed.is_valid(&mut conn).expect("within the window");
            let in_a_window = forwarder.round_trips() - before;
            // It stays open: its farewell would be counted with the next one.
            (conn, new, [checkout, verified, read_only, before_probe, in_a_window])
        });
    let [(_, new, without), rest @ ..] = &measured;
    assert_eq!(without, &[1, 3, 2, without[3], 0]);
    for (_, new_with, with) in rest {
        assert_eq!((*new_with, with), (new + 1, without));
    }
}

#[test]
fn a_connection_that_does_not_fit_costs_one_round_trip_more() {
    let address = Address::of(Kind::Primary);
    let forwarder = Forwarder::start(address.pgbouncer.address()).expect("a forwarder");
    let url = address.pgbouncer.url_at(forwarder.address(), "app");
    let manager = HotUpgradeManager::new(&url).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let mut conns = [(); 2].map(|()| manager.connect().expect("a connection"));
    for conn in &mut conns {
        manager.is_valid(conn).expect("a server that fits");
        manager.is_valid(conn).expect("a server that fits");
    }
    address.lead_to(Kind::Standby);
    let [checked, verified] = &mut conns;
    let before = forwarder.round_trips();
    manager.is_valid(checked).expect_err("a standby");
    // The check, and who answers, which is prepared there.
    assert!(forwarder.round_trips() - before <= 3, "{}", forwarder.round_trips() - before);
    let before = forwarder.round_trips();
    verified.hot_transaction(write).expect_err("a standby");
    assert_eq!(forwarder.round_trips() - before, 2, "BEGIN, ROLLBACK");
}
