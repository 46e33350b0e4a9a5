//! Loss and metrics against epochs: a line for each network, in a band over its runs.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Run, grouped};
use crate::error::{Error, Result};
use crate::train::Epoch;

/// Colours that most people can tell apart, after Okabe and Ito.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const SIZE: (u32, u32) = (520, 320);
/// The most lines of a chart,
const LINES: usize = 40;
/// and the most points of a line: of more epochs neighbours become one point. Many lines have fewer.
const POINTS: usize = 240;
const ALL_POINTS: usize = 2400;

/// The most charts.
const CHARTS: usize = 8;

/// What a chart shows: the loss, or a metric.
type Shown<'a> = Option<&'a str>;

/// The value on training samples, or on test samples.
fn value(epoch: &Epoch, shown: Shown<'_>, is_test: bool) -> f64 {
    match (shown, is_test) {
        (None, false) => epoch.loss,
        (None, true) => epoch.test.loss,
        (Some(metric), false) => epoch.train.get(metric).unwrap_or(f64::NAN),
        (Some(metric), true) => epoch.test.get(metric).unwrap_or(f64::NAN),
    }
}

/// The loss, and the metrics of all runs.
fn charts(runs: &[Run]) -> Vec<Shown<'_>> {
    let mut shown = vec![None];
    for (name, _) in runs.iter().filter_map(|run| run.epochs.first()).flat_map(|epoch| epoch.test.metrics()) {
        if !shown.contains(&Some(name)) && shown.len() < CHARTS {
            shown.push(Some(name));
        }
    }
    shown
}

/// For some epochs of several runs: the last one's number, and the least, the mean and the most.
struct Point {
    epoch: f64,
    low: f64,
    mean: f64,
    high: f64,
}

pub fn section(runs: &[Run]) -> Result<Markup> {
    if runs.iter().all(|run| run.epochs.is_empty()) {
        return Ok(html! {});
    }
    let mut known = HashSet::new();
    let mut names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    names.retain(|name| known.insert(*name));
    let hidden = names.len().saturating_sub(LINES);
    names.truncate(LINES);
    Ok(html! {
        section.curves {
            h2 { "Learning" }
            p.legend {
                @for (name, colour) in names.iter().zip(COLOURS.iter().cycle()) {
                    span.key style=(format!("--key: rgb({} {} {})", colour.0, colour.1, colour.2)) { (name) }
                    " "
                }
                @if hidden > 0 { "And " (grouped(hidden)) " more, which are not drawn. " }
                "Solid: training samples; dashed: test samples; bands: from the least to the most of several runs"
                @if runs.iter().any(|run| run.epochs.len() > points_of(names.len())) { ", and of epochs in one point" }
                "."
            }
            div.columns {
                @for shown in charts(runs) { (draw(shown, runs, &names)?) }
            }
        }
    })
}

/// A chart. Its caption says if there is nothing to draw, as when training diverged from the start.
fn draw(shown: Shown<'_>, runs: &[Run], names: &[&str]) -> Result<Markup> {
    let mut caption = shown.unwrap_or("loss").to_owned();
    if let Some(first) = caption.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let most = points_of(names.len());
    let line = |name, is_test| points(runs, name, |epoch| value(epoch, shown, is_test), most);
    let lines: Vec<[Vec<Point>; 2]> =
        names.iter().map(|name| [false, true].map(|is_test| line(name, is_test))).collect();
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let dashed =
        plot(&area, &lines).map_err(|error| Error::setting("report", format!("{caption}: {error}")))?;
    drop(area);
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    svg.insert_str(end, &dashed.into_string());
    let is_empty = lines.iter().flatten().all(Vec::is_empty);
    Ok(html! {
        figure.chart { figcaption { (caption) @if is_empty { ": no finite number" } } (PreEscaped(svg)) }
    })
}

/// How many points a line has at most, if there are so many lines.
fn points_of(lines: usize) -> usize {
    (ALL_POINTS / lines.max(1)).min(POINTS)
}

/// The values of all runs of a name, by number of the epoch, in at most so many points. What is no finite number is left out.
fn points(runs: &[Run], name: &str, value: impl Fn(&Epoch) -> f64, most: usize) -> Vec<Point> {
    let epochs = || runs.iter().filter(|run| run.name == name).flat_map(|run| &run.epochs);
    let first = epochs().map(|epoch| epoch.number).min().unwrap_or(0);
    let last = epochs().map(|epoch| epoch.number).max().unwrap_or(0);
    let together = ((last - first) / most + 1).max(1);
    let mut found: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for epoch in epochs().filter(|epoch| value(epoch).is_finite()) {
        let end = first + (epoch.number - first) / together * together + (together - 1);
        found.entry(end.min(last)).or_default().push(value(epoch));
    }
    let point = |(number, values): (usize, Vec<f64>)| Point {
        epoch: number as f64,
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        mean: values.iter().sum::<f64>() / values.len() as f64,
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    found.into_iter().map(point).collect()
}

/// Draws all but the dashed lines, and returns these: each would be an element for every dash.
fn plot(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    lines: &[[Vec<Point>; 2]],
) -> Result<Markup, Box<dyn std::error::Error>> {
    let all = || lines.iter().flatten().flatten();
    let last = all().map(|point| point.epoch).fold(1.0, f64::max);
    let text = ("sans-serif", 15);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(24) // half of the last number
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(1.0..last.max(1.5), span(all()))?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels((last as usize).clamp(2, 8))
        .y_labels(6)
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x}") } else { String::new() })
        .label_style(text)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let mut dashed = Vec::new();
    for (pair, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        for (points, is_test) in pair.iter().zip([false, true]) {
            let there = points.iter().map(|point| (point.epoch, point.high));
            let back = points.iter().rev().map(|point| (point.epoch, point.low));
            chart.draw_series([Polygon::new(there.chain(back).collect::<Vec<_>>(), colour.mix(0.15))])?;
            if let [only] = &points[..] {
                let dot = Circle::new((only.epoch, only.mean), 4, colour.filled());
                chart.draw_series([dot])?; // no line is drawn from one point
            }
            let means = points.iter().map(|point| (point.epoch, point.mean));
            if is_test {
                let pixels = means.map(|mean| chart.backend_coord(&mean)).map(|(x, y)| format!("{x},{y} "));
                dashed.push((pixels.collect::<String>(), colour));
            } else {
                chart.draw_series(LineSeries::new(means, colour.stroke_width(2)))?;
            }
        }
    }
    area.present()?;
    Ok(html! {
        @for (points, RGBColor(red, green, blue)) in &dashed {
            polyline.dashed points=(points) stroke=(format!("rgb({red} {green} {blue})")) {}
        }
    })
}

/// From the least to the most, with room for a line that is flat.
fn span<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> Range<f64> {
    let low = points.clone().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let high = points.map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return 0.0..1.0;
    }
    let margin = match 0.05 * (high - low).max(1e-3 * high.abs()) {
        0.0 => 1.0,
        margin => margin,
    };
    low - margin..high + margin
}
