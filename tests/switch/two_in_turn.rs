//! Two copies of one server that take turns behind one address. A plain statement lets Diesel look a type up on one,
//! and the next transaction is on the other.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::HasSqlType;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};
use fixture::{Through, start_time, take_in_turn, two_in_turn};
use testbed::{Cluster, Forwarder, PgBouncer};

use crate::support::diverging::{DATABASE, Kind, connect, copies, diverge, know, oid_of, session};
use crate::support::meaning::{Label, Named, Verdict, in_transaction, is_wrong, named_types, plain, verified};

named_types! {
    First = "one_1";
    Second = "one_2";
    Third = "one_3";
    Fourth = "one_4";
    Fifth = "one_5";
    Sixth = "one_6";
}

/// Names for the types, so that each is used for the first time once.
const NAMES: [&str; 6] = [First::NAME, Second::NAME, Third::NAME, Fourth::NAME, Fifth::NAME, Sixth::NAME];

/// Two servers on which each of the names is the row type of a table, whose OID is another table's on the other one.
fn servers() -> [Cluster; 2] {
    let servers: [Cluster; 2] = copies();
    let [mut first, mut second] = servers.each_ref().map(session);
    for name in NAMES {
        let other = format!("other_{name}");
        // Both draw the same OIDs.
        first.batch_execute(&format!("CREATE TABLE {name} (); CREATE TABLE {other} ()")).expect("tables");
        second.batch_execute(&format!("CREATE TABLE {other} (); CREATE TABLE {name} ()")).expect("tables");
        assert_eq!(oid_of(&mut first, name), oid_of(&mut second, &other));
        assert_eq!(oid_of(&mut first, &other), oid_of(&mut second, name));
    }
    diverge(&mut [first, second], Kind::RowType);
    servers
}

fn in_turn(servers: &[Cluster; 2], through: Through) -> (PgBouncer, Vec<Forwarder>) {
    let pgbouncer = PgBouncer::start(two_in_turn()).expect("a pooler");
    let forwarders = take_in_turn(&pgbouncer, DATABASE, servers.each_ref(), through).expect("both servers");
    (pgbouncer, forwarders)
}

/// The first use of a type is a plain statement; then verified transactions follow, on either server.
fn mixed<ST: Named>(conn: &mut PgConnection) -> Vec<Verdict>
where
    Pg: HasSqlType<ST>,
{
    // As documented, this one may be wrong: nothing is asked before it.
    let _ = plain::<ST>(conn);
    let first = verified::<ST>(conn);
    let _ = in_transaction::<ST>(conn);
    vec![first, verified::<ST>(conn), verified::<ST>(conn)]
}

fn verified_transactions_are_right(through: Through) {
    let servers = servers();
    know(&servers.each_ref());
    let (pgbouncer, _forwarders) = in_turn(&servers, through);
    let mut conn = connect(&pgbouncer.url(DATABASE));
    synchronize(&mut conn).expect("a first look");
    let mut starts = HashSet::new();
    for round in 0..3 {
        for ask in
            [mixed::<First>, mixed::<Second>, mixed::<Third>, mixed::<Fourth>, mixed::<Fifth>, mixed::<Sixth>]
        {
            assert_eq!(ask(&mut conn), [Ok(()), Ok(()), Ok(())], "round {round}");
            // Another parity.
            starts.insert(conn.hot_transaction(start_time).expect("a start"));
        }
    }
    assert_eq!(starts.len(), 2, "one server answered all");

    let mut stock = connect(&pgbouncer.url(DATABASE));
    let control: Vec<_> = (0..6).map(|_| in_transaction::<Label>(&mut stock)).collect();
    assert!(control.iter().any(is_wrong), "{control:?}");
}

#[test]
fn verified_transactions_are_right_among_plain_statements_if_two_hosts_take_turns() {
    verified_transactions_are_right(Through::Hosts);
}

#[test]
fn verified_transactions_are_right_among_plain_statements_behind_a_load_balancer() {
    verified_transactions_are_right(Through::LoadBalancer);
}
