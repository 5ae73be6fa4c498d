//! The server is replaced: by another version, by a copy, or in turn.

use std::collections::HashSet;

use diesel::connection::CacheSize;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use fixture::{Document, Through, Upgrade, documents, take_in_turn, two_in_turn};
use testbed::{Cluster, PgBouncer, PgBouncerConfig};

use crate::support::diverging::{DATABASE, Kind as TypeKind, copies, diverge, know, pooler, session};
use crate::support::drivers::{Driver, Options, Session};
use crate::support::meaning::is_wrong;
use crate::support::pools::{NOTHING_WRONG, upgrade};
use crate::uses::{label_in_a_plain_transaction, plain, plain_label, verified, verified_label};

const SIZE: u32 = 4;

/// 10 to 12, back, and there again, with a pool that stays open.
fn survives(driver: Driver, max_prepared_statements: u32, cache: CacheSize) {
    let config = PgBouncerConfig { max_prepared_statements, ..PgBouncerConfig::default() };
    let upgrade = Upgrade::start(config).expect("two servers and a pooler");
    let hot = driver.pool(&upgrade.url(), SIZE, Options { cache, ..Options::HOT });
    assert_eq!(hot.on_every_connection(plain), NOTHING_WRONG);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        // Another one each time: on the way back, OIDs that were never cleared would fit again.
        let stock = driver.pool(&upgrade.url(), SIZE, Options { cache, ..Options::STOCK });
        assert_eq!(stock.on_every_connection(plain), NOTHING_WRONG);
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(hot.on_every_connection(plain), NOTHING_WRONG, "on {}", server.major());
        assert_eq!(hot.on_every_connection(verified), NOTHING_WRONG, "on {}", server.major());
        assert_eq!(stock.on_every_connection(plain).len(), SIZE as usize, "the control, on {}", server.major());
    }
}

pub(crate) fn every_connection_survives_each_switch(driver: Driver) {
    survives(driver, 200, CacheSize::Unbounded);
}

pub(crate) fn every_connection_survives_each_switch_without_a_statement_cache(driver: Driver) {
    survives(driver, 200, CacheSize::Disabled);
}

/// Behind a pooler that prepares nothing for its clients, so there is one client, and one connection to the server. The
/// control is in no pool: a pool's ping may fail too, upon which the connection is replaced.
fn survives_alone(driver: Driver, cache: CacheSize) {
    let config = || PgBouncerConfig { max_prepared_statements: 0, default_pool_size: 1, ..Default::default() };
    let upgrade = Upgrade::start(config()).expect("two servers and a pooler");
    let pool = driver.pool(&upgrade.url(), 1, Options { cache, ..Options::HOT });
    assert_eq!(pool.on_every_connection(plain), NOTHING_WRONG);
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(pool.on_every_connection(plain), NOTHING_WRONG, "on {}", server.major());
        assert_eq!(pool.on_every_connection(verified), NOTHING_WRONG, "on {}", server.major());
    }
    drop((pool, upgrade));
    let upgrade = Upgrade::start(config()).expect("two servers and a pooler");
    let mut stock = driver.connect(&upgrade.url(), Options { cache, ..Options::STOCK });
    assert_eq!(plain(&mut stock.session()), Ok(()));
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(plain(&mut stock.session()).is_err(), "the control");
}

/// diesel-async's connection is replaced: statements that tokio-postgres keeps for itself are gone, too.
pub(crate) fn a_connection_survives_if_the_pooler_prepares_nothing(driver: Driver) {
    survives_alone(driver, CacheSize::Unbounded);
}

pub(crate) fn a_connection_survives_if_nobody_prepares_anything(driver: Driver) {
    survives_alone(driver, CacheSize::Disabled);
}

/// Each is another statement, and binds an enum.
fn use_two_hundred(conn: &mut Session<'_>) -> Result<(), String> {
    for number in 0..200_i64 {
        let query = documents::table
            .filter(documents::status.eq(fixture::Status::Draft))
            .select(sql::<BigInt>(&format!("{number} + 0 * count(*)")));
        let found: QueryResult<i64> = conn.get(query);
        if found != Ok(number) {
            return Err(format!("statement {number}: {found:?}"));
        }
    }
    Ok(())
}

pub(crate) fn two_hundred_prepared_statements_survive(driver: Driver) {
    let upgrade = upgrade();
    let hot = driver.pool(&upgrade.url(), 1, Options::HOT);
    let stock = driver.pool(&upgrade.url(), 1, Options::STOCK);
    for pool in [&hot, &stock] {
        assert_eq!(pool.on_every_connection(use_two_hundred), NOTHING_WRONG);
    }
    for server in [upgrade.new, upgrade.old] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(hot.on_every_connection(use_two_hundred), NOTHING_WRONG, "on {}", server.major());
        if server.major() == 12 {
            assert_ne!(stock.on_every_connection(use_two_hundred), NOTHING_WRONG, "the control");
        }
    }
}

