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
    /// Scratch: what a strip's filters see, the bias of each of its filters, and the runs of a phase.
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

    /// Brings what a strip's filters see, and their bias, into scratch.
    fn fill(&mut self, index: usize) {
        let filters = self.plan.filters_of(index);
        let (strip, channel) = self.strip.number(index, self.plan.target_pixel());
        self.isa.dispatch(Fill { strip, image: self.source, channel, to: self.pixels });
        match self.epilogue.bias {
            Some(values) => self.bias[..filters.len()].copy_from_slice(&values[filters]),
            None => self.bias.fill(T::zero()),
        }
    }

    /// Computes the band, strip by strip and phase by phase. Pixels that no tap reaches are 0.
    pub fn run(&mut self, out: &mut [T]) {
        let plan = self.plan;
        if plan.has_gaps() {
            out.fill(T::zero());
        }
        let first = plan.axes[0].targets(&self.rows).start;
        let [row_step, column_step] = plan.axes.map(|axis| axis.target_step());
        for strip in 0..plan.strips() {
            self.fill(strip);
            for phase in plan.phases() {
                let positions = &phase.rows.positions;
                let rows = positions.start.max(self.rows.start)..positions.end.min(self.rows.end);
                if rows.is_empty() {
                    continue;
                }
                let line = phase.rows.first + (rows.start - positions.start) * row_step - first;
                let pixel = line * plan.axes[1].target + phase.columns.first;
                let out = &mut out[pixel * plan.target_pixel() + strip * plan.filters..];
                let size = [rows.len(), phase.columns.positions.len()];
                let target_step =
                    [row_step * plan.axes[1].target, column_step].map(|step| step * plan.target_pixel());
                self.rectangles(
                    &phase,
                    strip,
                    rows.start,
                    (size, target_step),
                    out,
                    |isa, source, rectangle, _| {
                        // SAFETY: the strip holds what all taps see from all positions of the phase, the prepared weights
                        // `steps` rows of the panel's width, whole registers, and `out` the phase's pixels.
                        unsafe {
                            if rectangle.is_long() {
                                rectangle.compute_long(isa, source, plan.is_dots);
                            } else if plan.is_dots {
                                rectangle.compute_dots(isa);
                            } else {
                                rectangle.compute(isa, source);
                            }
                        }
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
        for strip in 0..plan.strips() {
            self.fill(strip);
            for phase in plan.phases() {
                let start = strip * plan.filters;
                let out = &mut out[start..];
                self.rectangles(
                    &phase,
                    strip,
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

    /// Calls `compute(instruction set, how the strip is read, rectangle, first filter)` for all filters of a strip, some
    /// registers at a time.
    fn rectangles(
        &mut self,
        phase: &Phase,
        strip: usize,
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
        let (block, is_spread) = (self.strip.block, self.strip.spread.is_some());
        let source = if is_spread { StripRead::Lanes } else { StripRead::Numbers { block } };
        for (filters, width) in plan.panels(strip) {
            let weights = strip * plan.prepared_strip() + phase.weights + filters.start * steps;
            for start in filters.clone().step_by(2 * lanes) {
                let lane = if is_spread {
                    let panel = filters.start / block * self.strip.layers();
                    self.strip.offset(panel, [0, 0]) + start - filters.start
                } else {
                    0
                };
                let rectangle = Rectangle {
                    size,
                    source: self.pixels.as_ptr().wrapping_add(position + lane),
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
    /// gaps are a single run. If the channels are spread over lanes, a run is what a tap sees in one block, and
    /// the same for every register of filters.
    fn list_runs(&mut self, phase: &Phase) -> usize {
        let [down, across] = [phase.rows.taps, phase.columns.taps];
        let mut count = 0;
        if self.strip.spread.is_some() {
            for (row, column) in
                (0..down.count).flat_map(|row| (0..across.count).map(move |column| (row, column)))
            {
                for layer in 0..self.strip.layers() {
                    let offset = self.strip.offset(layer, [down.offset(row), across.offset(column)]);
                    self.runs[count] = [offset, 1];
                    count += 1;
                }
            }
            return count;
        }
        for block in 0..self.strip.blocks() {
            let channels = self.strip.channels_of(block).len();
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
