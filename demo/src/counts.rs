//! A panel of the picture: what came of one pool's transactions, per 100 ms.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::figures::{Figures, SubjectFigures};
use crate::palette::{FAILED, FAILED_INK, GRID, INK, MUTED, RIGHT, WRONG};
use crate::picture::{Area, Drawn, LEFT, RIGHT_MARGIN, Size, WIDTH, draw_switches, text, x_of};
use crate::rows::plural;
use crate::timeline::{Count, PIECE};

const PLOT_TOP: i32 = 30;
const PLOT_BOTTOM: i32 = 118;

/// Fewer failures than this part of the most transactions get a mark: their area would be overlooked.
const SMALL: u32 = 4;

/// `most` is what the panels are high, in transactions.
pub(crate) fn draw(area: &Area<'_>, figures: &Figures, of: &SubjectFigures, most: u32) -> Drawn {
    draw_header(area, figures, of)?;
    draw_axis(area, most)?;
    let counts = &of.timeline.per_100_ms;
    // From the bottom up: right, failed, wrong.
    let layers: [(&RGBColor, Layer, Layer); 3] = [
        (&RIGHT, |_| 0, |count| count.right_answers),
        (&FAILED, |count| count.right_answers, |count| count.right_answers + count.failures),
        (&WRONG, |count| count.right_answers + count.failures, |count| count.sum()),
    ];
    for (colour, lower, upper) in layers {
        for run in runs(counts, |count| upper(count) > lower(count)) {
            let points =
                outline(figures, counts, run, |count| (y_of(lower(count), most), y_of(upper(count), most)));
            area.draw(&Polygon::new(points, colour.filled()))?;
        }
    }
    draw_switches(area, figures, PLOT_TOP - 6, PLOT_BOTTOM)?;
    draw_marks(area, figures, counts, most)
}

type Layer = fn(Count) -> u32;

fn draw_header(area: &Area<'_>, figures: &Figures, of: &SubjectFigures) -> Drawn {
    text(area, of.subject.name(), (LEFT, 6), Size::Text, &INK, HPos::Left)?;
    text(area, of.subject.description(figures.options.pooler), (LEFT + 92, 7), Size::Small, &MUTED, HPos::Left)?;
    let unknown = match of.unknown_outcomes {
        0 => String::new(),
        count => format!("{}, ", plural(count, "unknown outcome")),
    };
    let (failures, wrong) = (plural(of.failures, "failure"), plural(of.wrong_answers, "wrong answer"));
    let sum = format!("{unknown}{failures}, {wrong}");
    let colour = if of.failures + of.wrong_answers == 0 { INK } else { FAILED_INK };
    text(area, &sum, (WIDTH as i32 - RIGHT_MARGIN, 6), Size::Text, &colour, HPos::Right)
}

fn draw_axis(area: &Area<'_>, most: u32) -> Drawn {
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|step| most / step <= 3).unwrap_or(1000);
    for value in (0..=most).step_by(step as usize) {
        let y = y_of(value, most);
        let colour = if value == 0 { MUTED } else { GRID };
        let right = WIDTH as i32 - RIGHT_MARGIN;
        area.draw(&PathElement::new([(LEFT, y), (right, y)], colour.stroke_width(1)))?;
        text(area, &value.to_string(), (LEFT - 8, y - 6), Size::Small, &MUTED, HPos::Right)?;
    }
    Ok(())
}

/// A cross and a number above a few failures.
fn draw_marks(area: &Area<'_>, figures: &Figures, counts: &[Count], most: u32) -> Drawn {
    let bad = |count: Count| count.failures + count.wrong_answers;
    for run in runs(counts, |count| bad(count) > 0) {
        let (sum, high) = counts[run.clone()]
            .iter()
            .fold((0, 0), |(sum, high): (u32, u32), count| (sum + bad(*count), high.max(bad(*count))));
        if run.len() > 2 || high > most / SMALL {
            continue;
        }
        let x = x_of(figures, time_of(run.start + run.end) / 2.0) + 14;
        let y = PLOT_TOP - 2;
        for (from, to) in [((-4, -4), (4, 4)), ((-4, 4), (4, -4))] {
            let points = [(x + from.0, y + from.1), (x + to.0, y + to.1)];
            area.draw(&PathElement::new(points, FAILED_INK.stroke_width(2)))?;
        }
        let label = if figures.switches.len() <= 4 { format!("{sum} went wrong") } else { sum.to_string() };
        text(area, &label, (x + 9, y - 6), Size::Small, &FAILED_INK, HPos::Left)?;
    }
    Ok(())
}

/// Where consecutive pieces fulfil a condition.
fn runs(counts: &[Count], condition: impl Fn(Count) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| condition(**count)) {
        debug_assert!(count.sum() > 0);
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// Steps along the upper edge, and back along the lower one.
fn outline(
    figures: &Figures,
    counts: &[Count],
    run: std::ops::Range<usize>,
    edges: impl Fn(Count) -> (i32, i32),
) -> Vec<(i32, i32)> {
    let sides = |index: usize| (x_of(figures, time_of(index)), x_of(figures, time_of(index + 1)));
    let mut points = Vec::new();
    for index in run.clone() {
        let ((left, right), (_, upper)) = (sides(index), edges(counts[index]));
        points.extend([(left, upper), (right, upper)]);
    }
    for index in run.rev() {
        let ((left, right), (lower, _)) = (sides(index), edges(counts[index]));
        points.extend([(right, lower), (left, lower)]);
    }
    points.dedup();
    points
}

/// When a piece begins.
fn time_of(index: usize) -> f64 {
    index as f64 * PIECE.as_secs_f64()
}

fn y_of(value: u32, most: u32) -> i32 {
    PLOT_BOTTOM - (f64::from(value) / f64::from(most) * f64::from(PLOT_BOTTOM - PLOT_TOP)).round() as i32
}
