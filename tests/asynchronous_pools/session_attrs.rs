//! `target_session_attrs` on the connection for diesel-async: for new connections, at checkouts, and with the `BEGIN`
//! of verified transactions. The control is the same connection without it.

use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::prelude::*;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_postgres_hot_upgrade::asynchronous::HotUpgradeAsyncPool;
use diesel_postgres_hot_upgrade::{CutCause, HotTransactionError, TargetSessionAttrs, stats};

use crate::attrs::servers::{ALL, Address, KINDS, Kind};
use crate::support::own_process::in_a_process_of_its_own;
use crate::tools::{Bb8, Deadpool, Hot, blocking, connect, run};

/// A refusal says what was asked for and what the server is; if the server fits, there must be none.
fn assert_verdict(result: Result<(), String>, attrs: TargetSessionAttrs, kind: Kind, where_: &str) {
    match result {
        Ok(()) => assert!(kind.fits(attrs), "{where_}: {attrs} accepted {kind:?}"),
        Err(error) => {
            assert!(!kind.fits(attrs), "{where_}: {attrs} refused {kind:?}: {error}");
            let asked = format!("no connection to a server that is {attrs} (asked for by target_session_attrs): ");
            assert!(error.contains(&asked) && error.contains(kind.description()), "{where_}: {error}");
        }
    }
}

async fn open(url: &str, attrs: TargetSessionAttrs) -> ConnectionResult<Hot> {
    Hot::establish(url).await?.target_session_attrs(attrs).await
}

fn manager(url: &str, attrs: TargetSessionAttrs) -> AsyncDieselConnectionManager<Hot> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |url| {
        let url = url.to_owned();
        Box::pin(async move { open(&url, attrs).await })
    });
    AsyncDieselConnectionManager::new_with_config(url, config)
}

async fn write(conn: &mut Hot) -> QueryResult<()> {
    RunQueryDsl::execute(diesel::sql_query("INSERT INTO writes VALUES (1)"), conn).await.map(drop)
}

#[test]
fn each_value_is_judged_on_each_kind_of_server() {
    run(async {
        for kind in KINDS {
            for attrs in ALL {
                let url = blocking(|| kind.url());
                let opened = open(&url, attrs).await.map(drop).map_err(|error| error.to_string());
                assert_verdict(opened, attrs, kind, "a new connection");
            }
        }
    });
}

#[test]
fn an_open_connection_is_checked_at_checkout_and_with_begin() {
    run(async {
        let address = blocking(|| Address::of(Kind::Primary));
        for attrs in ALL {
            for from in KINDS.into_iter().filter(|kind| kind.fits(attrs)) {
                for to in KINDS {
                    blocking(|| address.lead_to(from));
                    let mut conns = Vec::new();
                    for _ in 0..3 {
                        let mut conn = open(&address.url(), attrs).await.expect("a server that fits");
                        conn.synchronize().await.expect("a server that fits");
                        let begun: QueryResult<()> = conn.hot_transaction(async |_| Ok(())).await;
                        begun.expect("a server that fits");
                        assert!(!PoolableConnection::is_broken(&mut conn));
                        conns.push(conn);
                    }
                    blocking(|| address.lead_to(to));
                    let checked = conns[0].synchronize().await.map(drop).map_err(|error| error.to_string());
                    assert_verdict(checked, attrs, to, "a check");
                    let begun: QueryResult<()> = conns[1].hot_transaction(async |_| Ok(())).await;
                    assert_verdict(begun.map_err(|error| error.to_string()), attrs, to, "BEGIN");
                    let begun: QueryResult<()> = conns[2]
                        .hot_transaction_with(
                            |builder| builder.before_probe("SET LOCAL lock_timeout = '9s' -- a comment"),
                            async |_| Ok(()),
                        )
                        .await;
                    assert_verdict(begun.map_err(|error| error.to_string()), attrs, to, "BEGIN with SQL");
                    for conn in &mut conns {
                        assert_eq!(PoolableConnection::is_broken(conn), !to.fits(attrs), "what does not fit");
                    }
                }
            }
        }
    });
}

/// Checks out and writes. What went wrong comes back as text.
macro_rules! writes {
    ($pool:expr) => {{
        let mut wrong: Vec<String> = Vec::new();
        for _ in 0..10 {
            match $pool.get().await {
                Ok(mut conn) => wrong.extend(write(&mut conn).await.err().map(|error| error.to_string())),
                Err(error) => wrong.push(format!("checkout: {error}")),
            }
        }
        wrong
    }};
}

