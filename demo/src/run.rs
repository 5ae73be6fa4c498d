//! The three pools under load, and the switches in the middle.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use fixture::Upgrade;

use crate::args::Options;
use crate::figures::Figures;
use crate::load::{Event, Load};
use crate::progress::Progress;
use crate::subject::{Subject, SubjectPool};
use crate::switches::{self, Front};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// How often the progress is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// What the other threads say to the one that draws.
pub(crate) enum Message {
    Event(Event),
    Note(String),
}

/// All three at the same time: they see the same switch, and the same noise of the machine.
pub(crate) fn run(options: &Options, upgrade: &Upgrade, progress: Progress) -> Result<Figures, AnyError> {
    let front = Front::start(options, upgrade)?;
    let url = front.url();
    let pools = Subject::ALL.map(|subject| SubjectPool::connect(subject, &url, options.threads, options.pooler));
    let pools: Vec<_> = pools.into_iter().collect::<Result<_, _>>()?;
    pools.iter().try_for_each(Load::warm_up)?;
    let length = Duration::from_secs(options.seconds.into());
    let mut progress = progress.run(length);
    let mut events = Vec::new();
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let start = Instant::now();
    let switches = thread::scope(|scope| {
        for pool in &pools {
            let (stop, sender) = (&stop, sender.clone());
            scope.spawn(move || Load { pool, threads: options.threads, start, length, stop }.run(&sender));
        }
        let switches = scope.spawn({
            let (stop, sender, front) = (&stop, sender, &front);
            move || {
                let tell = |what| drop(sender.send(Message::Note(what)));
                switches::perform(front, options, start, stop, tell)
            }
        });
        let mut next_frame = Instant::now();
        loop {
            match receiver.recv_timeout(next_frame.saturating_duration_since(Instant::now())) {
                Ok(Message::Event(event)) => {
                    progress.add(&event);
                    events.push(event);
                }
                Ok(Message::Note(what)) => progress.note(what),
                Err(RecvTimeoutError::Timeout) => {
                    progress.draw(start.elapsed());
                    next_frame = Instant::now() + FRAME;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        switches.join().expect("no panic in the thread that switches")
    });
    progress.finish();
    Ok(Figures::of(options, switches?, &events))
}
