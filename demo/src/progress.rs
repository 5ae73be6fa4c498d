//! The progress on the standard error: a bar, and below it a line for each subject. Plain lines where that is no
//! terminal.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::figures::percentile;
use crate::load::{Event, Outcome};
use crate::subject::Subject;

const TICK: Duration = Duration::from_millis(100);

/// What is going on.
pub(crate) struct Progress {
    bars: MultiProgress,
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(steps: u64) -> Self {
        let bars = MultiProgress::new();
        let bar = bars.add(ProgressBar::new(steps).with_style(style("{spinner} {bar:24} {pos}/{len} {wide_msg}")));
        bar.enable_steady_tick(TICK);
        Progress { bars, bar }
    }

    /// A step of the preparations begins.
    pub(crate) fn step(&self, what: &str) {
        if self.bar.is_hidden() {
            eprintln!("{what} …");
        }
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }

    /// Where others may write while bars are drawn.
    pub(crate) fn writer(&self) -> Writer {
        Writer { bars: self.bars.clone() }
    }

    /// The preparations are over; the run begins.
    pub(crate) fn run(self, length: Duration) -> Run {
        self.bar.finish_and_clear();
        let bar = self.bars.add(ProgressBar::new(length.as_millis() as u64));
        bar.set_style(style("  {bar:24} {msg}"));
        let lines = Subject::ALL.map(|subject| Line {
            subject,
            bar: self.bars.add(ProgressBar::new_spinner().with_style(style("  {msg}"))),
            failures: 0,
            wrong_answers: 0,
            last_second: VecDeque::new(),
        });
        Run { bars: self.bars, bar, lines, doing: "load on three pools".to_owned(), length }
    }
}

/// The load runs.
pub(crate) struct Run {
    bars: MultiProgress,
    bar: ProgressBar,
    lines: [Line; 3],
    doing: String,
    length: Duration,
}

struct Line {
    subject: Subject,
    bar: ProgressBar,
    failures: u64,
    wrong_answers: u64,
    last_second: VecDeque<(Duration, Duration, u32)>,
}

impl Run {
    /// Says what happens now.
    pub(crate) fn note(&mut self, doing: String) {
        if self.bar.is_hidden() {
            eprintln!("{doing}");
        }
        self.doing = doing;
    }

    pub(crate) fn add(&mut self, event: &Event) {
        let line = &mut self.lines[event.subject as usize];
        line.failures += u64::from(matches!(event.outcome, Outcome::Failed { .. }));
        line.wrong_answers += u64::from(matches!(event.outcome, Outcome::Wrong));
        line.last_second.push_back((event.ended, event.latency, event.statements));
    }

    /// Draws what is true at `now`, the time since the start of the run.
    pub(crate) fn draw(&mut self, now: Duration) {
        let (now, length) = (now.min(self.length), self.length);
        self.bar.set_position(now.as_millis() as u64);
        self.bar.set_message(format!("{:.0} of {} s  {}", now.as_secs_f64(), length.as_secs(), self.doing));
        for line in &mut self.lines {
            line.draw(now);
        }
    }

    /// Takes the lines away.
    pub(crate) fn finish(self) {
        for line in &self.lines {
            line.bar.finish_and_clear();
        }
        self.bar.finish_and_clear();
        let _ = self.bars.clear();
    }
}

impl Line {
    fn draw(&mut self, now: Duration) {
        let since = now.saturating_sub(Duration::from_secs(1));
        while self.last_second.front().is_some_and(|(ended, ..)| *ended < since) {
            self.last_second.pop_front();
        }
        let statements: u32 = self.last_second.iter().map(|(.., statements)| statements).sum();
        let mut latencies: Vec<_> = self.last_second.iter().map(|(_, latency, _)| *latency).collect();
        let p99 = percentile(&mut latencies, 99).unwrap_or_default();
        self.bar.set_message(format!(
            "{:<9}{statements:>6} statements/s{:>7} failures{:>7} wrong answers   p99 {:>6.1} ms",
            self.subject.name(),
            self.failures,
            self.wrong_answers,
            p99.as_secs_f64() * 1000.0,
        ));
    }
}

/// Writes to the standard error between two drawings.
pub(crate) struct Writer {
    bars: MultiProgress,
}

impl Writer {
    pub(crate) fn line(&self, text: &str) {
        // Nobody may be reading.
        let _ = self.bars.suspend(|| writeln!(io::stderr(), "{text}"));
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template that indicatif knows").progress_chars("━╸ ")
}
