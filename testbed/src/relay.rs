//! One direction of a forwarded connection.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const CHUNK: usize = 16 * 1024;

/// The end of a wait is spent awake: a core that sleeps takes its time to wake up, in virtual machines especially.
/// Yielding meanwhile, or more of this, makes chunks milliseconds late where others want the core.
const AWAKE: Duration = Duration::from_micros(50);

/// How long a chunk stays on the way; may change at any time.
#[derive(Debug, Default)]
pub(crate) struct Delay {
    nanoseconds: AtomicU64,
}

/// Passes on what comes from one side to the other.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    pub(crate) from: &'a TcpStream,
    pub(crate) to: &'a TcpStream,
    pub(crate) delay: &'a Delay,
}

#[derive(Debug)]
struct Chunk {
    due: Instant,
    /// Empty at the end. An error is an end as well, and waits for its turn.
    bytes: io::Result<Vec<u8>>,
}

impl Delay {
    pub(crate) fn set(&self, delay: Duration) {
        let nanoseconds = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.store(nanoseconds, Ordering::SeqCst);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::SeqCst))
    }
}

impl Relay<'_> {
    /// Returns when the end is passed on, too. Calls `arrived` after a chunk has come from the one side, and `leaving`
    /// before it goes to the other.
    pub(crate) fn run(&self, arrived: impl Fn(), leaving: impl Fn()) {
        be_punctual();
        if self.copy(arrived, leaving).is_err() {
            let _ = self.from.shutdown(Shutdown::Both);
        }
        let _ = self.to.shutdown(Shutdown::Write);
    }

    fn copy(&self, arrived: impl Fn(), leaving: impl Fn()) -> io::Result<()> {
        let mut to = self.to;
        let mut buffer = [0; CHUNK];
        let mut queue: VecDeque<Chunk> = VecDeque::new();
        let mut sources = vec![PollFd::new(self.from, PollFlags::IN)];
        loop {
            let next = queue.front().map(|chunk| chunk.due);
            // With nothing under way, reading waits by itself.
            if next.is_none_or(|due| wait(&mut sources, due)) {
                let bytes = self.read(&mut buffer);
                if bytes.as_ref().is_ok_and(|bytes| !bytes.is_empty()) {
                    arrived();
                } else {
                    sources.clear();
                }
                queue.push_back(Chunk { due: Instant::now() + self.delay.get(), bytes });
            }
            while let Some(chunk) = pop_due(&mut queue) {
                let bytes = chunk.bytes?;
                if bytes.is_empty() {
                    return Ok(());
                }
                leaving();
                to.write_all(&bytes)?;
            }
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Vec<u8>> {
        let mut from = self.from;
        loop {
            match from.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                length => return length.map(|length| buffer[..length].to_vec()),
            }
        }
    }
}

fn pop_due(queue: &mut VecDeque<Chunk>) -> Option<Chunk> {
    let is_due = queue.front().is_some_and(|chunk| chunk.due <= Instant::now());
    if is_due { queue.pop_front() } else { None }
}

/// Waits until there is something to read, but not quite until `due`. Returns whether there is.
fn wait(sources: &mut [PollFd<'_>], due: Instant) -> bool {
    let left = due.saturating_duration_since(Instant::now() + AWAKE);
    let left = Timespec::try_from(left).ok();
    poll(sources, left.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Linux lets this thread's waits end 50 µs late unless told otherwise.
fn be_punctual() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
