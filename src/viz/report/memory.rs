//! A chart of a plan's memory: buffers over steps.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;

use maud::{Markup, html};

use super::{grouped, part};
use crate::compile::{Location, Plan, Source, StepGroup};
use crate::inspect::shortened;
use dagrad_kernels::real::Real;

/// Width and height of the chart; the page stretches it.
const SIZE: (f64, f64) = (1000.0, 360.0);

/// The most values that are drawn: those that take most memory for the longest time.
const DRAWN: usize = 2000;
/// As many letters of a value's name are shown.
const ROOM: usize = 120;

/// A value in memory: its bytes, and the steps from the first to the last that touch it. A thread's own memory is taken to
/// lie behind the arena.
struct Buffer {
    label: String,
    start: usize,
    bytes: usize,
    first: usize,
    last: usize,
}

/// A plan's memory as a part of an HTML page: where values lie, and for how long.
pub fn draw_memory<T: Real>(plan: &Plan<T>) -> String {
    memory_part(plan).into_string()
}

/// The part of a page that shows where values lie, and for how long.
pub(super) fn memory_part<T: Real>(plan: &Plan<T>) -> Markup {
    let (steps, arena) = (plan.steps().len().max(1), plan.arena_bytes());
    let own = plan.groups().iter().map(|group| group.local).max().unwrap_or(0);
    let x = |step: usize| SIZE.0 * step as f64 / steps as f64;
    let y = |byte: usize| SIZE.1 * byte as f64 / (arena + own).max(1) as f64;
    let shape = |class: &str, colour: Option<usize>, buffer: &Buffer| {
        let Buffer { label, start, bytes, first, last } = buffer;
        let offset = if *start < arena { *start } else { start - arena };
        let note = format!(
            "{}: {} bytes from byte {} on{}, steps {first} to {last}",
            shortened(label, ROOM),
            grouped(*bytes),
            grouped(offset),
            if *start < arena { "" } else { " of each thread's own memory" }
        );
        html! {
            rect class=(class) style=[colour.map(|hue| format!("--hue: {hue}"))]
                x=(format!("{:.2}", x(*first))) y=(format!("{:.2}", y(*start)))
                width=(format!("{:.2}", x(last + 1) - x(*first))) height=(format!("{:.2}", y(*bytes))) {
                title { (note) }
            }
        }
    };
    let mut buffers = buffers(plan);
    let about = about(plan, &buffers, own);
    if buffers.len() > DRAWN {
        let area = |buffer: &Buffer| buffer.bytes.saturating_mul(buffer.last + 1 - buffer.first);
        buffers.sort_by_key(|buffer| Reverse(area(buffer)));
        buffers.truncate(DRAWN);
    }
    let content = html! {
        figure.memory {
            svg viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) preserveAspectRatio="none" role="img" {
                @for scratch in scratch(plan) { (shape("scratch", None, &scratch)) }
                @for (number, buffer) in buffers.iter().enumerate() {
                    (shape("buffer", Some(number * 47 % 360), buffer))
                }
                @if own > 0 { line x1="0" x2=(SIZE.0) y1=(y(arena)) y2=(y(arena)) {} }
            }
            figcaption { "Choose a value to see what it is." }
        }
    };
    part("Memory", &about, content)
}

fn about<T: Real>(plan: &Plan<T>, buffers: &[Buffer], own: usize) -> String {
    let kib = |bytes: usize| grouped(bytes.div_ceil(1024));
    let alone: usize = buffers.iter().map(|buffer| buffer.bytes).sum();
    let below = format!(
        " Below the line: {} KiB of each thread's own, for steps that take a few samples at a time.",
        kib(own)
    );
    let drawn = match buffers.len() {
        ..=DRAWN => String::new(),
        _ => format!(" The {} largest are drawn.", grouped(DRAWN)),
    };
    format!(
        "From left to right the {} steps of a training step; from top to bottom the arena's {} KiB, of which {} KiB are scratch \
         memory at the bottom (grey).{} The {} values would take {} KiB if each had memory of its own.{drawn}",
        plan.steps().len(),
        kib(plan.arena_bytes()),
        kib(plan.arena_bytes() - plan.scratch_offset()),
        if own > 0 { &below } else { "" },
        buffers.len(),
        kib(alone)
    )
}

/// Scratch memory: that of the arena, and that of each group of steps in a thread's own memory.
fn scratch<T: Real>(plan: &Plan<T>) -> Vec<Buffer> {
    let arena = plan.arena_bytes();
    let all = (plan.scratch_offset()..arena, 0..plan.steps().len());
    let of_group = |group: &StepGroup| (arena + group.scratch..arena + group.local, group.steps.clone());
    let found = [all].into_iter().chain(plan.groups().iter().take(DRAWN).map(of_group));
    let buffer = |(memory, steps): (Range<usize>, Range<usize>)| Buffer {
        label: "scratch memory".to_string(),
        start: memory.start,
        bytes: memory.len(),
        first: steps.start,
        last: steps.end.saturating_sub(1),
    };
    found.map(buffer).filter(|buffer| buffer.bytes > 0).collect()
}

/// All values in memory, in the order in which they come to be. What a step writes over an operand is a
/// value of its own, which begins when the operand ends.
fn buffers<T: Real>(plan: &Plan<T>) -> Vec<Buffer> {
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut living: HashMap<usize, usize> = HashMap::new(); // by where they start
    let start = |source: &Source| match source.location {
        Location::Arena(start) => Some(start),
        Location::Local(start) => Some(plan.arena_bytes() + start),
        Location::Parameter(_) | Location::Prepared(_) => None,
    };
    let begin = |source: &Source, label: String, step: usize| {
        // Groups are in order.
        let group = plan.groups().get(plan.groups().partition_point(|group| group.steps.end <= step));
        let group = group.filter(|group| group.steps.contains(&step));
        let bytes = match (source.location, group) {
            (Location::Local(_), Some(group)) => source.bytes::<T>() / group.samples * group.chunk,
            _ => source.bytes::<T>(),
        };
        Some(Buffer { label, start: start(source)?, bytes, first: step, last: step })
    };
    let inputs = plan.inputs().iter();
    buffers.extend(inputs.filter_map(|input| begin(&input.source, format!("input {}", input.name), 0)));
    living.extend(buffers.iter().enumerate().map(|(number, buffer)| (buffer.start, number)));
    for (number, step) in plan.steps().iter().enumerate() {
        for operand in step.operands.iter().filter_map(start).filter_map(|start| living.get(&start)) {
            buffers[*operand].last = number;
        }
        for made in step.outputs().filter_map(|made| begin(&made.source, step.to_string(), number)) {
            living.insert(made.start, buffers.len());
            buffers.push(made);
        }
    }
    let results = plan.results().iter().map(|result| &result.source);
    let kept = results.chain(plan.copies().iter().map(|(_, source)| source));
    for kept in kept.filter_map(start).filter_map(|start| living.get(&start)) {
        buffers[*kept].last = plan.steps().len().saturating_sub(1);
    }
    buffers
}
