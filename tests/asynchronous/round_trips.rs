//! Round trips on the wire, beside stock diesel-async. On one thread: messages that are pipelined leave together.

use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use diesel_postgres_hot_upgrade::{Outcome, Verify};
use fixture::Upgrade;
use testbed::Forwarder;

use crate::support::freshness::wait_until_stale;
use crate::support::pools::upgrade;
use crate::tools::{Bb8, Deadpool, Hot, Stock, bb8, connect, deadpool};

fn run_on_one_thread<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

/// What blocks, such as the testbed.
fn on_another_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

fn between() -> (Upgrade, Forwarder, String) {
    let upgrade = upgrade();
    let forwarder = Forwarder::start(upgrade.pgbouncer.address()).expect("a forwarder");
    let url = format!("postgres://postgres@{}/{}", forwarder.address(), upgrade.database);
    (upgrade, forwarder, url)
}

/// The least of some repetitions: once a second, a look for new types is one more.
macro_rules! round_trips {
    ($forwarder:expr, $work:expr) => {{
        let mut counts = Vec::new();
        for _ in 0..8 {
            let before = $forwarder.round_trips();
            $work;
            counts.push($forwarder.round_trips() - before);
        }
        let steady = &counts[2..];
        (*steady.iter().min().expect("some"), *steady.iter().max().expect("some"))
    }};
}

#[test]
fn a_checkout_of_bb8_is_one_round_trip_as_with_the_stock_connection() {
    let (_upgrade, forwarder, url) = between();
    run_on_one_thread(async {
        let hot: Bb8<Hot> = bb8(&url, 1, CacheSize::Unbounded).await;
        let (least, most) = round_trips!(forwarder, drop(hot.get().await.expect("a connection")));
        assert_eq!(least, 1);
        assert!(most <= 2, "a look for new types is {most}");
        let stock: Bb8<Stock> = bb8(&url, 1, CacheSize::Unbounded).await;
        assert_eq!(round_trips!(forwarder, drop(stock.get().await.expect("a connection"))), (1, 1));
    });
}

#[test]
fn a_checkout_of_deadpool_is_one_round_trip_as_with_the_stock_connection() {
    let (_upgrade, forwarder, url) = between();
    run_on_one_thread(async {
        let hot: Deadpool<Hot> = deadpool(&url, 1, CacheSize::Unbounded);
        let (least, most) = round_trips!(forwarder, drop(hot.get().await.expect("a connection")));
        assert_eq!(least, 1);
        assert!(most <= 2, "a look for new types is {most}");
        let stock: Deadpool<Stock> = deadpool(&url, 1, CacheSize::Unbounded);
        assert_eq!(round_trips!(forwarder, drop(stock.get().await.expect("a connection"))), (1, 1));
    });
}

#[test]
fn a_verified_transaction_is_two_round_trips_as_the_stock_one_also_if_it_looks_for_new_types() {
    let (_upgrade, forwarder, url) = between();
    run_on_one_thread(async {
        let mut hot: Hot = connect(&url).await;
        let empty = async |_: &mut Hot| QueryResult::Ok(());
        assert_eq!(round_trips!(forwarder, hot.hot_transaction(empty).await.expect("a transaction")), (2, 2));
        on_another_thread(wait_until_stale);
        let before = forwarder.round_trips();
        hot.hot_transaction(empty).await.expect("a transaction that looks for new types");
        assert_eq!(forwarder.round_trips() - before, 2, "a look travels in the message of BEGIN");
        let mut stock: Stock = connect(&url).await;
        let begun = round_trips!(forwarder, stock.transaction(async |_| QueryResult::Ok(())).await.expect("one"));
        assert_eq!(begun, (2, 2));
    });
}

#[test]
fn a_window_spares_the_round_trip() {
    let (_upgrade, forwarder, url) = between();
    run_on_one_thread(async {
        let hour = Duration::from_secs(3600);
        let mut config = diesel_async::pooled_connection::ManagerConfig::<Hot>::default();
        config.custom_setup = Box::new(move |url| {
            let url = url.to_owned();
            Box::pin(async move { Ok(Hot::establish(&url).await?.verify(Verify::AtMostEvery(hour))) })
        });
        let manager = diesel_async::pooled_connection::AsyncDieselConnectionManager::new_with_config(&url, config);
        let pool: Bb8<Hot> = bb8::Pool::builder().max_size(1).build(manager).await.expect("a pool");
        assert_eq!(round_trips!(forwarder, drop(pool.get().await.expect("a connection"))), (0, 0));
    });
}

/// How long a client waits for a new connection, in round trips, and how many its first use of types is. By the clock:
/// the messages by which tokio-postgres closes the statements of the set-up are on the wire, but nothing waits for
/// them.
macro_rules! costs_of_new {
    ($forwarder:expr, $url:expr, $conn:ty) => {{
        let mut costs = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..5 {
            $forwarder.delay(EACH_WAY);
            let start = Instant::now();
            let mut conn: $conn = connect(&$url).await;
            let waited = start.elapsed().as_secs_f64() / (2.0 * EACH_WAY.as_secs_f64());
            $forwarder.delay(Duration::ZERO);
            let before = $forwarder.round_trips();
            let used: QueryResult<()> = crate::tools::write_and_read_back!(&mut conn);
            assert_eq!(used, Ok(()));
            costs.push((waited as usize, $forwarder.round_trips() - before));
            kept.push(conn);
        }
        // The first connection of the process reads the catalog.
        let least = |costs: &[usize]| costs[1..].iter().copied().min().expect("some");
        let (connecting, using): (Vec<_>, Vec<_>) = costs.into_iter().unzip();
        (least(&connecting), least(&using))
    }};
}

const EACH_WAY: Duration = Duration::from_millis(25);

#[test]
fn a_new_connection_is_one_round_trip_more_and_its_first_use_is_fewer() {
    let (_upgrade, forwarder, url) = between();
    run_on_one_thread(async {
        let hot = costs_of_new!(forwarder, url, Hot);
        let stock = costs_of_new!(forwarder, url, Stock);
        assert!(hot.0 <= stock.0 + 1, "{hot:?} and {stock:?}");
        assert!(hot.1 < stock.1, "{hot:?} and {stock:?}");
    });
}

#[test]
fn a_change_costs_each_connection_a_few_round_trips_once() {
    let (upgrade, forwarder, url) = between();
    run_on_one_thread(async {
        let mut hot: Hot = connect(&url).await;
        let mut pioneer: Hot = connect(&url).await;
        hot.synchronize().await.expect("a check");
        on_another_thread(|| upgrade.switch_to(upgrade.new)).expect("a switch");
        assert!(matches!(pioneer.synchronize().await, Ok(Outcome::Changed(_))), "it reads the catalog");
        let before = forwarder.round_trips();
        assert!(matches!(hot.synchronize().await, Ok(Outcome::Changed(_))));
        let changed = forwarder.round_trips() - before;
        // The check, and identify, which is prepared. One more if a second has passed.
        assert!(changed <= 5, "{changed}");
        let before = forwarder.round_trips();
        let outcome = hot.synchronize().await;
        assert!(matches!(outcome, Ok(Outcome::Unchanged)), "{outcome:?}");
        let first = forwarder.round_trips() - before;
        assert!(first <= 2, "the check is prepared once more: {first}");
        assert_eq!(diesel::select(1.into_sql::<diesel::sql_types::Integer>()).get_result(&mut hot).await, Ok(1));
    });
}
