//! Watching a switch through the pooler.

mod event;
mod moves;
mod observer;
mod session;

use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::args::Watch;
use crate::connect::Url;
use crate::error::Error;
use crate::report;
use crate::watch::event::Event;
use crate::watch::observer::Observer;
use crate::watch::session::{Message, Session};

/// How often somebody who waits is told that nobody answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The subcommand.
pub(crate) fn run(task: &Watch) -> Result<ExitCode, Error> {
    let url = Url::given(task.url.as_deref(), "the pooler")?;
    // If nobody answers at the beginning, the URL is wrong.
    session::first_answer(&url)?;
    let (sender, messages) = channel();
    let interrupted = sender.clone();
    let handler = ctrlc::set_handler(move || {
        // The main thread may be gone already.
        let _ = interrupted.send(Message::End);
    });
    handler.map_err(|error| Error::Unavailable(format!("Ctrl-C can't be noticed: {error}")))?;
    let began = Instant::now();
    Session::start_all(&url, task.sessions, task.interval, began, &sender);
    let mut observer = Observer::new(task.sessions, task.interval);
    loop {
        let left = task.time.map(|time| time.saturating_sub(began.elapsed()));
        let patience = left.unwrap_or(PATIENCE).min(PATIENCE);
        match messages.recv_timeout(patience) {
            Ok(Message::Told(told)) => print(task.json, observer.note(*told))?,
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(silence) = observer.silence(began.elapsed()).filter(|silence| *silence >= PATIENCE) {
                    anstream::eprintln!(
                        "{:8.1} s  nobody has answered for {:.1} s …",
                        seconds(began.elapsed()),
                        seconds(silence)
                    );
                }
            }
        }
        if left == Some(Duration::ZERO) {
            break;
        }
    }
    let (summary, is_clean) = observer.summary(began.elapsed());
    print(task.json, vec![summary])?;
    // Sessions that wait for an answer end with the process.
    Ok(ExitCode::from(u8::from(!is_clean)))
}

fn print(json: bool, events: Vec<Event>) -> Result<(), Error> {
    events.iter().try_for_each(|event| if json { report::json_line(event) } else { report::write(&event.text()) })
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
