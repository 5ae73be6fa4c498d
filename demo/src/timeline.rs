//! A pool's run, cut into equal pieces of time.

use std::time::Duration;

use serde::Serialize;

use crate::figures::{milliseconds, percentile};
use crate::load::{Event, Outcome};

/// What is counted together.
pub(crate) const PIECE: Duration = Duration::from_millis(100);

/// Of fewer latencies than come in this time, a 99th percentile would be the slowest.
pub(crate) const LATENCY_PIECE: Duration = Duration::from_millis(250);

/// In each piece, what ended there.
#[derive(Debug, Serialize)]
pub(crate) struct Timeline {
    pub(crate) per_100_ms: Vec<Count>,
    pub(crate) per_250_ms: Vec<Latency>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Count {
    pub(crate) right_answers: u32,
    pub(crate) failures: u32,
    pub(crate) wrong_answers: u32,
}

/// Of right answers; `None` where there was none.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

impl Count {
    pub(crate) fn sum(self) -> u32 {
        self.right_answers + self.failures + self.wrong_answers
    }
}

impl Timeline {
    pub(crate) fn of(events: &[&Event], length: Duration) -> Self {
        let mut counts = vec![Count::default(); pieces(length, PIECE)];
        let mut latencies = vec![Vec::new(); pieces(length, LATENCY_PIECE)];
        for event in events {
            // What ends after the time is up belongs to the last piece.
            let count = &mut counts[piece(event, PIECE).min(pieces(length, PIECE) - 1)];
            match event.outcome {
                Outcome::Right => {
                    count.right_answers += 1;
                    let last = latencies.len() - 1;
                    latencies[piece(event, LATENCY_PIECE).min(last)].push(event.latency);
                }
                Outcome::Wrong => count.wrong_answers += 1,
                Outcome::Failed { .. } => count.failures += 1,
                Outcome::Unknown => {}
            }
        }
        let per_250_ms = latencies
            .iter_mut()
            .map(|latencies| Latency {
                p50_ms: percentile(latencies, 50).map(milliseconds),
                p99_ms: percentile(latencies, 99).map(milliseconds),
            })
            .collect();
        Timeline { per_100_ms: counts, per_250_ms }
    }
}

fn pieces(length: Duration, piece: Duration) -> usize {
    length.as_millis().div_ceil(piece.as_millis()).max(1) as usize
}

fn piece(event: &Event, piece: Duration) -> usize {
    (event.ended.as_millis() / piece.as_millis()) as usize
}
