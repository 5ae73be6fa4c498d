//! Twice around many servers or search paths, in a process that does nothing else: what the first round read and
//! remembers, the second one need not read.

use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{stats, synchronize};
use serde::{Deserialize, Serialize};

use crate::memory::resident_bytes;
use crate::shared::AnyError;

/// Then it is replaced, as by a pool: each reset leaves prepared statements on the server.
const PATHS_A_CONNECTION: usize = 20;

/// What happened.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rounds {
    /// In the first and in the second round.
    pub(crate) catalog_loads: [u64; 2],
    /// By which the process has grown in both.
    pub(crate) bytes: f64,
}

/// Lets another process go round; in so many search paths each, if any: `tenant_0, public` and so on.
pub(crate) fn of(databases: &[String], paths: usize) -> Result<Rounds, AnyError> {
    let mut child = Command::new(std::env::current_exe()?);
    child.arg("--paths").arg(paths.to_string()).arg("--rounds-of").args(databases);
    let output = child.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the process that goes round failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What that other process does.
pub(crate) fn go(databases: &[String], paths: usize) -> Result<Rounds, AnyError> {
    let mut open = databases.iter().map(|url| PgConnection::establish(url)).collect::<Result<Vec<_>, _>>()?;
    // What the first look at a server takes is not what each of them takes.
    synchronize(open.first_mut().ok_or("no database was named")?)?;
    let before = resident_bytes()?;
    let mut round = || -> Result<u64, AnyError> {
        let before = stats().catalog_loads();
        for (conn, url) in open.iter_mut().zip(databases) {
            if paths == 0 {
                // One that knows nothing yet, as a connection that a pool has just opened.
                *conn = PgConnection::establish(url)?;
                synchronize(conn)?;
            }
            for path in 0..paths {
                if path % PATHS_A_CONNECTION == 0 {
                    *conn = PgConnection::establish(url)?;
                }
                conn.batch_execute(&format!("SET search_path TO tenant_{path}, public"))?;
                synchronize(conn)?;
            }
        }
        Ok(stats().catalog_loads() - before)
    };
    let catalog_loads = [round()?, round()?];
    Ok(Rounds { catalog_loads, bytes: resident_bytes()? - before })
}
