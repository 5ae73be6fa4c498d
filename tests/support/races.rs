//! Conditions of other threads or processes.

use std::thread;
use std::time::{Duration, Instant};

/// Waits for a condition of another thread or process.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
