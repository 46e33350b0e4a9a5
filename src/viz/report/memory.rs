//! A plan's memory as a picture: buffers over steps.

use std::collections::HashMap;

use maud::{Markup, html};

use super::{grouped, part};
use crate::compile::{Place, Plan, Source};
use crate::kernels::real::Real;

/// A value in the arena: its bytes, and the steps from the first to the last that touch it.
#[derive(Debug, PartialEq, Eq)]
struct Buffer {
    label: String,
    start: usize,
    bytes: usize,
    first: usize,
    last: usize,
}

pub fn memory_part<T: Real>(plan: &Plan<T>) -> Markup {
    let (steps, arena) = (plan.steps().len().max(1), plan.arena_bytes().max(1));
    let (width, height) = (1000.0, 360.0);
    let (x, y) =
        (|step: usize| width * step as f64 / steps as f64, |byte: usize| height * byte as f64 / arena as f64);
    let buffers = buffers(plan);
    let alone: usize = buffers.iter().map(|buffer| buffer.bytes).sum();
    let scratch = plan.arena_bytes() - plan.scratch_offset();
    let about = format!(
        "From left to right the {steps} steps of a training step; from top to bottom the arena's {} KiB, of which {} KiB \
         are scratch memory at the bottom. The {} values would take {} KiB if each had a place of its own.",
        grouped(arena.div_ceil(1024)),
        grouped(scratch.div_ceil(1024)),
        buffers.len(),
        grouped(alone.div_ceil(1024)),
    );
    part(
        "Memory",
        &about,
        html! {
            svg.memory viewBox=(format!("0 0 {width} {height}")) preserveAspectRatio="none" role="img" {
                rect.scratch x="0" y=(y(plan.scratch_offset())) width=(width) height=(y(scratch)) {
                    title { "scratch memory" }
                }
                @for (number, buffer) in buffers.iter().enumerate() {
                    rect x=(format!("{:.2}", x(buffer.first))) y=(format!("{:.2}", y(buffer.start)))
                        width=(format!("{:.2}", x(buffer.last + 1) - x(buffer.first)))
                        height=(format!("{:.2}", y(buffer.bytes)))
                        style=(format!("--hue: {}", number * 47 % 360)) {
                        title {
                            (buffer.label) ": " (grouped(buffer.bytes)) " bytes from " (grouped(buffer.start))
                            ", steps " (buffer.first) " to " (buffer.last)
                        }
                    }
                }
            }
        },
    )
}

/// All values in the arena, in the order in which they come to be. What a step makes in the place of an operand is a
/// value of its own, which begins where the operand ends.
fn buffers<T: Real>(plan: &Plan<T>) -> Vec<Buffer> {
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut living: HashMap<usize, usize> = HashMap::new(); // by where they start
    let begin = |buffers: &mut Vec<Buffer>,
                 living: &mut HashMap<usize, usize>,
                 label: String,
                 source: &Source,
                 step| {
        if let Place::Arena(start) = source.place {
            living.insert(start, buffers.len());
            buffers.push(Buffer { label, start, bytes: source.bytes::<T>(), first: step, last: step });
        }
    };
    for input in plan.inputs() {
        begin(&mut buffers, &mut living, format!("input {}", input.name), &input.source, 0);
    }
    for (number, step) in plan.steps().iter().enumerate() {
        let touched = step.operands.iter().filter_map(|source| living_at(&living, source));
        touched.collect::<Vec<_>>().into_iter().for_each(|buffer| buffers[buffer].last = number);
        for made in step.made() {
            begin(&mut buffers, &mut living, step.to_string(), &made.source, number);
        }
    }
    let end = plan.steps().len().saturating_sub(1);
    let kept = plan
        .results()
        .iter()
        .map(|result| &result.source)
        .chain(plan.copies().iter().map(|(_, source)| source));
    for buffer in kept.filter_map(|source| living_at(&living, source)).collect::<Vec<_>>() {
        buffers[buffer].last = end;
    }
    buffers
}

fn living_at(living: &HashMap<usize, usize>, source: &Source) -> Option<usize> {
    let Place::Arena(start) = source.place else { return None };
    living.get(&start).copied()
}
