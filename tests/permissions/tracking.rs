//! What is tracked belongs to a process: a test that tracks runs itself again, in a process of its own.

use std::process::Command;

use diesel::sql_types::Citext;
use diesel_postgres_hot_upgrade::track;
use fixture::sql_types::DocumentStatus;

const VARIABLE: &str = "TESTS_TRACKED";

/// Runs `run` in a process that tracks what the application binds. `module` is the caller's `module_path!()`.
pub(crate) fn tracking(module: &str, test: &str, run: impl FnOnce()) {
    if std::env::var_os(VARIABLE).is_some() {
        track::<Citext>();
        track::<DocumentStatus>();
        return run();
    }
    let (_, module) = module.split_once("::").expect("a module of a test program");
    let output = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", &format!("{module}::{test}")])
        .env(VARIABLE, "yes")
        .output()
        .expect("another run");
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && report.contains("1 passed"), "{report}{errors}");
}
