//! What came of a run, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::args::Options;
use crate::load::{Event, Outcome};
use crate::subject::Subject;
use crate::switches::Switch;
use crate::timeline::Timeline;

/// The whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub(crate) options: Options,
    pub(crate) switches: Vec<Switch>,
    /// In the order of [`Subject::ALL`].
    pub(crate) subjects: Vec<SubjectFigures>,
}

/// One of the three pools.
#[derive(Debug, Serialize)]
pub(crate) struct SubjectFigures {
    #[serde(rename = "name", serialize_with = "as_name")]
    pub(crate) subject: Subject,
    pub(crate) transactions: u64,
    pub(crate) statements: u64,
    pub(crate) right_answers: u64,
    pub(crate) failures: u64,
    pub(crate) failures_when: When,
    pub(crate) failures_by_text: BTreeMap<String, u64>,
    /// The connection was cut while `COMMIT` was under way, and the application was told.
    pub(crate) unknown_outcomes: u64,
    pub(crate) wrong_answers: u64,
    pub(crate) wrong_answers_when: When,
    #[serde(rename = "longest_without_right_answer_ms", serialize_with = "as_milliseconds")]
    pub(crate) longest_gap: Duration,
    /// None if it is part of the transaction.
    #[serde(rename = "checkout_p50_ms", serialize_with = "as_milliseconds_if_any")]
    pub(crate) checkout: Option<Duration>,
    #[serde(rename = "right_answer_p50_ms", serialize_with = "as_milliseconds")]
    pub(crate) p50: Duration,
    #[serde(rename = "right_answer_p99_ms", serialize_with = "as_milliseconds")]
    pub(crate) p99: Duration,
    pub(crate) timeline: Timeline,
}

/// When something went wrong.
#[derive(Debug, Default, Serialize)]
pub(crate) struct When {
    /// Nothing should go wrong there.
    pub(crate) before_first_switch: u64,
    /// On connections that were checked out before a switch was done: no checkout can know of it.
    pub(crate) during_switch: u64,
    /// On connections that were checked out after a switch.
    pub(crate) after_switch: u64,
    /// The connection was cut.
    pub(crate) connection_lost: u64,
}

impl Figures {
    pub(crate) fn of(options: &Options, switches: Vec<Switch>, events: &[Event]) -> Self {
        let subjects = Subject::ALL.map(|subject| {
            let mut own: Vec<_> = events.iter().filter(|event| event.subject == subject).collect();
            own.sort_by_key(|event| event.ended);
            SubjectFigures::of(subject, &own, &switches, Duration::from_secs(options.seconds.into()))
        });
        Figures { options: options.clone(), switches, subjects: subjects.into() }
    }
}

impl SubjectFigures {
    fn of(subject: Subject, events: &[&Event], switches: &[Switch], length: Duration) -> Self {
        let right: Vec<_> =
            events.iter().copied().filter(|event| matches!(event.outcome, Outcome::Right)).collect();
        let (mut failures, mut wrong_answers) = (When::default(), When::default());
        let mut failures_by_text = BTreeMap::<_, u64>::new();
        for event in events {
            match &event.outcome {
                Outcome::Right | Outcome::Unknown => {}
                Outcome::Wrong => wrong_answers.note(event, switches),
                Outcome::Failed { text, .. } => {
                    failures.note(event, switches);
                    *failures_by_text.entry(text.trim().to_owned()).or_default() += 1;
                }
            }
        }
        let mut checkouts: Vec<_> = events.iter().filter_map(|event| event.checkout).collect();
        let unknown = events.iter().filter(|event| matches!(event.outcome, Outcome::Unknown)).count();
        let mut latencies: Vec<_> = right.iter().map(|event| event.latency).collect();
        SubjectFigures {
            subject,
            transactions: events.len() as u64,
            statements: events.iter().map(|event| u64::from(event.statements)).sum(),
            right_answers: right.len() as u64,
            failures: failures.sum(),
            failures_when: failures,
            failures_by_text,
            unknown_outcomes: unknown as u64,
            wrong_answers: wrong_answers.sum(),
            wrong_answers_when: wrong_answers,
            longest_gap: longest_gap(&right, length),
            checkout: percentile(&mut checkouts, 50),
            p50: percentile(&mut latencies, 50).unwrap_or_default(),
            p99: percentile(&mut latencies, 99).unwrap_or_default(),
            timeline: Timeline::of(events, length),
        }
    }
}

impl When {
    fn note(&mut self, event: &Event, switches: &[Switch]) {
        let count = if matches!(event.outcome, Outcome::Failed { is_lost: true, .. }) {
            &mut self.connection_lost
        } else if switches.first().is_none_or(|first| event.ended < first.began) {
            &mut self.before_first_switch
        } else if switches.iter().any(|switch| switch.overlaps(event.began, event.ended)) {
            &mut self.during_switch
        } else {
            &mut self.after_switch
        };
        *count += 1;
    }

    fn sum(&self) -> u64 {
        self.before_first_switch + self.during_switch + self.after_switch + self.connection_lost
    }
}

/// The longest time in which no right answer came.
fn longest_gap(right: &[&Event], length: Duration) -> Duration {
    let ends = right.iter().map(|event| event.ended).chain([length]);
    let mut last = Duration::ZERO;
    let gaps = ends.map(|end| end.saturating_sub(std::mem::replace(&mut last, end)));
    gaps.max().unwrap_or(length)
}

/// The smallest of the durations that so many percent of them don't exceed.
pub(crate) fn percentile(durations: &mut [Duration], percent: usize) -> Option<Duration> {
    durations.sort_unstable();
    let index = (durations.len() * percent).div_ceil(100).saturating_sub(1);
    durations.get(index).copied()
}

/// To a thousandth.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

pub(crate) fn as_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(milliseconds(*duration))
}

fn as_milliseconds_if_any<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => as_milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn as_name<S: Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(subject.name())
}
