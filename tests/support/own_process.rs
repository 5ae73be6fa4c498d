//! What is tracked belongs to a process: a test that calls `track` runs itself again, in a process of its own.

use std::process::Command;

const VARIABLE: &str = "TEST_IN_A_PROCESS_OF_ITS_OWN";

/// Calls `run` in a process that runs nothing else. `module` is the caller's `module_path!()`.
pub(crate) fn in_a_process_of_its_own(module: &str, test: &str, run: impl FnOnce()) {
    if std::env::var_os(VARIABLE).is_some() {
        return run();
    }
    let name = module.split_once("::").map_or(test.to_owned(), |(_, module)| format!("{module}::{test}"));
    let output = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", &name])
        .env(VARIABLE, "yes")
        .output()
        .expect("another run");
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && report.contains("1 passed"), "{report}{errors}");
}
