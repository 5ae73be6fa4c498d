//! What is remembered of many types: in a process that does nothing else, from its resident memory.
//!
//! What a process takes for the first database and the first connection is its own business, and its allocator's. So it
//! looks at several databases one after the other, and then at several connections to one: what each of them adds is
//! the cost.

use std::fs;
use std::process::{Command, Stdio};

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::synchronize;
use serde::{Deserialize, Serialize};

use crate::run::Bench;
use crate::shared::AnyError;
use crate::types;

const DATABASES: usize = 6;
const CONNECTIONS: usize = 10;

/// Bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) types: usize,
    /// What the process remembers of each type, however many connections it has.
    pub(crate) a_type_and_process: f64,
    /// What each connection's OID cache, which is Diesel's, takes for each type.
    pub(crate) a_type_and_connection: f64,
    pub(crate) verdict: &'static str,
}

/// In bytes for each type.
const GOAL: f64 = 300.0;

/// Bytes by which the process has grown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// For each further database, with one connection.
    database: f64,
    /// For each further connection to one of them.
    connection: f64,
}

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Memory, AnyError> {
    let none = grown(bench, "memory_of_none", 0)?;
    let types = bench.plan.pick(10_000, 1_000);
    let many = grown(bench, "memory_of_many", types)?;
    let a_type = |bytes: f64| bytes / types as f64;
    let a_type_and_process = a_type((many.database - many.connection) - (none.database - none.connection));
    let verdict = if a_type_and_process <= GOAL { "met" } else { "not met" };
    let a_type_and_connection = a_type(many.connection - none.connection);
    Ok(Memory { types, a_type_and_process, a_type_and_connection, verdict })
}

/// Creates databases with so many types, and lets another process look at them.
fn grown(bench: &Bench<'_>, name: &str, types: usize) -> Result<Growth, AnyError> {
    let databases = (0..DATABASES).map(|number| format!("{name}_{number}"));
    let mut child = Command::new(std::env::current_exe()?);
    child.arg("--memory-of").stderr(Stdio::inherit());
    for database in databases {
        bench.servers.create_database(&database, &types::sql(types))?;
        child.arg(bench.servers.cluster.url(&database));
    }
    let output = child.output()?;
    if !output.status.success() {
        return Err(format!("the process that measures memory failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What that other process does.
pub(crate) fn grow(databases: &[String]) -> Result<Growth, AnyError> {
    let (first, others) = databases.split_first().ok_or("no database was named")?;
    let mut held = vec![look_at(first)?];
    let growth_by = |held: &mut Vec<_>, urls: &[&String]| -> Result<f64, AnyError> {
        let before = resident_bytes()?;
        for url in urls {
            held.push(look_at(url)?);
        }
        Ok((resident_bytes()? - before) / urls.len() as f64)
    };
    let database = growth_by(&mut held, &others.iter().collect::<Vec<_>>())?;
    let connection = growth_by(&mut held, &[first; CONNECTIONS])?;
    Ok(Growth { database, connection })
}

fn look_at(url: &str) -> Result<PgConnection, AnyError> {
    let mut conn = PgConnection::establish(url)?;
    synchronize(&mut conn)?;
    // As a checkout does: the probe's own buffers are part of it.
    synchronize(&mut conn)?;
    Ok(conn)
}

/// Of this process.
pub(crate) fn resident_bytes() -> Result<f64, AnyError> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("cannot read the memory of this process, which needs Linux: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in its status")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}
