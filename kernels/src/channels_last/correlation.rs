//! The forward direction, and the adjoint in the picture: both slide weights over a strip of a picture.
//!
//! The adjoint deals the target's pixels out to phases, as many as the stride: the pixels of a phase are reached
//! by the same taps, so that each phase is a convolution of the upstream by some of the weights, flipped.

use std::ops::Range;

use super::SCRATCH_BYTES;
use super::strip::Strip;
use crate::conv::Convolution;
use crate::gemm::{Epilogue, share};
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES, vectorize};
use crate::workers::{Parts, Split, Workers};
use job::Job;

mod job;
mod phase;
mod prepare;

/// How many bytes a strip should take, so that it stays in the second-level cache.
const STRIP_BYTES: usize = 1 << 18;
/// How many tasks there should be, if they have enough to do.
const TASKS: usize = 16;
/// How many multiplications make a task worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 17;

/// A correlation, planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correlation {
    sizes: Convolution,
    /// Whether this is the adjoint.
    adjoint: bool,
    /// The strip of a single row of places, the first.
    strip: Strip,
    /// Channels of the target.
    filters: usize,
    /// Height and width of the target.
    target: [usize; 2],
    /// How many of the target's pixels lie between places, as many as there are phases.
    step: [usize; 2],
    /// The rows of places of all phases together, and how many rows of the strip lie between two.
    rows: usize,
    row_step: usize,
}

/// The pixels of the target that the same taps reach.
impl Correlation {
    /// The forward direction: the source is the picture.
    pub fn forward(sizes: &Convolution) -> Self {
        let Convolution { channels, filters, image, output, window, .. } = *sizes;
        let [tall, wide] = window.stride;
        let strip = Strip {
            channels,
            block: block(channels),
            source: image,
            step: wide,
            phases: wide.min(window.kernel[1]),
            origin: window.padding.map(|padding| -(padding as isize)),
            rows: window.kernel[0],
            columns: output[1] + (window.kernel[1] - 1) / wide,
        };
        let (sizes, rows) = (*sizes, output[0]);
        Self { sizes, adjoint: false, strip, filters, target: output, step: [1, 1], rows, row_step: tall }
    }

    /// The adjoint in the picture: the source is the upstream, which lies as many places before the first pixel
    /// as there are taps in a phase.
    pub fn adjoint(sizes: &Convolution) -> Self {
        let Convolution { channels, filters, image, output, window, .. } = *sizes;
        let reach = [0, 1].map(|axis| (window.kernel[axis] - 1) / window.stride[axis]);
        let first = [0, 1].map(|axis| window.padding[axis] / window.stride[axis]);
        let places = [0, 1]
            .map(|axis| (window.padding[axis] + image[axis]).div_ceil(window.stride[axis]) - first[axis]);
        let strip = Strip {
            channels: filters,
            block: block(filters),
            source: output,
            step: 1,
            phases: 1,
            origin: [0, 1].map(|axis| first[axis] as isize - reach[axis] as isize),
            rows: 1 + reach[0],
            columns: places[1] + reach[1],
        };
        let (sizes, step, rows) = (*sizes, window.stride, places[0]);
        Self { sizes, adjoint: true, strip, filters: channels, target: image, step, rows, row_step: 1 }
    }

    /// Whether at least one row of places fits a thread's scratch.
    pub fn fits(&self) -> bool {
        self.bytes::<f64>(&self.strip) <= SCRATCH_BYTES
    }

    /// How much scratch a task takes with a strip.
    fn bytes<T: Real>(&self, strip: &Strip) -> usize {
        Split::bytes::<T>(strip.len())
            .saturating_add(Split::bytes::<T>(self.filters))
            .saturating_add(Split::bytes::<usize>(self.most_runs().saturating_mul(2)))
    }

    /// How many runs a phase has at most.
    fn most_runs(&self) -> usize {
        let [tall, wide] = self.sizes.window.kernel;
        self.strip.blocks().saturating_mul(tall).saturating_mul(wide)
    }

