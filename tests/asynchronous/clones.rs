//! File copies of one server, all known to the process: the same system identifier, the same types, and then DDL that
//! differs. The control is a stock connection, which answers wrongly without an error.

use diesel_async::AsyncConnection;
use testbed::{Cluster, PgBouncer};

use crate::support::diverging::{DATABASE, Kind, copies, diverge, know, pooler, session};
use crate::support::meaning::{Label, is_wrong};
use crate::tools::{Asks, Bb8, Hot, Stock, bb8, blocking, connect, run, verified};

/// The ways to keep a connection.
struct Ways {
    held: Hot,
    pool: Bb8<Hot>,
    stock: Stock,
}

impl Ways {
    async fn connect(url: &str) -> Self {
        let pool = bb8(url, 1, diesel::connection::CacheSize::Unbounded).await;
        Ways { held: connect(url).await, pool, stock: connect(url).await }
    }

    async fn wrong(&mut self) -> Vec<String> {
        let held = verified::<Label>(&mut self.held).await.map_err(|problem| format!("held: {problem}"));
        let mut conn = self.pool.get().await.expect("a connection");
        let plain = conn.plain::<Label>().await.map_err(|problem| format!("plain: {problem}"));
        let verified = verified::<Label>(&mut conn).await.map_err(|problem| format!("verified: {problem}"));
        [held, plain, verified].into_iter().filter_map(Result::err).collect()
    }

    async fn visit(&mut self, pgbouncer: &PgBouncer, first: &Cluster, next: &[&Cluster]) {
        assert_eq!(self.wrong().await, [""; 0], "before the switch");
        assert_eq!(self.stock.plain::<Label>().await, Ok(()));
        for (number, server) in next.iter().enumerate() {
            blocking(|| pgbouncer.switch(DATABASE, &server.target(DATABASE))).expect("a switch");
            let control = self.stock.plain::<Label>().await;
            assert_eq!(is_wrong(&control), server.address() != first.address(), "{control:?}");
            assert_eq!(self.wrong().await, [""; 0], "after switch {number}");
            assert_eq!(self.wrong().await, [""; 0], "again after switch {number}");
        }
    }
}

async fn copies_diverge(kind: Kind) {
    let ([first, second], pgbouncer) = blocking(|| {
        let [first, second] = copies();
        know(&[&first, &second]);
        let pgbouncer = pooler(&first);
        ([first, second], pgbouncer)
    });
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE)).await;
    blocking(|| diverge(&mut [session(&first), session(&second)], kind));
    ways.visit(&pgbouncer, &first, &[&second, &first, &second]).await;
}

#[test]
fn a_type_that_is_newer_than_the_snapshot_is_another_one_on_a_copy() {
    run(copies_diverge(Kind::Enum));
}

/// No snapshot has it: the connection looks it up by itself.
#[test]
fn a_row_type_is_another_one_on_a_copy() {
    run(copies_diverge(Kind::RowType));
}

#[test]
fn a_type_in_no_snapshot_costs_no_connection() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        for server in [upgrade.old, upgrade.new] {
            blocking(|| upgrade.run_on(server, "CREATE TABLE label ()")).expect("a row type");
        }
        blocking(|| {
            upgrade.run_on(upgrade.old, "CREATE TABLE unrelated (); DROP TABLE label; CREATE TABLE label ()")
        })
        .expect("another OID");
        let pool: Bb8<Hot> = bb8(&upgrade.url(), 1, diesel::connection::CacheSize::Unbounded).await;
        for server in [upgrade.old, upgrade.new, upgrade.old] {
            blocking(|| upgrade.switch_to(server)).expect("a switch");
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(conn.plain::<Label>().await, Ok(()));
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
        }
        assert_eq!(pool.state().statistics.connections_created, 1);
    });
}

#[test]
fn a_type_that_does_not_exist_is_an_error_that_aborts_nothing() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        let mut hot: Hot = connect(&upgrade.url()).await;
        let result = hot
            .transaction(async |conn| {
                let missing = conn.plain::<Label>().await.expect_err("there is no such type");
                assert!(missing.contains("label"), "{missing}");
                let used: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut *conn);
                used
            })
            .await;
        assert_eq!(result, Ok(()));
    });
}
