//! A panel of the picture: how long right answers took, per 250 ms, for all pools, on a logarithmic scale.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::figures::Figures;
use crate::palette::{CHECKOUT_LINE, GRID, INK, MUTED, STOCK_LINE, VERIFIED_LINE};
use crate::picture::{Area, Drawn, LEFT, RIGHT_MARGIN, Size, WIDTH, draw_switches, text, x_of};
use crate::subject::Subject;
use crate::timeline::{LATENCY_PIECE, Latency};

const PLOT_TOP: i32 = 30;
const PLOT_BOTTOM: i32 = 112;

/// Which latency.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    P50,
    P99,
}

impl What {
    fn of(self, latency: &Latency) -> Option<f64> {
        match self {
            What::P50 => latency.p50_ms,
            What::P99 => latency.p99_ms,
        }
    }

    fn title(self) -> &'static str {
        match self {
            What::P50 => "time of a right answer, median, ms",
            What::P99 => "99 % of right answers within, ms",
        }
    }
}

pub(crate) fn draw(area: &Area<'_>, figures: &Figures, what: What) -> Drawn {
    text(area, what.title(), (LEFT, 6), Size::Text, &INK, HPos::Left)?;
    draw_legend(area)?;
    let scale = Scale::of(figures);
    for value in scale.ticks() {
        let y = scale.y_of(value);
        let right = WIDTH as i32 - RIGHT_MARGIN;
        area.draw(&PathElement::new([(LEFT, y), (right, y)], GRID.stroke_width(1)))?;
        text(area, &value.to_string(), (LEFT - 8, y - 6), Size::Small, &MUTED, HPos::Right)?;
    }
    for subject in &figures.subjects {
        let latencies = &subject.timeline.per_250_ms;
        let points: Vec<_> = latencies.iter().map(|latency| what.of(latency)).collect();
        for line in lines(&points) {
            let points: Vec<_> =
                line.iter().map(|(index, value)| (middle(figures, *index), scale.y_of(*value))).collect();
            area.draw(&PathElement::new(points, colour(subject.subject).stroke_width(2)))?;
        }
    }
    draw_switches(area, figures, PLOT_TOP - 6, PLOT_BOTTOM)
}

fn draw_legend(area: &Area<'_>) -> Drawn {
    for (index, subject) in (0..).zip(Subject::ALL) {
        let left = WIDTH as i32 - RIGHT_MARGIN - 330 + index * 115;
        let points = [(left, 13), (left + 34, 13)];
        area.draw(&PathElement::new(points, colour(subject).stroke_width(2)))?;
        text(area, subject.name(), (left + 42, 6), Size::Small, &INK, HPos::Left)?;
    }
    Ok(())
}

fn colour(subject: Subject) -> RGBColor {
    match subject {
        Subject::Stock => STOCK_LINE,
        Subject::Checkout => CHECKOUT_LINE,
        Subject::Verified => VERIFIED_LINE,
    }
}

/// The middle of a piece, in pixels from the left.
fn middle(figures: &Figures, index: usize) -> i32 {
    x_of(figures, (index as f64 + 0.5) * LATENCY_PIECE.as_secs_f64())
}

/// Consecutive values; where one is missing, the line is interrupted.
fn lines(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let numbered: Vec<_> = values.iter().enumerate().collect();
    numbered
        .split(|(_, value)| value.is_none())
        .map(|part| part.iter().filter_map(|(index, value)| value.map(|value| (*index, value))).collect())
        .filter(|line: &Vec<_>| !line.is_empty())
        .collect()
}

/// Logarithmic, and the same for both panels.
struct Scale {
    lowest: f64,
    highest: f64,
}

impl Scale {
    fn of(figures: &Figures) -> Self {
        let latencies = figures.subjects.iter().flat_map(|of| &of.timeline.per_250_ms);
        let (low, high) = latencies
            .flat_map(|latency| latency.p50_ms.into_iter().chain(latency.p99_ms))
            .fold((1.0_f64, 10.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        // A whole power of ten below, a fifth, a half or a whole one above.
        let power = 10_f64.powf(high.log10().floor());
        let highest = [1.0, 2.0, 5.0].into_iter().map(|part| part * power).find(|highest| *highest >= high);
        Scale { lowest: low.max(0.01).log10().floor(), highest: highest.unwrap_or(10.0 * power).log10() }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.lowest as i32..=self.highest.floor() as i32).map(|power| 10_f64.powi(power))
    }

    fn y_of(&self, value: f64) -> i32 {
        let part = (value.max(0.01).log10() - self.lowest) / (self.highest - self.lowest);
        PLOT_BOTTOM - (part * f64::from(PLOT_BOTTOM - PLOT_TOP)).round() as i32
    }
}
