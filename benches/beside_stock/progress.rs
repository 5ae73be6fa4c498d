//! The progress on the standard error: a bar, or plain lines where that is no terminal.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is going on.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(steps: u64) -> Self {
        let style = ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {wide_msg}");
        let style = style.expect("a template that indicatif knows").progress_chars("━╸ ");
        let bar = ProgressBar::new(steps).with_style(style);
        // Not often: this machine is being measured.
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress { bar }
    }

    pub(crate) fn step(&self, what: &str) {
        if self.bar.is_hidden() {
            self.line(&format!("{what} …"));
        }
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }

    /// Writes between two drawings. Nobody may be reading.
    pub(crate) fn line(&self, text: &str) {
        let _ = self.bar.suspend(|| writeln!(io::stderr(), "{text}"));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
