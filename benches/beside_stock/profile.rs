//! Why a checkout costs what it does: each piece of its question beside the ping, in processor time. That is steadier
//! than time on a clock, most of which goes by until somebody who waits is woken.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Integer;
use diesel_postgres_hot_upgrade::synchronize;
use serde::Serialize;

use crate::paired::{Spread, median};
use crate::processor::{self, Process};
use crate::run::Bench;
use crate::shared::{AnyError, twenty};

/// Executions between two looks at the clock, which ticks in nanoseconds but is not read in less than a microsecond.
const BATCH: usize = 50;

/// Processor time in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Piece {
    pub(crate) what: &'static str,
    pub(crate) server: f64,
    pub(crate) server_beyond_ping: Spread,
    pub(crate) application: f64,
    pub(crate) application_beyond_ping: Spread,
}

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Piece>, AnyError> {
    let mut conn = PgConnection::establish(&bench.servers.cluster.url(bench.database))?;
    let server = Process::that_serves(&mut conn)?;
    let names = twenty::NAMES.join(",");
    let statements = [
        ("`SELECT 1`, the ping", "SELECT 1".to_owned()),
        (
            "when the server started, and whether it is in recovery",
            "SELECT 1 WHERE pg_postmaster_start_time() <> to_timestamp(0) AND NOT pg_is_in_recovery()".into(),
        ),
        ("the file of `pg_type`", "SELECT 1 WHERE pg_relation_filepath(1247) <> ''".into()),
        ("the search path", "SELECT 1 WHERE current_setting('search_path') <> ''".into()),
        (
            "what the server calls 20 types",
            format!("SELECT 1 WHERE array_to_string('{{{names}}}'::regtype[], ',') <> ''"),
        ),
        (
            "what the 20 names with their schema find, if the path has several schemas",
            format!(
                "SELECT 1 WHERE array_to_string(ARRAY(SELECT to_regtype('public.' || named)::oid \
                 FROM unnest('{{{names}}}'::text[]) named), ',') <> ''"
            ),
        ),
    ];

    let mut rounds: Vec<Vec<[f64; 2]>> = Vec::new();
    let began = std::time::Instant::now();
    while rounds.len() < 4 || began.elapsed() < bench.plan.budget {
        let mut round = Vec::new();
        for (_, sql) in &statements {
            round.push(a_call(&server, || Statement(sql).execute(&mut conn).map(drop))?);
        }
        round.push(a_call(&server, || synchronize(&mut conn).map(drop))?);
        rounds.push(round);
    }
    // The first one prepared the statements.
    rounds.remove(0);

    let whats = statements.iter().map(|(what, _)| *what).chain(["all of it, by a checkout"]);
    Ok(whats.enumerate().map(|(piece, what)| Piece::of(what, piece, &rounds)).collect())
}

impl Piece {
    fn of(what: &'static str, piece: usize, rounds: &[Vec<[f64; 2]>]) -> Self {
        let time = |side: usize| median(rounds.iter().map(|round| round[piece][side]).collect());
        let beyond =
            |side: usize| Spread::of(rounds.iter().map(|round| round[piece][side] - round[0][side]).collect());
        Piece {
            what,
            server: time(0),
            server_beyond_ping: beyond(0),
            application: time(1),
            application_beyond_ping: beyond(1),
        }
    }
}

/// Processor time of the server's process and of this thread, for one of the calls in a batch.
fn a_call(server: &Process, mut work: impl FnMut() -> QueryResult<()>) -> Result<[f64; 2], AnyError> {
    let both = || -> Result<[f64; 2], AnyError> {
        Ok([server.time()?, processor::time_of_this_thread()].map(|time| time.as_secs_f64()))
    };
    let before = both()?;
    for _ in 0..BATCH {
        work()?;
    }
    let after = both()?;
    Ok([0, 1].map(|side| (after[side] - before[side]) / BATCH as f64))
}

/// One that Diesel prepares once.
struct Statement<'a>(&'a str);

impl Query for Statement<'_> {
    type SqlType = Integer;
}

impl RunQueryDsl<PgConnection> for Statement<'_> {}

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}
