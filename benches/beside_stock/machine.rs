//! What it was measured on, in general terms.

use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

use crate::shared::AnyError;
use crate::shared::servers::Servers;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) is_virtual: bool,
    pub(crate) postgres: String,
    pub(crate) pgbouncer: String,
    pub(crate) date: String,
    pub(crate) load_before: Option<String>,
    pub(crate) load_after: Option<String>,
}

impl Machine {
    pub(crate) fn look(servers: &Servers) -> Result<Self, AnyError> {
        let asked = "SELECT pg_catalog.current_setting('server_version'), current_date::text";
        let answer = servers.cluster.client("postgres")?.query_one(asked, &[])?;
        Ok(Machine {
            cores: available_parallelism()?.get(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            is_virtual: fs::read_to_string("/proc/cpuinfo").is_ok_and(|info| info.contains(" hypervisor")),
            postgres: answer.get(0),
            pgbouncer: servers.pgbouncer.version(),
            date: answer.get(1),
            load_before: load(),
            load_after: None,
        })
    }

    pub(crate) fn note_load_after(&mut self) {
        self.load_after = load();
    }

    /// A sentence without a name.
    pub(crate) fn describe(&self) -> String {
        let kind = if self.is_virtual { "a virtual machine" } else { "a machine" };
        let load = match (&self.load_before, &self.load_after) {
            (Some(before), Some(after)) => {
                format!(", with a load average of {before} before and {after} after it")
            }
            _ => String::new(),
        };
        format!(
            "Measured on {}, on {kind} with {} cores ({}){load}; PostgreSQL {} without `fsync`, PgBouncer {}.",
            self.date, self.cores, self.system, self.postgres, self.pgbouncer
        )
    }
}

/// How many wanted to run in the last minute.
fn load() -> Option<String> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next().map(str::to_owned)
}