/// A pool whose server is demoted, and then leads to a primary again.
macro_rules! demoted {
    ($pool:ty, $build:expr) => {
        run(async {
            let address = blocking(|| Address::of(Kind::Primary));
            let pool: $pool = $build(manager(&address.url(), TargetSessionAttrs::ReadWrite)).await;
            let without: $pool = $build(manager(&address.url(), TargetSessionAttrs::Any)).await;
            assert_eq!(writes!(pool), [""; 0]);
            assert_eq!(writes!(without), [""; 0]);
            blocking(|| address.lead_to(Kind::Standby));
            assert!(writes!(without).iter().all(|error| error.contains("read-only")), "the control");
            let before = stats().unfit_connections();
            let options = |builder: diesel_postgres_hot_upgrade::HotPoolTransactionBuilder| {
                builder.within(std::time::Duration::from_millis(300))
            };
            let refused: Result<(), HotTransactionError> =
                pool.hot_transaction_with(options, async |conn| write(conn).await).await;
            let is_refused = matches!(
                refused,
                Err(HotTransactionError::NotCommitted {
                    cause: CutCause::Unfit(_) | CutCause::NoConnection(_),
                    ..
                })
            );
            assert!(is_refused, "{refused:?}");
            assert!(stats().unfit_connections() > before);
            blocking(|| address.lead_to(Kind::Primary));
            let written: Result<(), HotTransactionError> =
                pool.hot_transaction(async |conn| write(conn).await).await;
            assert!(written.is_ok(), "{written:?}");
            assert_eq!(writes!(pool), [""; 0]);
        })
    };
}

#[test]
fn bb8_hands_out_no_connection_to_a_server_that_does_not_fit() {
    demoted!(Bb8<Hot>, async |manager| { bb8::Pool::builder().max_size(2).build(manager).await.expect("a pool") });
}

#[test]
fn deadpool_hands_out_no_connection_to_a_server_that_does_not_fit() {
    demoted!(Deadpool<Hot>, async |manager| {
        deadpool::managed::Pool::builder(manager).max_size(2).build().expect("a pool")
    });
}

#[test]
fn a_pool_whose_new_connections_never_fit_does_not_spin() {
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    run(async {
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(|url| {
            let url = url.to_owned();
            Box::pin(async move {
                OPENED.fetch_add(1, Ordering::Relaxed);
                let mut conn = open(&url, TargetSessionAttrs::ReadWrite).await?;
                let read_only = conn.batch_execute("SET default_transaction_read_only = on").await;
                read_only.map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(conn)
            })
        });
        // An address that no other test has.
        let url = format!("{}?application_name=never_fits", blocking(|| Kind::Primary.url()));
        let manager = AsyncDieselConnectionManager::new_with_config(url, config);
        let timeout = std::time::Duration::from_secs(2);
        let builder = bb8::Pool::builder().max_size(1).connection_timeout(timeout);
        let pool: Bb8<Hot> = builder.build(manager).await.expect("a pool");
        pool.get().await.map(drop).expect_err("no server fits");
        let opened = AtomicUsize::load(&OPENED, Ordering::Relaxed);
        assert!((2..=30).contains(&opened), "{opened} connections in two seconds");
    });
}

#[test]
fn it_costs_one_round_trip_for_a_new_connection_and_none_later() {
    // In the other tests, servers take turns, which costs more for a while.
    in_a_process_of_its_own(module_path!(), "it_costs_one_round_trip_for_a_new_connection_and_none_later", count);
}

fn count() {
    let address = Address::of(Kind::Primary);
    let forwarder = testbed::Forwarder::start(address.pgbouncer.address()).expect("a forwarder");
    let url = address.pgbouncer.url_at(forwarder.address(), "app");
    // On one thread: messages that are pipelined leave together.
    let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    one_thread.block_on(async {
        drop(connect::<Hot>(&url).await);
        let mut measured = Vec::new();
        for attrs in [TargetSessionAttrs::Any, TargetSessionAttrs::ReadWrite] {
            let mut conn: Hot = connect(&url).await;
            let before = forwarder.round_trips();
            conn = conn.target_session_attrs(attrs).await.expect("a server that fits");
            let new = forwarder.round_trips() - before;
            conn.synchronize().await.expect("a check");
            // A look for new types may be due, once a second.
            let mut fewest = [usize::MAX; 2];
            for _ in 0..5 {
                let before = forwarder.round_trips();
                conn.synchronize().await.expect("a check");
                fewest[0] = fewest[0].min(forwarder.round_trips() - before);
                let before = forwarder.round_trips();
                let begun: QueryResult<()> = conn.hot_transaction(async |_| Ok(())).await;
                begun.expect("a transaction");
                fewest[1] = fewest[1].min(forwarder.round_trips() - before);
            }
            measured.push((new, fewest));
            // It stays open: its farewell would be counted with the next one.
            std::mem::forget(conn);
        }
        assert_eq!(measured, [(0, [1, 2]), (1, [1, 2])]);
    });
}
