//! The run as a picture: what came of the transactions, a panel for each subject, and how long they took.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::Figures;
use crate::palette::{BACKGROUND, FAILED, INK, MUTED, RIGHT, STYLE, SWITCH, WRONG};
use crate::{counts, latencies, rows};

pub(crate) const WIDTH: u32 = 1000;
pub(crate) const LEFT: i32 = 64;
pub(crate) const RIGHT_MARGIN: i32 = 24;
const TOP: i32 = 108;
const COUNT_HEIGHT: i32 = 132;
const LATENCY_HEIGHT: i32 = 120;
const BOTTOM: i32 = 34;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Draws it as SVG, hatched, and legible on light and dark.
pub(crate) fn draw(figures: &Figures) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let panels = figures.subjects.len() as i32;
    let height = TOP + panels * COUNT_HEIGHT + 2 * LATENCY_HEIGHT + BOTTOM;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        root.fill(&BACKGROUND)?;
        draw_heading(&root, figures)?;
        let most = figures.subjects.iter().flat_map(|of| &of.timeline.per_100_ms).map(|count| count.sum()).max();
        let most = most.unwrap_or_default().max(1);
        let mut top = TOP;
        for subject in &figures.subjects {
            counts::draw(&slice(&root, top, COUNT_HEIGHT), figures, subject, most)?;
            top += COUNT_HEIGHT;
        }
        for what in [latencies::What::P50, latencies::What::P99] {
            latencies::draw(&slice(&root, top, LATENCY_HEIGHT), figures, what)?;
            top += LATENCY_HEIGHT;
        }
        draw_time_axis(&root, figures, top)?;
        root.present()?;
    }
    Ok(with_style(&svg, figures))
}

/// A band of the picture, as wide as it.
fn slice<'a>(root: &Area<'a>, top: i32, height: i32) -> Area<'a> {
    root.clone().shrink((0, top), (WIDTH, height as u32))
}

/// plotters can neither hatch nor dash an area, and knows no dark: the style sheet does.
fn with_style(svg: &str, figures: &Figures) -> String {
    let begin = svg.find('>').map_or(0, |end| end + 1);
    let title = rows::title(figures);
    let described: Vec<_> = figures
        .subjects
        .iter()
        .map(|of| {
            format!(
                "{}: {} right answers, {} failures, {} wrong answers",
                of.subject.name(),
                of.right_answers,
                of.failures,
                of.wrong_answers
            )
        })
        .collect();
    let head = svg[..begin].replacen("<svg ", "<svg role=\"img\" ", 1);
    format!(
        "{head}\n<title>{title}</title>\n<desc>{}.</desc>\n{STYLE}{}\n",
        described.join("; "),
        svg[begin..].trim()
    )
}

fn draw_heading(root: &Area<'_>, figures: &Figures) -> Drawn {
    let options = &figures.options;
    text(root, &rows::title(figures), (LEFT, 14), Size::Title, &INK, HPos::Left)?;
    let load = format!(
        "the same load on three pools at the same time, {} threads each; transactions per 100 ms",
        options.threads
    );
    text(root, &load, (LEFT, 42), Size::Text, &MUTED, HPos::Left)?;
    let samples = [(&RIGHT, "right answers"), (&FAILED, "failures"), (&WRONG, "wrong answers, without an error")];
    for ((colour, label), left) in samples.into_iter().zip([0, 150, 260]) {
        let corner = (LEFT + left, 66);
        root.draw(&Rectangle::new([corner, (corner.0 + 26, corner.1 + 14)], colour.filled()))?;
        text(root, label, (corner.0 + 34, corner.1), Size::Text, &INK, HPos::Left)?;
    }
    let from = LEFT + 580;
    root.draw(&PathElement::new([(from, 73), (from + 26, 73)], SWITCH.stroke_width(2)))?;
    text(root, "the switch", (from + 34, 66), Size::Text, &INK, HPos::Left)?;
    for switch in &figures.switches {
        let label = if figures.switches.len() <= 4 {
            format!("{} → {}", switch.from, switch.to)
        } else {
            switch.to.to_string()
        };
        let x = x_of(figures, switch.began.as_secs_f64());
        text(root, &label, (x, TOP - 14), Size::Text, &INK, HPos::Center)?;
    }
    Ok(())
}

fn draw_time_axis(root: &Area<'_>, figures: &Figures, top: i32) -> Drawn {
    let seconds = f64::from(figures.options.seconds);
    let step = [1, 2, 5, 10, 30, 60].into_iter().find(|step| figures.options.seconds / step <= 12).unwrap_or(120);
    for second in (0..=figures.options.seconds).step_by(step as usize) {
        let x = x_of(figures, f64::from(second));
        root.draw(&PathElement::new([(x, top), (x, top + 4)], MUTED.stroke_width(1)))?;
        let unit = if f64::from(second + step) > seconds { " s" } else { "" };
        let (x, place) = if unit.is_empty() { (x, HPos::Center) } else { (x + 12, HPos::Right) };
        text(root, &format!("{second}{unit}"), (x, top + 8), Size::Small, &MUTED, place)?;
    }
    Ok(())
}

/// Where a moment is, in pixels from the left.
pub(crate) fn x_of(figures: &Figures, seconds: f64) -> i32 {
    let width = f64::from(WIDTH) - f64::from(LEFT + RIGHT_MARGIN);
    LEFT + (seconds / f64::from(figures.options.seconds) * width).round() as i32
}

/// The moments of the switches, from top to bottom of a panel.
pub(crate) fn draw_switches(area: &Area<'_>, figures: &Figures, top: i32, bottom: i32) -> Drawn {
    for switch in &figures.switches {
        let x = x_of(figures, switch.began.as_secs_f64());
        area.draw(&PathElement::new([(x, top), (x, bottom)], SWITCH.stroke_width(2)))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub(crate) enum Size {
    Title,
    Text,
    Small,
}

/// A text whose upper edge is at the position. Sizes are in pixels of the picture.
pub(crate) fn text(
    area: &Area<'_>,
    text: &str,
    position: (i32, i32),
    size: Size,
    colour: &RGBColor,
    place: HPos,
) -> Drawn {
    let (pixels, style) = match size {
        Size::Title => (20.0, FontStyle::Bold),
        Size::Text => (14.0, FontStyle::Normal),
        Size::Small => (12.5, FontStyle::Normal),
    };
    // What plotters calls the size of a font is this much more than SVG does.
    let style = TextStyle::from(("sans-serif", pixels * 1.24, style)).color(colour);
    area.draw(&Text::new(text.to_owned(), position, style.pos(Pos::new(place, VPos::Top))))?;
    Ok(())
}
