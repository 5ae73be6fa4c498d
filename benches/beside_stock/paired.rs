//! Two subjects that take turns, and what their times say of each other.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::shared::AnyError;

/// So many pairs are a block, whose medians make one ratio: few enough for the machine not to change under it, enough
/// for a median.
const BLOCK: usize = 20;

/// How long, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    is_quick: bool,
    pub(crate) budget: Duration,
    pub(crate) block: usize,
}

impl Plan {
    pub(crate) fn new(is_quick: bool) -> Self {
        Plan { is_quick, budget: Duration::from_millis(if is_quick { 250 } else { 8_000 }), block: BLOCK }
    }

    /// How many of something: fewer in a short run.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// For one of several that share the time of a row.
    pub(crate) fn in_half_the_time(self) -> Self {
        Plan { budget: self.budget / 2, ..self }
    }

    /// For what takes long.
    pub(crate) fn in_blocks_of(self, block: usize) -> Self {
        Plan { block, ..self }
    }
}

/// What came of it: seconds, or how often a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Comparison {
    pub(crate) stock: f64,
    pub(crate) ours: f64,
    /// Of ours to stock.
    pub(crate) ratio: Spread,
    /// Ours without stock.
    pub(crate) difference: Spread,
    pub(crate) pairs: usize,
    pub(crate) blocks: usize,
}

/// A median, its quartiles, and the interval that has the median of all such blocks with a probability of 95 %.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) quartiles: [f64; 2],
    pub(crate) confidence_95: [f64; 2],
}

/// One run of a subject, timed by whichever clock.
pub(crate) type Run<'a> = &'a mut dyn FnMut() -> Result<Duration, AnyError>;

pub(crate) fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration, AnyError>
where
    AnyError: From<E>,
{
    let began = Instant::now();
    drop(black_box(work()?));
    Ok(began.elapsed())
}

/// Lets the two take turns until the time is up, A B B A A B …, so that whatever the machine does meanwhile, it does to
/// both.
pub(crate) fn compare<'a>(plan: Plan, stock: Run<'a>, ours: Run<'a>) -> Result<Comparison, AnyError> {
    for _ in 0..plan.block {
        stock()?;
        ours()?;
    }
    let began = Instant::now();
    let mut blocks = Vec::new();
    while blocks.len() < 2 || began.elapsed() < plan.budget {
        let mut times = [Vec::new(), Vec::new()];
        for number in 0..plan.block {
            for turn in [number % 2, 1 - number % 2] {
                let run = if turn == 0 { &mut *stock } else { &mut *ours };
                times[turn].push(run()?.as_secs_f64());
            }
        }
        blocks.push(times.map(median));
    }
    Ok(Comparison::of(&blocks, plan.block * blocks.len()))
}

impl Comparison {
    /// From the medians of each block.
    pub(crate) fn of(blocks: &[[f64; 2]], pairs: usize) -> Self {
        let side = |side: usize| median(blocks.iter().map(|block| block[side]).collect());
        Comparison {
            stock: side(0),
            ours: side(1),
            ratio: Spread::of(blocks.iter().map(|[stock, ours]| ours / stock).collect()),
            difference: Spread::of(blocks.iter().map(|[stock, ours]| ours - stock).collect()),
            pairs,
            blocks: blocks.len(),
        }
    }
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        // Of the number of values below the median, which is binomial, and so nobody's distribution is assumed.
        let half_width = 0.98 / (values.len() as f64).sqrt();
        let at = |share: f64| quantile(&values, share);
        Spread {
            median: at(0.5),
            quartiles: [at(0.25), at(0.75)],
            confidence_95: [at(0.5 - half_width), at(0.5 + half_width)],
        }
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// Of sorted values; between two of them where it falls there.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}
