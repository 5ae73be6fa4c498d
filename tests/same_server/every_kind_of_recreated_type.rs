//! Every kind of type, all of them created anew on one server.

use fixture::Upgrade;
use testbed::{Cluster, PgBouncerConfig};

use crate::support::drivers::{Driver, Options};
use crate::support::kinds::list::{DOMAINS, EVERYWHERE, FROM_14};
use crate::support::kinds::uses::{Use, create, in_arrays, plain};
use crate::support::pools::upgrade;

/// Each use before and after all types were created anew; each by a stock pool that has to fail. Past PgBouncer, whose
/// own prepared statements are another matter.
fn survives_on_one_server(driver: Driver, upgrade: &Upgrade, uses: &[Use]) {
    let server = upgrade.old;
    create(upgrade, server, 10);
    let url = server.url(&upgrade.database);
    let (hot, stock) = (driver.pool(&url, 1, Options::HOT), driver.pool(&url, 1, Options::STOCK));
    for Use { name, run, .. } in uses {
        assert_eq!(run(&mut hot.get().expect("a connection").session()), Ok(()), "{name}");
        assert_eq!(run(&mut stock.get().expect("a connection").session()), Ok(()), "{name}, stock");
    }

    let drop_all = "DROP SCHEMA kinds CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
        CREATE TABLE documents (); CREATE EXTENSION hstore; CREATE EXTENSION citext";
    upgrade.run_on(server, drop_all).expect("no types");
    create(upgrade, server, 10);

    for Use { name, run, .. } in uses {
        assert_eq!(run(&mut hot.get().expect("a connection").session()), Ok(()), "{name}, created anew");
        run(&mut stock.get().expect("a connection").session()).expect_err(name);
    }
}

fn every_kind_is_created_anew_on_10(driver: Driver) {
    let mut uses: Vec<_> = EVERYWHERE.iter().chain(DOMAINS).map(plain).collect();
    uses.extend(EVERYWHERE.iter().map(in_arrays));
    survives_on_one_server(driver, &upgrade(), &uses);
}

#[test]
fn every_kind_of_type_is_created_anew_on_10() {
    every_kind_is_created_anew_on_10(Driver::Blocking);
}

#[test]
fn every_kind_of_type_is_created_anew_on_10_with_diesel_async() {
    every_kind_is_created_anew_on_10(Driver::Async);
}

fn every_kind_is_created_anew_on_14(driver: Driver) {
    let config = PgBouncerConfig::default();
    let upgrade =
        Upgrade::between(Cluster::shared(14), Cluster::shared(17), config).expect("two servers and a pooler");
    let kinds = || EVERYWHERE.iter().chain(DOMAINS).chain(FROM_14);
    let uses: Vec<_> = kinds().map(plain).chain(kinds().map(in_arrays)).collect();
    survives_on_one_server(driver, &upgrade, &uses);
}

#[test]
fn multiranges_and_arrays_of_domains_are_created_anew_on_14() {
    every_kind_is_created_anew_on_14(Driver::Blocking);
}

#[test]
fn multiranges_and_arrays_of_domains_are_created_anew_on_14_with_diesel_async() {
    every_kind_is_created_anew_on_14(Driver::Async);
}
