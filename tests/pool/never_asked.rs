//! A connection that this crate has not seen before its first statement failed: of a stock pool, say. The control is
//! the same statement by stock Diesel.

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_postgres_hot_upgrade::HotUpgradeExt;
use fixture::{Document, Upgrade, count_titled, documents, insert, read_back, write_and_read_back};
use testbed::PgBouncerConfig;

fn upgrade() -> Upgrade {
    Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler")
}

/// A connection that used the fixture's types before the switch, and its control.
fn before_and_after(upgrade: &Upgrade) -> [PgConnection; 2] {
    let connections = [1, 2].map(|number| {
        let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
        assert_eq!(write_and_read_back(&mut conn, number), Ok(()));
        assert_eq!(count_titled(&mut conn, "no such title"), Ok(0));
        conn
    });
    upgrade.switch_to(upgrade.new).expect("a switch");
    connections
}

fn titled(title: &str) -> documents::BoxedQuery<'_, diesel::pg::Pg> {
    documents::table.filter(documents::title.eq(title)).into_boxed()
}

#[test]
fn a_query_heals_a_connection_that_was_never_asked() {
    let upgrade = upgrade();
    let [mut conn, mut stock] = before_and_after(&upgrade);
    assert_eq!(conn.hot_query(titled("no such title").count()).get_result(), Ok(0_i64));
    assert_eq!(write_and_read_back(&mut conn, 3), Ok(()), "healed for what follows");
    count_titled(&mut stock, "no such title").expect_err("the control");
}

#[test]
fn an_insert_heals_a_connection_that_was_never_asked() {
    let upgrade = upgrade();
    let [mut conn, mut stock] = before_and_after(&upgrade);
    let document = Document::numbered(3);
    assert_eq!(conn.hot_query(diesel::insert_into(documents::table).values(&document)).execute(), Ok(1));
    assert_eq!(read_back(&mut conn, &document), Ok(vec![document]), "once");
    insert(&mut stock, &Document::numbered(4)).expect_err("the control");
}

#[test]
fn a_transaction_heals_a_connection_that_was_never_asked() {
    let upgrade = upgrade();
    let [mut conn, mut stock] = before_and_after(&upgrade);
    assert_eq!(conn.hot_transaction(|conn| count_titled(conn, "no such title")), Ok(0));
    assert_eq!(write_and_read_back(&mut conn, 3), Ok(()), "healed for what follows");
    stock.transaction(|conn| count_titled(conn, "no such title")).expect_err("the control");
}

#[test]
fn a_connection_of_a_stock_pool_is_healed() {
    let upgrade = upgrade();
    let pool = Pool::builder()
        .max_size(1)
        .build(ConnectionManager::<PgConnection>::new(upgrade.url()))
        .expect("a stock pool");
    assert_eq!(write_and_read_back(&mut pool.get().expect("a connection"), 1), Ok(()));
    assert_eq!(count_titled(&mut pool.get().expect("a connection"), "no such title"), Ok(0));
    upgrade.switch_to(upgrade.new).expect("a switch");
    count_titled(&mut pool.get().expect("a connection"), "no such title").expect_err("the control");

    let counted = pool.get().expect("a connection").hot_query(titled("no such title").count()).get_result();
    assert_eq!(counted, Ok(0_i64));
    assert_eq!(count_titled(&mut pool.get().expect("a connection"), "no such title"), Ok(0), "healed for all");
}

#[test]
fn an_error_of_the_application_on_a_connection_that_was_never_asked_stays_its_error() {
    let upgrade = upgrade();
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
    for _ in 0..3 {
        let failed = conn.hot_query(diesel::sql_query("SELECT no_such_column")).execute();
        assert!(failed.expect_err("no such column").to_string().contains("no_such_column"));
    }
    assert_eq!(write_and_read_back(&mut conn, 2), Ok(()));
}

/// A tenant's transaction leaves a connection of which it is not known what its caches hold.
#[test]
fn a_query_heals_a_connection_after_a_tenants_transaction() {
    let upgrade = upgrade();
    for server in [upgrade.old, upgrade.new] {
        upgrade.run_on(server, "CREATE SCHEMA tenant").expect("a schema");
    }
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    let path = "SET LOCAL search_path = tenant, public";
    let as_tenant = conn
        .hot_transaction_with(|builder| builder.before_probe(path), |conn| count_titled(conn, "no such title"));
    assert_eq!(as_tenant, Ok(0));
    assert_eq!(count_titled(&mut conn, "no such title"), Ok(0));
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(conn.hot_query(titled("no such title").count()).get_result(), Ok(0_i64));
}
