//! `Verify::AtMostEvery`, and the call that ends all windows. It concerns the whole process, so these tests run in
//! processes of their own.

use std::time::Duration;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{
    HotUpgradeCustomizer, HotUpgradeManager, TargetSessionAttrs, Verify, stats, verify_at_next_checkout,
};
use log::Level;

use super::servers::{Address, Kind, write};
use crate::support::events::{Counter, logged, record_log};
use crate::support::own_process::in_a_process_of_its_own;
use crate::support::pools::builder;
use crate::support::ways::HotPool;

const HOUR: Verify = Verify::AtMostEvery(Duration::from_secs(3600));

fn pool(address: &Address, size: u32, attrs: TargetSessionAttrs) -> HotPool {
    let manager = HotUpgradeManager::new(address.url()).target_session_attrs(attrs).verify(HOUR);
    builder(size).connection_customizer(Box::new(HotUpgradeCustomizer::new())).build(manager).expect("a pool")
}

#[test]
fn a_window_is_open_until_it_is_ended_for_all_connections() {
    in_a_process_of_its_own(module_path!(), "a_window_is_open_until_it_is_ended_for_all_connections", || {
        record_log();
        let address = Address::of(Kind::Primary);
        let pool = pool(&address, 3, TargetSessionAttrs::ReadWrite);
        let counter = Counter::default();
        let mut conns = [(); 3].map(|()| pool.get().expect("a connection"));
        conns.iter_mut().for_each(|conn| conn.set_instrumentation(counter.clone()));
        drop(conns);
        let queries = || {
            let before = counter.counts().queries;
            drop([(); 3].map(|()| pool.get().expect("a connection")));
            counter.counts().queries - before
        };
        assert_eq!(queries(), 0, "each window is open");
        verify_at_next_checkout();
        assert!(queries() >= 3, "each connection is checked");
        assert_eq!(queries(), 0, "once");

        address.lead_to(Kind::Standby);
        let error = write(&mut pool.get().expect("a window")).expect_err("the control: a standby").to_string();
        assert!(error.contains("read-only transaction"), "{error}");
        verify_at_next_checkout();
        let error = pool.get_timeout(Duration::from_secs(2)).map(drop).expect_err("no server fits").to_string();
        assert!(error.contains(Kind::Standby.description()), "{error}");

        address.lead_to(Kind::Primary);
        let mut conns = [(); 3].map(|()| pool.get().expect("a server that fits"));
        conns.iter_mut().for_each(|conn| assert_eq!(write(conn), Ok(())));
        assert_eq!(logged(Level::Warn, "target_session_attrs").len(), 1, "a single warning");
        let refused = logged(Level::Debug, "(asked for by target_session_attrs)").len();
        assert!(refused >= 2, "the others are noted: {refused}");
        assert_eq!(stats().unfit_connections(), refused as u64 + 1);
    });
}

/// Ends all windows while a check is under way.
#[derive(Debug)]
struct EndsWindows;

impl Instrumentation for EndsWindows {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if matches!(event, InstrumentationEvent::FinishQuery { .. }) {
            verify_at_next_checkout();
        }
    }
}

#[test]
fn a_check_that_is_under_way_does_not_open_a_window() {
    in_a_process_of_its_own(module_path!(), "a_check_that_is_under_way_does_not_open_a_window", || {
        let address = Address::of(Kind::Primary);
        let pool = pool(&address, 1, TargetSessionAttrs::Any);
        let probes = || {
            let before = stats().probes();
            drop(pool.get().expect("a connection"));
            stats().probes() - before
        };
        assert_eq!(probes(), 0);
        pool.get().expect("a connection").set_instrumentation(EndsWindows);
        verify_at_next_checkout();
        for _ in 0..3 {
            assert_eq!(probes(), 1);
        }
    });
}
