//! File copies of one server, all known to the process: the same system identifier, the same types, and then DDL that
//! differs. The control is a stock connection, which answers wrongly without an error.

use diesel::prelude::*;
use testbed::{Cluster, PgBouncer, PgBouncerConfig};

use crate::support::diverging::{DATABASE, Kind, connect, copies, diverge, diverge_with, know, session};
use crate::support::meaning::{Label, is_wrong};
use crate::support::ways::Ways;

/// A pooler with one server connection, whose clients find a server soon after it is back.
pub(crate) fn pooler(server: &Cluster) -> PgBouncer {
    let extra = vec![("server_login_retry".to_owned(), "0.1".to_owned())];
    let config = PgBouncerConfig { default_pool_size: 1, extra, ..PgBouncerConfig::default() };
    let pgbouncer = PgBouncer::start(config).expect("a pooler");
    pgbouncer.route(DATABASE, &server.target(DATABASE)).expect("a route");
    pgbouncer
}

/// Switches from one to the next. Each time all ways are right, and the stock connection is wrong unless it is back on
/// the first.
pub(crate) fn visit(pgbouncer: &PgBouncer, ways: &mut Ways, first: &Cluster, next: &[&Cluster]) {
    assert_eq!(ways.wrong::<Label>(), [""; 0], "before the switch");
    assert_eq!(ways.stock::<Label>(), Ok(()), "before the switch");
    for (number, server) in next.iter().enumerate() {
        pgbouncer.switch(DATABASE, &server.target(DATABASE)).expect("a switch");
        let control = ways.stock::<Label>();
        assert_eq!(is_wrong(&control), server.address() != first.address(), "{control:?}");
        assert_eq!(ways.wrong::<Label>(), [""; 0], "after switch {number}");
        assert_eq!(ways.wrong::<Label>(), [""; 0], "again after switch {number}");
    }
}

fn copies_diverge(kind: Kind) {
    let [first, second] = copies();
    know(&[&first, &second]);
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut [session(&first), session(&second)], kind);
    visit(&pgbouncer, &mut ways, &first, &[&second, &first, &second]);
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
    visit(&pgbouncer, &mut ways, &first, &[&second]);
}

#[test]
fn three_copies_take_turns() {
    let servers: [Cluster; 3] = copies();
    let [first, second, third] = servers.each_ref();
    know(&[first, second, third]);
    let pgbouncer = pooler(first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut servers.each_ref().map(session), Kind::RowType);
    visit(&pgbouncer, &mut ways, first, &[second, third, first, third, second]);
}

#[test]
fn copies_that_the_process_has_not_seen_before_diverge() {
    let [first, second] = copies();
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    diverge(&mut [session(&first), session(&second)], Kind::RowType);
    visit(&pgbouncer, &mut ways, &first, &[&second, &first]);
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
