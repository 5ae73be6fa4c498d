//! A connection is cut at every boundary between two messages of a transaction, in both directions, once each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::Pool;
use diesel_postgres_hot_upgrade::{
    HotTransactionError, HotUpgradeCustomizer, HotUpgradeExt, HotUpgradeManager, HotUpgradePool, Verify,
};
use fixture::{Document, builder, insert, migrate, read_back};
use testbed::{Cluster, Cutter, Place, Side, Way};

use crate::support::server::wait_until;

/// Messages with which the server answers a verified `COMMIT`: the savepoint, the commit, and that it is ready.
const ANSWERS_TO_COMMIT: usize = 3;

struct Setting {
    server: &'static Cluster,
    database: String,
    cutter: Cutter,
    pool: Pool<HotUpgradeManager>,
}

impl Setting {
    /// A pool of one connection, on which a checkout sends nothing.
    fn start(name: &str) -> Self {
        let server = Cluster::shared(12);
        let database = format!("{name}_{}", std::process::id());
        server.create_database(&database).expect("a database");
        migrate(&server.url(&database)).expect("migrations");
        let cutter = Cutter::start(server.address()).expect("a cutter");
        let manager = HotUpgradeManager::new(server.url_at(cutter.address(), &database))
            .verify(Verify::AtMostEvery(Duration::from_secs(600)));
        let customizer = Box::new(HotUpgradeCustomizer::new());
        let pool = builder(1).connection_customizer(customizer).build(manager).expect("a pool");
        Setting { server, database, cutter, pool }
    }

    fn written(&self, number: u64) -> i64 {
        let mut client = self.server.client(&self.database).expect("a server");
        let code = format!("DE-{number}");
        client.query_one("SELECT count(*) FROM documents WHERE code = $1::text", &[&code]).expect("a count").get(0)
    }

    /// Prepares every statement of the transaction, and returns how many messages one takes, each way.
    fn messages(&self, transact: impl Fn(&Pool<HotUpgradeManager>, u64)) -> [usize; 2] {
        static NUMBER: AtomicU64 = AtomicU64::new(1_000_000);
        let next = || transact(&self.pool, NUMBER.fetch_add(1, Ordering::Relaxed));
        next();
        self.cutter.reset();
        next();
        self.counted()
    }

    fn counted(&self) -> [usize; 2] {
        [Way::ToServer, Way::ToClient].map(|way| self.cutter.messages(way))
    }

    /// How many messages have gone each way when the closure of a pool's transaction begins.
    fn messages_before_the_closure(&self) -> [usize; 2] {
        self.cutter.reset();
        let result: Result<_, HotTransactionError> = self.pool.hot_transaction(|_| Ok(self.counted()));
        result.expect("nothing is cut")
    }
}

fn by_pool(pool: &Pool<HotUpgradeManager>, number: u64) {
    pool.hot_transaction(|conn| write(conn, number)).expect("nothing is cut");
}

fn by_connection(pool: &Pool<HotUpgradeManager>, number: u64) {
    pool.get().expect("a connection").hot_transaction(|conn| write(conn, number)).expect("nothing is cut");
}

fn by_stock(pool: &Pool<HotUpgradeManager>, number: u64) {
    pool.get().expect("a connection").transaction(|conn| write(conn, number)).expect("nothing is cut");
}

fn write(conn: &mut PgConnection, number: u64) -> QueryResult<()> {
    let document = Document::numbered(number);
    insert(conn, &document)?;
    assert_eq!(read_back(conn, &document)?, [document]);
    Ok(())
}

/// What has to come of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is run again, and committed. The closure has run so many times: once if it was cut before the closure began.
    RunAgain { runs: usize },
    /// It is unknown, and the server has committed it, or not.
    Unknown { is_committed: bool },
    /// It was committed before the connection was cut.
    Done,
}

