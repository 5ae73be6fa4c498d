//! The worst case: on the new server, the old OID of `citext` names a domain over `text`. Nothing fails, and the
//! answer is wrong.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Document, Upgrade, count_titled, documents, insert};
use testbed::{Cluster, PgBouncerConfig};

use crate::pools::{hot_pool, stock_pool};

#[test]
fn a_type_that_took_the_old_oid_gives_no_wrong_answer() {
    let upgrade = collided_upgrade();
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    // `citext`: the case does not matter.
    assert_eq!(count_titled(&mut hot.get().expect("a connection"), "tITLE 7"), Ok(1));
    assert_eq!(count_titled(&mut stock.get().expect("a connection"), "tITLE 7"), Ok(1));

    upgrade.switch_to(upgrade.new).expect("a switch");

    assert_eq!(count_titled(&mut hot.get().expect("a connection"), "tITLE 7"), Ok(1));
    assert_eq!(count_titled(&mut stock.get().expect("a connection"), "tITLE 7"), Ok(0), "the control is right");
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
    let (old, new) = (start(10), start(12));
    let mut on_old = old.client("postgres").expect("the old server");
    on_old.batch_execute("SELECT lo_create(0) FROM generate_series(1, 2000)").expect("2,000 OIDs used up");

    let upgrade = Upgrade::between(old, new, PgBouncerConfig::default()).expect("a pooler");
    for server in [old, new] {
        let url = server.url(&upgrade.database);
        let mut conn = PgConnection::establish(&url).expect("a connection");
        insert(&mut conn, &Document::numbered(7)).expect("a document");
    }
    let mut on_old = old.client(&upgrade.database).expect("the old server");
    let wanted: u32 = on_old.query_one("SELECT 'citext'::regtype::oid", &[]).expect("an OID").get(0);

    let mut on_new = new.client(&upgrade.database).expect("the new server");
    let mut last: u32 = 0;
    while last < wanted - 2 {
        last = on_new.query_one("SELECT lo_create(0)", &[]).expect("an OID").get(0);
    }
    // The domain's array takes the next OID, and the domain the one after.
    on_new.batch_execute("CREATE DOMAIN shadow AS text").expect("a domain");
    let taken: u32 = on_new.query_one("SELECT 'shadow'::regtype::oid", &[]).expect("its OID").get(0);
    assert_eq!(taken, wanted, "the domain should have taken the OID that citext has on the old server");
    upgrade
}
