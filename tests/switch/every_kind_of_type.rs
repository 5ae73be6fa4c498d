//! A switch while the pool is open, for every kind of type.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use fixture::Upgrade;
use testbed::{Cluster, PgBouncerConfig};

use crate::support::drivers::{Driver, Kind, Options, Session};
use crate::support::kinds::list::{DOMAINS, EVERYWHERE, FROM_14, mood};
use crate::support::kinds::sql_types::{Isbn, Wire};
use crate::support::kinds::uses::{Use, arrays, create, plain};
use crate::support::pools::{hot_pool, stock_pool, upgrade};

/// Each use before the switch, after it, and on the way back; each by a stock pool that has to fail.
fn survives(driver: Driver, upgrade: &Upgrade, uses: &[Use]) {
    create(upgrade, upgrade.old, 10);
    create(upgrade, upgrade.new, 700);
    let hot = driver.pool(&upgrade.url(), 1, Options::HOT);
    for Use { name, run, .. } in uses {
        assert_eq!(run(&mut hot.get().expect("a connection").session()), Ok(()), "{name}, before the switch");
    }
    for server in [upgrade.new, upgrade.old] {
        let stock = driver.pool(&upgrade.url(), 1, Options::STOCK);
        for Use { name, run, .. } in uses {
            assert_eq!(run(&mut stock.get().expect("a connection").session()), Ok(()), "{name}, stock");
        }

        upgrade.switch_to(server).expect("a switch");

        for Use { name, run, breaks_stock } in uses {
            let verdict = run(&mut hot.get().expect("a connection").session());
            assert_eq!(verdict, Ok(()), "{name}, on {}", server.major());
            let control = run(&mut stock.get().expect("a connection").session());
            assert_eq!(control.is_err(), *breaks_stock, "{name}, the control on {}: {control:?}", server.major());
        }
    }
}

fn every_kind_survives_from_10_to_12(driver: Driver) {
    let upgrade = upgrade();
    let mut uses: Vec<_> = EVERYWHERE.iter().chain(DOMAINS).map(plain).collect();
    uses.extend(EVERYWHERE.iter().flat_map(arrays(driver)));
    survives(driver, &upgrade, &uses);
}

#[test]
fn every_kind_of_type_survives_a_switch_from_10_to_12() {
    every_kind_survives_from_10_to_12(Driver::Blocking);
}

#[test]
fn every_kind_of_type_survives_a_switch_from_10_to_12_with_diesel_async() {
    every_kind_survives_from_10_to_12(Driver::Async);
}

fn every_kind_survives_from_14_to_17(driver: Driver) {
    let config = PgBouncerConfig::default();
    let upgrade =
        Upgrade::between(Cluster::shared(14), Cluster::shared(17), config).expect("two servers and a pooler");
    let kinds = || EVERYWHERE.iter().chain(DOMAINS).chain(FROM_14);
    let uses: Vec<_> = kinds().map(plain).chain(kinds().flat_map(arrays(driver))).collect();
    survives(driver, &upgrade, &uses);
}

#[test]
fn multiranges_and_arrays_of_domains_survive_a_switch_from_14_to_17() {
    every_kind_survives_from_14_to_17(Driver::Blocking);
}

#[test]
fn multiranges_and_arrays_of_domains_survive_a_switch_from_14_to_17_with_diesel_async() {
    every_kind_survives_from_14_to_17(Driver::Async);
}

/// The types of `isn` have no binary form in any version, and Diesel knows no other: nothing here could bind one.
#[test]
fn a_type_without_a_binary_form_is_refused_by_its_name_and_breaks_nothing_else() {
    let upgrade = upgrade();
    create(&upgrade, upgrade.old, 10);
    create(&upgrade, upgrade.new, 700);
    let bind = |conn: &mut PgConnection| {
        let isbn = Wire::<Isbn>::new("0-393-04002-X").into_sql::<Isbn>();
        diesel::select(isbn.is_not_null()).get_result::<bool>(conn).map_err(|error| error.to_string())
    };
    let refused = Err("no binary input function available for type isbn".to_owned());
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    for server in [upgrade.old, upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(bind(&mut hot.get().expect("a connection")), refused, "on {}", server.major());
        let mut conn = hot.get().expect("a connection");
        assert_eq!((mood::KIND.plain)(&mut Session::Blocking(&mut conn, Kind::Hot)), Ok(()));
        if server.major() == upgrade.old.major() {
            assert_eq!(bind(&mut stock.get().expect("a connection")), refused);
        }
    }
    assert_ne!(bind(&mut stock.get().expect("a connection")), refused, "the control takes it for another type");
}
