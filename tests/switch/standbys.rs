//! Standbys, and what becomes of them. The control is a stock connection, which answers wrongly without an error.

use diesel::connection::SimpleConnection;
use testbed::Cluster;

use crate::support::diverging::{DATABASE, Kind, diverge, know, original, pooler, session};
use crate::support::meaning::{Label, is_wrong};
use crate::support::ways::Ways;

/// A primary and a standby that follows it.
fn with_standby() -> (Cluster, Cluster) {
    let mut primary = original(12);
    primary.stop().expect("a stop");
    let standby = Cluster::standby_of(&primary).expect("a standby");
    primary.restart().expect("a restart");
    standby.catch_up_with(&primary).expect("a standby that follows");
    (primary, standby)
}

#[test]
fn a_copy_and_a_standby_of_that_copy_take_turns() {
    let mut first = original(12);
    first.stop().expect("a stop");
    let mut copy = Cluster::copy_of(&first).expect("a copy");
    first.restart().expect("a restart");
    copy.stop().expect("a stop");
    let standby = Cluster::standby_of(&copy).expect("a standby of the copy");
    copy.restart().expect("a restart");
    standby.catch_up_with(&copy).expect("a standby that follows");
    know(&[&first, &copy, &standby]);
    let pgbouncer = pooler(&first);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));

    diverge(&mut [session(&first), session(&copy)], Kind::RowType);
    standby.catch_up_with(&copy).expect("a standby that follows");

    ways.visit(&pgbouncer, &first, &[&standby, &first, &copy, &standby, &first]);
}

fn a_promoted_standby_diverges(with_restart: bool) {
    let (primary, mut standby) = with_standby();
    know(&[&primary, &standby]);
    let pgbouncer = pooler(&primary);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    standby.promote().expect("a promotion");
    if with_restart {
        standby.restart().expect("a restart");
        know(&[&standby]);
    }
    diverge(&mut [session(&primary), session(&standby)], Kind::Enum);
    ways.visit(&pgbouncer, &primary, &[&standby, &primary, &standby]);
}

#[test]
fn a_standby_is_promoted_without_a_restart_and_diverges() {
    a_promoted_standby_diverges(false);
}

#[test]
fn a_standby_is_promoted_and_restarted_and_diverges() {
    a_promoted_standby_diverges(true);
}

#[test]
fn a_row_type_that_was_used_on_a_standby_is_replaced_once_it_is_promoted() {
    let (primary, mut standby) = with_standby();
    know(&[&primary, &standby]);
    let pgbouncer = pooler(&standby);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    let create = "CREATE TABLE label (); CREATE TABLE label_new ()";
    session(&primary).batch_execute(create).expect("row types");
    standby.catch_up_with(&primary).expect("a standby that follows");
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    assert_eq!(ways.stock::<Label>(), Ok(()));

    standby.promote().expect("a promotion");
    let replace = "ALTER TABLE label RENAME TO label_old; ALTER TABLE label_new RENAME TO label";
    session(&standby).batch_execute(replace).expect("another type of that name");

    let control = ways.stock::<Label>();
    assert!(is_wrong(&control), "{control:?}");
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
}
