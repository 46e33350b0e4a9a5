//! One task of a correlation.

use std::ops::Range;

use super::Correlation;
use super::phase::Phase;
use crate::channels_last::strip::{Fill, Strip};
use crate::channels_last::sweep::{Maxima, Rectangle};
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::simd::Isa;
use crate::workers::Local;

/// One task: a band of places of one picture.
pub struct Job<'a, T> {
    plan: &'a Correlation,
    isa: Isa,
    prepared: &'a [T],
    rows: Range<usize>,
    relu: bool,
    /// Scratch: the picture, the bias of each filter, and the runs of a phase.
    strip: Strip,
    pixels: &'a [T],
    bias: &'a [T],
    runs: &'a mut [[usize; 2]],
}

impl<'a, T: Real> Job<'a, T> {
    /// Brings the band of places into scratch.
    pub fn new(
        plan: &'a Correlation,
        isa: Isa,
        source: &[T],
        prepared: &'a [T],
        epilogue: Epilogue<T>,
        rows: Range<usize>,
        local: &'a mut Local,
    ) -> Self {
        let mut strip = plan.strip;
        strip.origin[0] += (rows.start * plan.row_step) as isize;
        strip.rows += (rows.len() - 1) * plan.row_step;
        local.reserve(plan.bytes::<T>(&strip));
        let mut split = local.split();
        let pixels = split.take(strip.len());
        let bias = split.take(plan.filters);
        let (runs, _) = split.take(2 * plan.most_runs()).as_chunks_mut();
        isa.dispatch(Fill { strip, image: source, to: pixels });
        match epilogue.bias {
            Some(values) => bias.copy_from_slice(values),
            None => bias.fill(T::zero()),
        }
        Self { plan, isa, prepared, rows, relu: epilogue.relu, strip, pixels, bias, runs }
    }

    /// Computes the band, phase by phase. Pixels that no tap reaches are 0.
    pub fn run(&mut self, out: &mut [T]) {
        let plan = self.plan;
        if plan.adjoint && (0..2).any(|axis| plan.sizes.window.stride[axis] > plan.sizes.window.kernel[axis])
        {
            out.fill(T::zero());
        }
        let first = plan.lines(&self.rows).start;
        for phase in plan.phases() {
            let rows = phase.places[0].start.max(self.rows.start)..phase.places[0].end.min(self.rows.end);
            if !rows.is_empty() {
                let line = phase.first[0] + (rows.start - phase.places[0].start) * plan.step[0] - first;
                let start = (line * plan.target[1] + phase.first[1]) * plan.filters;
                self.phase(&phase, rows, &mut out[start..]);
            }
        }
    }

    /// Computes some rows of places of a phase.
    fn phase(&mut self, phase: &Phase, rows: Range<usize>, out: &mut [T]) {
        let (plan, isa, block) = (self.plan, self.isa, self.strip.block);
        let size = [rows.len(), phase.places[1].len()];
        let target_step = [plan.step[0] * plan.target[1] * plan.filters, plan.step[1] * plan.filters];
        self.rectangles(phase, rows.start, (size, target_step), out, |rectangle, _| {
            // SAFETY: the strip holds what all taps see from all places of the phase, the prepared weights
            // `steps` rows of the panel's width, whole registers, and `out` the phase's pixels.
            unsafe { rectangle.compute(isa, block) }
        });
    }

    /// Computes the maxima of the band's 2×2 windows, and where they lie in their plane, if that is wanted.
    pub fn run_pooled(&mut self, out: &mut [T], mut positions: Option<&mut [u32]>) {
        let (plan, isa, block, first) = (self.plan, self.isa, self.strip.block, self.rows.start);
        let [row, windows] = [plan.target[1], plan.target[1] / 2];
        let (size, target_step) = ([self.rows.len(), 2 * windows], [windows * plan.filters, plan.filters]);
        for phase in plan.phases() {
            self.rectangles(&phase, first, (size, target_step), out, |rectangle, filter| {
                let positions =
                    positions.as_mut().map_or(std::ptr::null_mut(), |to| to[filter..].as_mut_ptr());
                // SAFETY: as above; there is a position for each maximum.
                unsafe { rectangle.compute_maxima(isa, block, Maxima { first: first * row, row, positions }) }
            });
        }
    }

    /// Calls `compute(rectangle, first filter)` for all filters, some registers at a time.
    fn rectangles(
        &mut self,
        phase: &Phase,
        first: usize,
        (size, target_step): ([usize; 2], [usize; 2]),
        out: &mut [T],
        mut compute: impl FnMut(&Rectangle<'_, T>, usize),
    ) {
        let plan = self.plan;
        let count = self.list_runs(phase);
        let (steps, lanes) = (plan.steps(phase), self.isa.lanes::<T>());
        let row = (first - self.rows.start) * plan.row_step;
        let source = row * self.strip.row() + phase.places[1].start * self.strip.block;
        for (filters, width) in plan.panels() {
            let weights = phase.weights + filters.start * steps;
            for start in filters.clone().step_by(2 * lanes) {
                let rectangle = Rectangle {
                    size,
                    source: self.pixels.as_ptr().wrapping_add(source),
                    source_row: plan.row_step * self.strip.row(),
                    runs: &self.runs[..count],
                    weights: self.prepared.as_ptr().wrapping_add(weights + start - filters.start),
                    weight_step: width,
                    bias: self.bias[start..].as_ptr(),
                    floor: if self.relu { T::zero() } else { T::neg_infinity() },
                    filters: (filters.end - start).min(2 * lanes),
                    target: out[start..].as_mut_ptr(),
                    target_step,
                };
                compute(&rectangle, start);
            }
        }
    }

    /// Lists the runs of a phase and returns how many there are. Taps of a row whose channels lie together without
    /// gaps are a single run.
    fn list_runs(&mut self, phase: &Phase) -> usize {
        let [down, across] = self.plan.taps(phase);
        let mut count = 0;
        for block in 0..self.strip.blocks() {
            let channels = self.strip.channels_of(block).len();
            let whole = channels == self.strip.block && self.strip.step == 1;
            let (taps, merged) = if whole { (1, across.count) } else { (across.count, 1) };
            for row in down.away..down.away + down.count {
                for column in across.away..across.away + taps {
                    self.runs[count] = [self.strip.offset(block, [row, column]), merged * channels];
                    count += 1;
                }
            }
        }
        count
    }
}