pub(crate) fn a_held_connection_survives_in_verified_transactions_and_after_synchronize(driver: Driver) {
    let upgrade = upgrade();
    let mut hot = driver.connect(&upgrade.url(), Options::HOT);
    let mut stock = driver.connect(&upgrade.url(), Options::STOCK);
    assert_eq!(plain(&mut stock.session()), Ok(()));
    for server in [upgrade.new, upgrade.old, upgrade.new] {
        assert_eq!(verified(&mut hot.session()), Ok(()));
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(verified(&mut hot.session()), Ok(()));
    }
    upgrade.switch_to(upgrade.old).expect("a switch");
    hot.session().synchronize().expect("a check");
    assert_eq!(plain(&mut hot.session()), Ok(()));
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert!(verified(&mut stock.session()).is_err(), "the control, in a transaction");
}

pub(crate) fn a_type_that_took_the_old_oid_gives_no_wrong_answer(driver: Driver) {
    // OIDs come from a counter that a server's databases share, so the servers are this test's own.
    let start = |major| &*Box::leak(Box::new(Cluster::start(major).expect("a server")));
    let upgrade = Upgrade::collided(start(10), start(12), PgBouncerConfig::default()).expect("colliding OIDs");
    let count = |conn: &mut Session<'_>| -> QueryResult<i64> {
        let title = Document::numbered(7).title.to_lowercase();
        conn.get(documents::table.filter(documents::title.eq(title)).count())
    };
    let hot = driver.pool(&upgrade.url(), 1, Options::HOT);
    let mut held = driver.connect(&upgrade.url(), Options::HOT);
    let mut stock = driver.connect(&upgrade.url(), Options::STOCK);
    let count_in_pool = || count(&mut hot.get().expect("a connection").session());
    assert_eq!(count_in_pool(), Ok(1));
    assert_eq!(held.session().hot_transaction(count), Ok(1));
    assert_eq!(count(&mut stock.session()), Ok(1));
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(count_in_pool(), Ok(1));
    assert_eq!(held.session().hot_transaction(count), Ok(1));
    assert_eq!(stock.session().hot_transaction(count), Ok(0), "the control is right");
}

fn copies_diverge(driver: Driver, kind: TypeKind) {
    let [first, second]: [Cluster; 2] = copies();
    know(&[&first, &second]);
    let pgbouncer = pooler(&first);
    let url = pgbouncer.url(DATABASE);
    let mut held = driver.connect(&url, Options::HOT);
    let pool = driver.pool(&url, 1, Options::HOT);
    let mut stock = driver.connect(&url, Options::STOCK);
    diverge(&mut [session(&first), session(&second)], kind);
    let mut wrong = || {
        let pooled = pool.on_every_connection(|conn| plain_label(conn).and_then(|()| verified_label(conn)));
        [pooled, verified_label(&mut held.session()).err().into_iter().collect()].concat()
    };
    assert_eq!(wrong(), NOTHING_WRONG);
    assert_eq!(plain_label(&mut stock.session()), Ok(()));
    for server in [&second, &first, &second] {
        pgbouncer.switch(DATABASE, &server.target(DATABASE)).expect("a switch");
        let control = plain_label(&mut stock.session());
        assert_eq!(is_wrong(&control), server.address() == second.address(), "the control: {control:?}");
        assert_eq!(wrong(), NOTHING_WRONG);
        assert_eq!(wrong(), NOTHING_WRONG, "again");
    }
}

pub(crate) fn copies_that_diverge_are_told_apart(driver: Driver) {
    copies_diverge(driver, TypeKind::Enum);
}

/// No snapshot has them: each connection looks them up by itself.
pub(crate) fn copies_with_other_row_types_are_told_apart(driver: Driver) {
    copies_diverge(driver, TypeKind::RowType);
}

/// Each transaction is on the other server.
pub(crate) fn two_servers_in_turn_are_both_right(driver: Driver) {
    let servers: [Cluster; 2] = copies();
    diverge(&mut servers.each_ref().map(session), TypeKind::RowType);
    know(&servers.each_ref());
    let pgbouncer = PgBouncer::start(two_in_turn()).expect("a pooler");
    let _forwarders =
        take_in_turn(&pgbouncer, DATABASE, servers.each_ref(), Through::LoadBalancer).expect("both servers");
    let mut hot = driver.connect(&pgbouncer.url(DATABASE), Options::HOT);
    hot.session().synchronize().expect("a first look");
    for round in 0..4 {
        assert_eq!(verified_label(&mut hot.session()), Ok(()), "round {round}, before any plain statement");
    }
    let mut starts = HashSet::new();
    for round in 0..12 {
        // As documented, plain statements may be wrong: nothing is asked before them.
        let _ = plain_label(&mut hot.session());
        assert_eq!(verified_label(&mut hot.session()), Ok(()), "round {round}");
        let _ = label_in_a_plain_transaction(&mut hot.session());
        assert_eq!(verified_label(&mut hot.session()), Ok(()), "round {round}");
        // Also of one statement more, for another parity.
        for _ in 0..2 {
            let start: QueryResult<String> = hot.session().hot_transaction(|conn| {
                conn.get(diesel::select(sql::<Text>("concat(pg_postmaster_start_time())")))
            });
            starts.insert(start.expect("a start"));
        }
        hot.session().batch_execute("SELECT 1").expect("a statement");
    }
    assert_eq!(starts.len(), 2, "one server answered all");
    let mut stock = driver.connect(&pgbouncer.url(DATABASE), Options::STOCK);
    let control: Vec<_> = (0..6).map(|_| verified_label(&mut stock.session())).collect();
    assert!(control.iter().any(is_wrong), "the control: {control:?}");
}
