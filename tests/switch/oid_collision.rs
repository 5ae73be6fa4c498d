//! The worst case: on the new server, the old OID of `citext` names a domain over `text`. Nothing fails, and the
//! answer is wrong.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Upgrade, count_known, count_titled, documents};
use testbed::{Cluster, PgBouncerConfig};

use crate::support::pools::{hot_pool, stock_pool};

#[test]
fn a_type_that_took_the_old_oid_gives_no_wrong_answer() {
    let upgrade = collided_upgrade();
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    // Asked in another case, which does not matter to `citext`.
    assert_eq!(count_known(&mut hot.get().expect("a connection")), Ok(1));
    assert_eq!(count_known(&mut stock.get().expect("a connection")), Ok(1));

    upgrade.switch_to(upgrade.new).expect("a switch");

    assert_eq!(count_known(&mut hot.get().expect("a connection")), Ok(1));
    assert_eq!(count_known(&mut stock.get().expect("a connection")), Ok(0), "the control is right");
}

#[test]
fn on_a_held_connection_only_a_verified_transaction_gives_no_wrong_answer() {
    let upgrade = collided_upgrade();
    for server in [upgrade.old, upgrade.new] {
        // An operator and a cast that take anything for right, as somebody may have defined them.
        upgrade
            .run_on(
                server,
                "CREATE FUNCTION lenient_number(text) RETURNS int4 LANGUAGE sql IMMUTABLE AS 'SELECT 0';
                 CREATE CAST (text AS int4) WITH FUNCTION lenient_number(text) AS ASSIGNMENT;
                 CREATE FUNCTION lenient_equal(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
                 CREATE OPERATOR public.= (PROCEDURE = lenient_equal, LEFTARG = text, RIGHTARG = text)",
            )
            .expect("a cast and an operator");
    }
    let mut hot = PgConnection::establish(&upgrade.url()).expect("a connection");
    assert_eq!(hot.hot_transaction(|conn| count_titled(conn, "tITLE 7")), Ok(1));

    upgrade.switch_to(upgrade.new).expect("a switch");

    // Nothing fails, so there is nothing to heal.
    let titled = || documents::table.filter(documents::title.eq("tITLE 7")).count();
    assert_eq!(hot.hot_query(titled()).get_result(), Ok(0_i64), "it promises nothing else");
    assert_eq!(hot.transaction(|conn| count_titled(conn, "tITLE 7")), Ok(0), "the control is right");
    assert_eq!(hot.hot_transaction(|conn| count_titled(conn, "tITLE 7")), Ok(1));
}

/// Two servers of this test's own, since OIDs come from a counter that a server's databases share.
fn collided_upgrade() -> Upgrade {
    let start = |major| &*Box::leak(Box::new(Cluster::start(major).expect("a server")));
    Upgrade::collided(start(10), start(12), PgBouncerConfig::default()).expect("servers whose OIDs collide")
}
