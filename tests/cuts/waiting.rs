//! Waiting for a connection, until the deadline.

use std::time::{Duration, Instant};

use diesel::r2d2::Pool;
use diesel_postgres_hot_upgrade::{
    CutCause, HotPoolTransactionBuilder, HotTransactionError, HotUpgradeManager, HotUpgradePool, stats,
};
use testbed::Cluster;

use crate::setting::{Setting, alone};

#[test]
fn an_exhausted_pool_is_waited_for_until_the_deadline() {
    let _alone = alone();
    let setting = Setting::start("exhausted");
    let pool = setting.pool(1);
    let _held = pool.get().expect("the only connection");
    let within = Duration::from_millis(300);
    let began = Instant::now();
    let result: Result<(), HotTransactionError> =
        pool.hot_transaction_with(|builder| builder.within(within), |_| Ok(()));
    let took = began.elapsed();
    let Err(error @ HotTransactionError::NotCommitted { cause: CutCause::NoConnection(_), tries: 0, .. }) = result
    else {
        panic!("{result:?}");
    };
    assert!(error.to_string().contains("can be run again"), "{error}");
    assert!(took >= within && took < within + Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_server_that_is_down_is_waited_for_without_spinning() {
    let _alone = alone();
    let mut server = Cluster::start(12).expect("a server");
    let manager = HotUpgradeManager::new(server.url("postgres"));
    let pool = Pool::builder().max_size(2).build(manager).expect("a pool");
    let within = |seconds| move |builder: HotPoolTransactionBuilder| builder.within(Duration::from_secs(seconds));
    let before = stats();
    server.stop().expect("a stop");
    let result: Result<(), HotTransactionError> = pool.hot_transaction_with(within(2), |_| Ok(()));
    let Err(HotTransactionError::NotCommitted { tries, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(tries <= 3, "{tries} tries");
    let reruns = stats().reruns_after_cuts() - before.reruns_after_cuts();
    assert!(reruns < 10, "{reruns} reruns in two seconds");

    let waiting = std::thread::spawn(move || {
        let result: Result<(), HotTransactionError> = pool.hot_transaction_with(within(30), |_| Ok(()));
        result
    });
    server.restart().expect("it is back");
    let result = waiting.join().expect("no panic");
    assert!(result.is_ok(), "{result:?}");
}
