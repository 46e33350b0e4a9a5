//! One task of a correlation.

use std::ops::Range;

use super::StripCorrelation;
use super::phase::Phase;
use crate::conv::nhwc::strip::{Fill, Strip};
use crate::conv::nhwc::sweep::{Maxima, Rectangle, StripRead};
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::simd::Isa;
use crate::workers::Local;

/// A band of rows of positions of one image.
pub struct Band<'a, T> {
    plan: &'a StripCorrelation,
    isa: Isa,
    source: &'a [T],
    prepared: &'a [T],
    epilogue: Epilogue<'a, T>,
    rows: Range<usize>,
    /// Scratch: the source of a group, the bias of each of its filters, and the runs of a phase.
    strip: Strip,
    pixels: &'a mut [T],
    bias: &'a mut [T],
    runs: &'a mut [[usize; 2]],
}

impl<'a, T: Real> Band<'a, T> {
    /// Takes scratch for the band.
    pub fn new(
        plan: &'a StripCorrelation,
        isa: Isa,
        (source, prepared): (&'a [T], &'a [T]),
        epilogue: Epilogue<'a, T>,
        rows: Range<usize>,
        local: &'a mut Local,
    ) -> Self {
        let mut strip = plan.strip::<T>(isa);
        let row_step = plan.axes[0].source_step();
        strip.origin[0] += (rows.start * row_step) as isize;
        strip.rows += (rows.len() - 1) * row_step;
        local.reserve(plan.bytes::<T>(&strip));
        let mut split = local.split();
        let pixels = split.take(strip.len());
        let bias = split.take(plan.filters);
        let (runs, _) = split.take(2 * plan.most_runs(&strip)).as_chunks_mut();
        Self { plan, isa, source, prepared, epilogue, rows, strip, pixels, bias, runs }
    }

    /// Brings a group's channels of the source into scratch.
    fn fill(&mut self, group: usize) {
        let (strip, channel) = (self.strip, group * self.strip.channels);
        self.isa.dispatch(Fill { strip, image: self.source, channel, to: self.pixels });
        match self.epilogue.bias {
            Some(values) => {
                self.bias.copy_from_slice(&values[group * self.plan.filters..][..self.plan.filters])
            }
            None => self.bias.fill(T::zero()),
        }
    }

    /// Computes the band, group by group and phase by phase. Pixels that no tap reaches are 0.
    pub fn run(&mut self, out: &mut [T]) {
        let plan = self.plan;
        if plan.has_gaps() {
            out.fill(T::zero());
        }
        let first = plan.axes[0].targets(&self.rows).start;
        let [row_step, column_step] = plan.axes.map(|axis| axis.target_step());
        for group in 0..plan.groups {
            self.fill(group);
            for phase in plan.phases() {
                let positions = &phase.rows.positions;
                let rows = positions.start.max(self.rows.start)..positions.end.min(self.rows.end);
                if rows.is_empty() {
                    continue;
                }
                let line = phase.rows.first + (rows.start - positions.start) * row_step - first;
                let pixel = line * plan.axes[1].target + phase.columns.first;
                let out = &mut out[pixel * plan.target_pixel() + group * plan.filters..];
                let size = [rows.len(), phase.columns.positions.len()];
                let target_step =
                    [row_step * plan.axes[1].target, column_step].map(|step| step * plan.target_pixel());
                self.rectangles(
                    &phase,
                    group,
                    rows.start,
                    (size, target_step),
                    out,
                    |isa, source, rectangle, _| {
                        // SAFETY: the strip holds what all taps see from all positions of the phase, the prepared weights
                        // `steps` rows of the panel's width, whole registers, and `out` the phase's pixels.
                        unsafe { rectangle.compute(isa, source) }
                    },
                );
            }
        }
    }

