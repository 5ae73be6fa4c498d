//! What others do on a server while an application checks connections out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use postgres::Client;
use testbed::Cluster;

use crate::paired::Plan;
use crate::shared::AnyError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    TemporaryTables,
    ManyTemporaryTables,
    WritingTransaction,
    PreparedTransaction,
    LongReader,
}

/// Temporary tables that are created and dropped in a second.
const RATE: u32 = 110;

/// By so many sessions.
const SESSIONS: u32 = 2;

/// Of one session's tables.
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 * SESSIONS as u64 / RATE as u64);

/// Below this share of the rate, the row would say something untrue.
const TOLERATED: f64 = 0.8;

/// In so many pieces, so that no transaction holds too many locks.
const AT_ONCE: usize = 200;

impl Disturbance {
    pub(crate) const ALL: [Disturbance; 5] = [
        Disturbance::TemporaryTables,
        Disturbance::ManyTemporaryTables,
        Disturbance::WritingTransaction,
        Disturbance::PreparedTransaction,
        Disturbance::LongReader,
    ];

    pub(crate) fn what(self, plan: Plan) -> String {
        let many = many(plan);
        match self {
            Disturbance::TemporaryTables => format!("{RATE} temporary tables a second come and go"),
            Disturbance::ManyTemporaryTables => {
                format!("another session has {many} temporary tables, and {RATE} a second come and go")
            }
            Disturbance::WritingTransaction => "a transaction is open that has written".to_owned(),
            Disturbance::PreparedTransaction => "a prepared transaction is open".to_owned(),
            Disturbance::LongReader => {
                format!(
                    "a long reader is open, {many} temporary tables have come and gone, and {RATE} a second go on"
                )
            }
        }
    }

    /// Returns once it goes on.
    pub(crate) fn begin(self, cluster: &Cluster, database: &str, plan: Plan) -> Result<Ongoing, AnyError> {
        let mut client = cluster.client(database)?;
        let mut ongoing = Ongoing { held: Vec::new(), prepared: None, churn: None };
        match self {
            Disturbance::TemporaryTables => ongoing.churn = Some(Churn::start(cluster, database)?),
            Disturbance::ManyTemporaryTables => {
                create_temporary_tables(&mut client, many(plan), "")?;
                ongoing.held.push(client);
                ongoing.churn = Some(Churn::start(cluster, database)?);
            }
            Disturbance::WritingTransaction => {
                client.batch_execute("BEGIN; CREATE TABLE written (number int4)")?;
                ongoing.held.push(client);
            }
            Disturbance::PreparedTransaction => {
                client.batch_execute("BEGIN; CREATE TABLE written (number int4)")?;
                client.batch_execute("PREPARE TRANSACTION 'forgotten'")?;
                ongoing.prepared = Some(client);
            }
            Disturbance::LongReader => {
                client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_type")?;
                ongoing.held.push(client);
                let mut others = cluster.client(database)?;
                create_temporary_tables(&mut others, many(plan), "EXECUTE 'DROP TABLE temporary_' || number;")?;
                ongoing.churn = Some(Churn::start(cluster, database)?);
            }
        }
        Ok(ongoing)
    }
}

fn many(plan: Plan) -> usize {
    plan.pick(5_000, 200)
}

fn create_temporary_tables(client: &mut Client, tables: usize, and_then: &str) -> Result<(), AnyError> {
    for from in (0..tables).step_by(AT_ONCE) {
        let to = (from + AT_ONCE).min(tables) - 1;
        client.batch_execute(&format!(
            "DO $$ BEGIN FOR number IN {from}..{to} LOOP
                EXECUTE 'CREATE TEMPORARY TABLE temporary_' || number || ' (number int4)';
                {and_then}
            END LOOP; END $$"
        ))?;
    }
    Ok(())
}

/// What [began](Disturbance::begin).
pub(crate) struct Ongoing {
    /// With transactions or temporary tables.
    held: Vec<Client>,
    prepared: Option<Client>,
    churn: Option<Churn>,
}

impl Ongoing {
    /// Ends it. An error if it did not go on as it should have.
    pub(crate) fn end(self) -> Result<(), AnyError> {
        // Now, and not some time after the end of the session.
        for mut client in self.held {
            client.batch_execute("ROLLBACK")?;
            client.batch_execute("DISCARD TEMP")?;
        }
        if let Some(mut client) = self.prepared {
            client.batch_execute("ROLLBACK PREPARED 'forgotten'")?;
        }
        let Some(churn) = self.churn else { return Ok(()) };
        let rate = churn.end()?;
        if rate < TOLERATED * f64::from(RATE) {
            return Err(format!("others created {rate:.0} temporary tables a second, not {RATE}").into());
        }
        Ok(())
    }
}

/// Sessions whose temporary tables come and go. While the table of one is there, the other's transaction is open.
struct Churn {
    is_over: Arc<AtomicBool>,
    began: Instant,
    sessions: Vec<JoinHandle<Result<u32, postgres::Error>>>,
}

impl Churn {
    fn start(cluster: &Cluster, database: &str) -> Result<Self, AnyError> {
        let clients = (0..SESSIONS).map(|_| cluster.client(database)).collect::<Result<Vec<_>, _>>()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let start = |(session, client)| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || come_and_go(client, began + PERIOD * session / SESSIONS, &is_over))
        };
        let sessions = (0..).zip(clients).map(start).collect();
        Ok(Churn { is_over, began, sessions })
    }

    /// How many in a second.
    fn end(self) -> Result<f64, AnyError> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut tables = 0;
        for session in self.sessions {
            tables += session.join().expect("no panic in a thread with temporary tables")?;
        }
        Ok(f64::from(tables) / self.began.elapsed().as_secs_f64())
    }
}

/// One session's. Returns how many.
fn come_and_go(mut client: Client, from: Instant, is_over: &AtomicBool) -> Result<u32, postgres::Error> {
    let at = |due: Instant| thread::sleep(due.saturating_duration_since(Instant::now()));
    let mut tables = 0;
    while !is_over.load(Ordering::Relaxed) {
        let due = from + PERIOD * tables;
        at(due);
        client.batch_execute("DROP TABLE IF EXISTS passing")?;
        client.batch_execute("BEGIN; CREATE TEMPORARY TABLE passing (number int4)")?;
        at(due + PERIOD / 2);
        client.batch_execute("COMMIT")?;
        tables += 1;
    }
    Ok(tables)
}