    /// Computes the target: from the picture with an epilogue, or from the upstream with a gate.
    pub fn run<T: Real>(
        &self,
        isa: Isa,
        (source, prepared): (&[T], &[T]),
        epilogue: Epilogue<T>,
        gate: Option<&[T]>,
        out: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(prepared.len(), self.prepared());
        if out.is_empty() {
            return;
        }
        let bands = self.bands::<T>();
        let (from, to) = (source.len() / self.sizes.batch, out.len() / self.sizes.batch);
        let parts = Parts::new(out);
        workers.run(self.sizes.batch * bands, &|task, local| {
            let (picture, rows) = (task / bands, share(self.rows, bands, task % bands));
            let lines = self.lines(&rows);
            let line = self.target[1] * self.filters;
            let first = picture * to + lines.start * line;
            // SAFETY: the rows of the target that a band of places reaches are no other task's.
            let out = unsafe { parts.slice(first, lines.len() * line) };
            let source = &source[picture * from..][..from];
            let mut job = Job::new(self, isa, source, prepared, epilogue, rows, local);
            job.run(out);
            if let Some(gate) = gate {
                let gate = &gate[first..][..out.len()];
                vectorize(|| {
                    out.iter_mut().zip(gate).for_each(|(out, &gate)| {
                        *out = if gate <= T::zero() { T::zero() } else { *out };
                    })
                });
            }
        });
    }

    /// Computes the maxima of the 2×2 windows that lie side by side in the target, without writing that, and where in
    /// its plane each of them lies, if that is wanted. Rows and columns that are left over go unseen.
    pub fn run_pooled<T: Real>(
        &self,
        isa: Isa,
        (source, prepared): (&[T], &[T]),
        epilogue: Epilogue<T>,
        out: &mut [T],
        positions: Option<&mut [u32]>,
        workers: &Workers,
    ) {
        if out.is_empty() {
            return;
        }
        let [tall, wide] = self.target.map(|size| size / 2);
        let (bands, line) = (self.bands::<T>().min(tall), wide * self.filters);
        let from = source.len() / self.sizes.batch;
        let (out, positions) = (Parts::new(out), positions.map(Parts::new));
        workers.run(self.sizes.batch * bands, &|task, local| {
            let (picture, rows) = (task / bands, share(tall, bands, task % bands));
            let (first, count) = ((picture * tall + rows.start) * line, rows.len() * line);
            // SAFETY: a band's maxima are no other task's.
            let out = unsafe { out.slice(first, count) };
            // SAFETY: nor are their positions.
            let positions = positions.as_ref().map(|parts| unsafe { parts.slice(first, count) });
            let (source, rows) = (&source[picture * from..][..from], 2 * rows.start..2 * rows.end);
            Job::new(self, isa, source, prepared, epilogue, rows, local).run_pooled(out, positions);
        });
    }

    /// Into how many bands the rows of places are cut.
    fn bands<T: Real>(&self) -> usize {
        let line = Split::bytes::<T>(self.strip.line()).max(1);
        let most = (STRIP_BYTES / line).saturating_sub(self.strip.rows) / self.row_step + 1;
        let products = self.prepared().saturating_mul(self.rows).saturating_mul(self.strip.columns);
        let wanted = TASKS.div_ceil(self.sizes.batch).min(products / TASK_PRODUCTS).max(1);
        self.rows.div_ceil(most).max(wanted.min(self.rows))
    }

    /// The rows of the target that are reached from some rows of places.
    fn lines(&self, rows: &Range<usize>) -> Range<usize> {
        let padding = if self.adjoint { self.sizes.window.padding[0] } else { 0 };
        let first = padding / self.step[0];
        let line = |row: usize| ((first + row) * self.step[0]).saturating_sub(padding).min(self.target[0]);
        line(rows.start)..line(rows.end)
    }
}

/// How wide the blocks of a picture with so many channels are.
fn block(channels: usize) -> usize {
    match channels {
        1 => 1,
        2 | 3 => 3,
        _ => MAX_LANES,
    }
}