    /// Computes the maxima of the band's 2×2 windows, and their indices in their planes, if these are asked for.
    pub fn run_pooled(&mut self, out: &mut [T], mut indices: Option<&mut [u32]>) {
        let (plan, first) = (self.plan, self.rows.start);
        let [row, windows] = [plan.axes[1].target, plan.axes[1].target / 2];
        let pixel = plan.target_pixel();
        let (size, target_step) = ([self.rows.len(), 2 * windows], [windows * pixel, pixel]);
        for group in 0..plan.groups {
            self.fill(group);
            for phase in plan.phases() {
                let start = group * plan.filters;
                let out = &mut out[start..];
                self.rectangles(
                    &phase,
                    group,
                    first,
                    (size, target_step),
                    out,
                    |isa, source, rectangle, filter| {
                        let indices = indices
                            .as_mut()
                            .map_or(std::ptr::null_mut(), |to| to[start + filter..].as_mut_ptr());
                        let maxima = Maxima { first: first * row, row, indices };
                        // SAFETY: as above; there is an index for each maximum.
                        unsafe { rectangle.compute_maxima(isa, source, maxima) }
                    },
                );
            }
        }
    }

    /// Calls `compute(instruction set, how the strip is read, rectangle, first filter)` for all filters of a group, some
    /// registers at a time.
    fn rectangles(
        &mut self,
        phase: &Phase,
        group: usize,
        first: usize,
        (size, target_step): ([usize; 2], [usize; 2]),
        out: &mut [T],
        mut compute: impl FnMut(Isa, StripRead, &Rectangle<'_, T>, usize),
    ) {
        let plan = self.plan;
        let count = self.list_runs(phase);
        let (steps, lanes) = (plan.steps(phase), self.isa.lanes::<T>());
        let row_step = plan.axes[0].source_step();
        let row = (first - self.rows.start) * row_step;
        let position = row * self.strip.row() + phase.columns.positions.start * self.strip.block;
        let group_weights = group * plan.prepared_group();
        let block = self.strip.block;
        let source = if plan.is_depthwise { StripRead::Lanes } else { StripRead::Numbers { block } };
        for (filters, width) in plan.panels() {
            let weights = group_weights + phase.weights + filters.start * steps;
            let panel = if plan.is_depthwise { self.strip.offset(filters.start / block, [0, 0]) } else { 0 };
            for start in filters.clone().step_by(2 * lanes) {
                let lane = if plan.is_depthwise { start - filters.start } else { 0 };
                let rectangle = Rectangle {
                    size,
                    source: self.pixels.as_ptr().wrapping_add(position + panel + lane),
                    source_row: row_step * self.strip.row(),
                    runs: &self.runs[..count],
                    weights: self.prepared.as_ptr().wrapping_add(weights + start - filters.start),
                    weight_step: width,
                    bias: self.bias[start..].as_ptr(),
                    floor: if self.epilogue.relu { T::zero() } else { T::neg_infinity() },
                    filters: (filters.end - start).min(2 * lanes),
                    target: out[start..].as_mut_ptr(),
                    target_step,
                };
                compute(self.isa, source, &rectangle, start);
            }
        }
    }

    /// Lists the runs of a phase and returns how many there are. Taps of a row whose channels lie together without
    /// gaps are a single run. In a depthwise convolution a run is a tap, the same in every block.
    fn list_runs(&mut self, phase: &Phase) -> usize {
        let [down, across] = [phase.rows.taps, phase.columns.taps];
        let blocks = if self.plan.is_depthwise { 1 } else { self.strip.blocks() };
        let mut count = 0;
        for block in 0..blocks {
            let channels = if self.plan.is_depthwise { 1 } else { self.strip.channels_of(block).len() };
            let is_whole = channels == self.strip.block && self.strip.step == 1 && across.step == 1;
            let (taps, merged) = if is_whole { (1, across.count) } else { (across.count, 1) };
            for row in 0..down.count {
                for column in 0..taps {
                    let offset = self.strip.offset(block, [down.offset(row), across.offset(column)]);
                    self.runs[count] = [offset, merged * channels];
                    count += 1;
                }
            }
        }
        count
    }
}
