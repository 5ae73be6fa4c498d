//! File copies of one server, all known to the process: the same system identifier, the same types, and then DDL that
//! differs. The control is a stock connection, which answers wrongly without an error.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize, track};
use testbed::Cluster;

use crate::support::diverging::{DATABASE, Kind, connect, copies, diverge, diverge_with, know, pooler, session};
use crate::support::meaning::{Label, is_wrong, named_types, plain, verified};
use crate::support::own_process::in_a_process_of_its_own;
use crate::support::ways::Ways;

named_types! {
    Known = "known";
}

fn copies_diverge(kind: Kind) {
    let [first, second] = copies();
    know(&[&first, &second]);
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut [session(&first), session(&second)], kind);
    ways.visit(&pgbouncer, &first, &[&second, &first, &second]);
}

#[test]
fn a_type_that_is_newer_than_the_snapshot_is_another_one_on_a_copy() {
    copies_diverge(Kind::Enum);
}

#[test]
fn a_row_type_is_another_one_on_a_copy() {
    copies_diverge(Kind::RowType);
}

#[test]
fn a_temporary_type_has_the_oid_of_another_one_on_a_copy() {
    let [first, second] = copies();
    know(&[&first, &second]);
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    // The pooler's only server connection: all clients see it.
    let through_the_pooler = connect(&pgbouncer.url(DATABASE));
    diverge_with(
        &mut [through_the_pooler, session(&second)],
        Kind::Enum,
        "CREATE TYPE pg_temp.label AS ENUM ('x')",
    );
    ways.visit(&pgbouncer, &first, &[&second]);
}

#[test]
fn three_copies_take_turns() {
    let servers: [Cluster; 3] = copies();
    let [first, second, third] = servers.each_ref();
    know(&[first, second, third]);
    let pgbouncer = pooler(first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut servers.each_ref().map(session), Kind::RowType);
    ways.visit(&pgbouncer, first, &[second, third, first, third, second]);
}

#[test]
fn copies_that_the_process_has_not_seen_before_diverge() {
    let [first, second] = copies();
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut [session(&first), session(&second)], Kind::RowType);
    ways.visit(&pgbouncer, &first, &[&second, &first]);
}

#[test]
fn a_copy_takes_over_the_address() {
    let [mut first, mut second] = copies();
    know(&[&first, &second]);
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut [session(&first), session(&second)], Kind::RowType);
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    assert_eq!(ways.stock::<Label>(), Ok(()));

    first.stop().expect("a stop");
    second.restart_in_place_of(&first).expect("a start in its place");

    // Two in one: the pooler's connection is lost, and the next one is to the copy.
    let mut probe = connect(&pgbouncer.url(DATABASE));
    diesel::sql_query("SELECT 1").execute(&mut probe).expect("an answer");
    let control = ways.stock::<Label>();
    assert!(is_wrong(&control), "{control:?}");
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
}

#[test]
fn a_type_that_is_not_tracked_is_another_one_on_a_copy() {
    in_a_process_of_its_own(module_path!(), "a_type_that_is_not_tracked_is_another_one_on_a_copy", || {
        track::<Known>();
        let [first, second] = copies();
        let pgbouncer = pooler(&first);
        diverge(&mut [session(&first), session(&second)], Kind::Enum);
        know(&[&first, &second]);
        let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
        ways.visit(&pgbouncer, &first, &[&second, &first, &second]);
    });
}

/// A plain statement in between, on a connection that is not asked there, lets Diesel look the type up on the copy.
/// Another connection notices both moves.
#[test]
fn a_switch_that_is_undone_leaves_no_type_of_the_other_server() {
    let [first, second] = copies();
    let pgbouncer = pooler(&first);
    diverge(&mut [session(&first), session(&second)], Kind::RowType);
    let url = pgbouncer.url(DATABASE);
    let [mut conn, mut other, mut stock] = [(); 3].map(|()| connect(&url));
    for conn in [&mut conn, &mut other] {
        conn.hot_transaction(|_| QueryResult::Ok(())).expect("a first look");
    }
    pgbouncer.switch(DATABASE, &second.target(DATABASE)).expect("a switch");
    synchronize(&mut other).expect("it is noticed");
    for conn in [&mut conn, &mut stock] {
        assert_eq!(plain::<Label>(conn), Ok(()));
    }
    pgbouncer.switch(DATABASE, &first.target(DATABASE)).expect("and back");
    synchronize(&mut other).expect("it is noticed");
    assert!(is_wrong(&plain::<Label>(&mut stock)), "the control");
    assert_eq!(verified::<Label>(&mut conn), Ok(()));
}
