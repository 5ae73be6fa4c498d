//! Each value on each kind of server, for new connections, checkouts and verified transactions. libpq is the reference.

use diesel::prelude::*;
use diesel::r2d2::ManageConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager, Outcome, TargetSessionAttrs, synchronize};

use super::servers::{ALL, Address, KINDS, Kind};

/// A refusal says what was asked for and what the server is; if the server fits, there must be none.
fn assert_verdict(result: Result<(), String>, attrs: TargetSessionAttrs, kind: Kind, where_: &str) {
    match result {
        Ok(()) => assert!(kind.fits(attrs), "{where_}: {attrs} accepted {kind:?}"),
        Err(error) => {
            assert!(!kind.fits(attrs), "{where_}: {attrs} refused {kind:?}: {error}");
            let asked = format!("no connection to a server that is {attrs} (asked for by target_session_attrs): ");
            assert!(error.starts_with(&asked) && error.contains(kind.description()), "{where_}: {error}");
        }
    }
}

#[test]
fn a_new_connection_is_accepted_as_libpq_accepts_it() {
    for kind in KINDS {
        for attrs in ALL {
            let by_libpq = PgConnection::establish(&format!("{}?target_session_attrs={attrs}", kind.url()));
            assert_eq!(by_libpq.is_ok(), kind.fits(attrs), "libpq: {attrs}, {kind:?}");
            let manager = HotUpgradeManager::new(kind.url()).target_session_attrs(attrs);
            let connected = manager.connect().map(drop).map_err(|error| error.to_string());
            assert_verdict(connected, attrs, kind, "connect");
        }
    }
}

#[test]
fn an_open_connection_is_checked_at_checkout_and_with_begin() {
    let address = Address::of(Kind::Primary);
    for attrs in ALL {
        for from in KINDS.into_iter().filter(|kind| kind.fits(attrs)) {
            for to in KINDS {
                address.lead_to(from);
                let manager = HotUpgradeManager::new(address.url()).target_session_attrs(attrs);
                let mut conns = [(); 3].map(|()| manager.connect().expect("a server that fits"));
                let [checked, verified, with_sql] = &mut conns;
                for conn in [&mut *checked, &mut *verified, &mut *with_sql] {
                    assert!(manager.is_valid(conn).is_ok() && !manager.has_broken(conn), "{attrs}, {from:?}");
                    conn.hot_transaction(|_| QueryResult::Ok(())).expect("a server that fits");
                }
                address.lead_to(to);
                let is_valid = manager.is_valid(checked).map_err(|error| error.to_string());
                assert_verdict(is_valid, attrs, to, "checkout");

                let mut runs = 0;
                let closure = |_: &mut PgConnection| {
                    runs += 1;
                    QueryResult::Ok(())
                };
                let begun = verified.hot_transaction(closure).map_err(|error| error.to_string());
                assert_verdict(begun, attrs, to, "BEGIN");
                assert_eq!(runs, i32::from(to.fits(attrs)), "the closure");

                let begun = with_sql.hot_transaction_with(
                    |builder| builder.before_probe("SET LOCAL lock_timeout = '9s' -- a comment"),
                    |_| QueryResult::Ok(()),
                );
                assert_verdict(begun.map_err(|error| error.to_string()), attrs, to, "BEGIN with SQL");

                let dropped = [verified, with_sql].map(|conn| manager.has_broken(conn));
                assert_eq!(dropped, [!to.fits(attrs); 2], "what does not fit is dropped when it is given back");
            }
        }
    }
}

#[test]
fn a_server_that_fits_again_is_no_change_of_types() {
    let address = Address::of(Kind::Primary);
    let manager = HotUpgradeManager::new(address.url()).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let mut conn = manager.connect().expect("a server that fits");
    synchronize(&mut conn).expect("a first look");
    address.lead_to(Kind::Standby);
    for _ in 0..2 {
        let error = synchronize(&mut conn).expect_err("it does not fit").to_string();
        assert!(error.contains("target_session_attrs"), "{error}");
    }
    address.lead_to(Kind::Primary);
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert!(manager.has_broken(&mut conn), "it was seen on a server that does not fit");
    conn.hot_transaction(|_| QueryResult::Ok(())).expect("it fits");
    assert!(!manager.has_broken(&mut conn), "a transaction has begun since");
}

#[test]
fn interchangeable_replicas_are_told_apart() {
    let address = Address::of(Kind::Primary);
    for (attrs, fits, unfit) in [
        (TargetSessionAttrs::ReadWrite, Kind::Primary, Kind::Standby),
        (TargetSessionAttrs::Standby, Kind::Standby, Kind::Primary),
    ] {
        let any = HotUpgradeManager::new(address.url()).interchangeable_replicas(true);
        let manager =
            HotUpgradeManager::new(address.url()).interchangeable_replicas(true).target_session_attrs(attrs);
        address.lead_to(fits);
        let mut conn = manager.connect().expect("a server that fits");
        let mut control = any.connect().expect("a connection");
        for conn in [&mut conn, &mut control] {
            synchronize(conn).expect("a first look");
            let outcome = synchronize(conn);
            assert!(matches!(outcome, Ok(Outcome::Unchanged)), "{attrs}: {outcome:?}");
        }
        address.lead_to(unfit);
        assert!(matches!(synchronize(&mut control), Ok(Outcome::Unchanged)), "the control: one server");
        assert_verdict(synchronize(&mut conn).map(drop).map_err(|e| e.to_string()), attrs, unfit, "checkout");
        let begun = conn.hot_transaction(|_| QueryResult::Ok(()));
        assert_verdict(begun.map_err(|error| error.to_string()), attrs, unfit, "BEGIN");
        address.lead_to(fits);
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    }
}
