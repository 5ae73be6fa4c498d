//! What takes longer than two seconds says what it does, on standard error.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(2);

/// Ends when it is dropped.
pub(crate) struct Progress {
    steps: Option<Sender<String>>,
    shown: Option<JoinHandle<()>>,
}

/// Says what is being done, for one of several threads.
#[derive(Clone)]
pub(crate) struct Steps(Sender<String>);

impl Progress {
    pub(crate) fn start() -> Progress {
        let (steps, received) = channel::<String>();
        let shown = thread::spawn(move || {
            let started = Instant::now();
            let mut step = "connecting".to_owned();
            let mut due = started + PATIENCE;
            loop {
                match received.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(next) => step = next,
                    Err(RecvTimeoutError::Timeout) => {
                        anstream::eprintln!("{} s: {step} …", started.elapsed().as_secs());
                        due = Instant::now() + PATIENCE;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Progress { steps: Some(steps), shown: Some(shown) }
    }

    /// # Panics
    ///
    /// Never: the sender lives as long as this does.
    pub(crate) fn steps(&self) -> Steps {
        Steps(self.steps.clone().expect("it is taken by drop only"))
    }
}

impl Steps {
    pub(crate) fn set(&self, step: String) {
        // Nobody listens any more at the very end.
        let _ = self.0.send(step);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.steps = None;
        if let Some(shown) = self.shown.take() {
            let _ = shown.join();
        }
    }
}