/// Every boundary, with what has to come of a cut there. So many of the messages come `before` the closure.
fn boundaries([to_server, to_client]: [usize; 2], before: [usize; 2]) -> Vec<(Way, Place, Verdict)> {
    let run_again = |way: Way, message| {
        let has_begun = message >= before[way as usize];
        Verdict::RunAgain { runs: if has_begun { 2 } else { 1 } }
    };
    let commit = to_server - 1;
    let answer = to_client - ANSWERS_TO_COMMIT;
    let mut boundaries = Vec::new();
    for message in 0..to_server {
        let verdict = if message < commit {
            run_again(Way::ToServer, message)
        } else {
            Verdict::Unknown { is_committed: false }
        };
        boundaries.push((Way::ToServer, Place::BeforeMessage(message), verdict));
    }
    boundaries.push((Way::ToServer, Place::AfterMessage(commit), Verdict::Unknown { is_committed: true }));
    for message in 0..to_client {
        let verdict = if message < answer {
            run_again(Way::ToClient, message)
        } else {
            Verdict::Unknown { is_committed: true }
        };
        boundaries.push((Way::ToClient, Place::BeforeMessage(message), verdict));
    }
    // The client has read all answers to the last statement, and not yet sent COMMIT.
    boundaries.push((Way::ToClient, Place::AfterMessage(answer - 1), Verdict::RunAgain { runs: 2 }));
    boundaries.push((Way::ToClient, Place::AfterMessage(to_client - 1), Verdict::Done));
    boundaries
}

#[test]
fn the_verdict_is_right_wherever_a_connection_is_cut() {
    let setting = Setting::start("boundaries");
    let messages = setting.messages(by_pool);
    let before = setting.messages_before_the_closure();
    let boundaries = boundaries(messages, before);
    assert!(boundaries.len() > 30, "{messages:?}");
    let run_twice = boundaries.iter().filter(|(.., verdict)| *verdict == Verdict::RunAgain { runs: 2 }).count();
    assert!(before[0] > 0 && before[1] > 1 && run_twice > 15, "{before:?} of {messages:?}");
    for (number, (way, place, verdict)) in (1..).zip(boundaries.iter().copied()) {
        assert_eq!(setting.messages(by_pool), messages);
        setting.cutter.order(way, place, Side::Both);
        let mut runs = 0;
        let result: Result<(), HotTransactionError> = setting.pool.hot_transaction(|conn| {
            runs += 1;
            write(conn, number)?;
            if place == Place::AfterMessage(messages[1] - ANSWERS_TO_COMMIT - 1) && runs == 1 {
                wait_until("the cut", || setting.cutter.has_cut());
            }
            Ok(())
        });
        let context = format!("{way:?} {place:?} of {messages:?}: {result:?} after {runs} runs");
        wait_until("the cut", || setting.cutter.has_cut());
        match verdict {
            Verdict::RunAgain { runs: expected } => assert!(result.is_ok() && runs == expected, "{context}"),
            Verdict::Unknown { .. } => {
                assert!(matches!(result, Err(HotTransactionError::OutcomeUnknown { .. })), "{context}");
                assert_eq!(runs, 1, "{context}");
            }
            Verdict::Done => assert!(result.is_ok() && runs == 1, "{context}"),
        }
        let is_there = verdict != Verdict::Unknown { is_committed: false };
        if is_there {
            wait_until("the commit", || setting.written(number) > 0);
        }
        assert_eq!(setting.written(number), i64::from(is_there), "{context}");
    }
}

#[test]
fn stock_diesel_and_a_verified_transaction_of_a_connection_fail_wherever_it_is_cut() {
    let setting = Setting::start("boundaries_control");
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    for (way, place, _) in lethal(setting.messages(by_connection)) {
        setting.messages(by_connection);
        setting.cutter.order(way, place, Side::Both);
        let mut conn = setting.pool.get().expect("a connection");
        let result = conn.hot_transaction(|conn| write(conn, next()));
        assert!(result.is_err(), "{way:?} {place:?}: a verified transaction");
    }
    for (way, place, _) in lethal(setting.messages(by_stock)) {
        setting.messages(by_stock);
        setting.cutter.order(way, place, Side::Both);
        let mut conn = setting.pool.get().expect("a connection");
        let result = conn.transaction(|conn| write(conn, next()));
        assert!(result.is_err(), "{way:?} {place:?}: a plain transaction");
    }
}

/// Boundaries at which a connection is lost before all has been said.
fn lethal(messages: [usize; 2]) -> impl Iterator<Item = (Way, Place, Verdict)> {
    boundaries(messages, [0; 2]).into_iter().filter(|(.., verdict)| *verdict != Verdict::Done)
}
