//! The forward direction, and the gradient in the image. Both slide weights over a strip of an image; see
//! [`geometry`](crate::conv::geometry). Each group of channels has a strip of its own, one after the other. If a group
//! has few filters, as in a depthwise convolution, a strip holds what a register of filters of several groups sees, and
//! a register of channels meets a register of weights: see [`Spread`]. If few filters see many channels, registers hold
//! channels, and sums are dot products.

use std::ops::Range;

use super::strip::{Spread, Strip};
use super::sweep::MAX_DOT_FILTERS;
use crate::conv::Convolution;
use crate::conv::geometry::Axis;
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};
use crate::tuning::{CONV_TASK_PRODUCTS, CONV_TASKS, LONG_SUM, NARROW_ROWS, SCRATCH_BYTES, STRIP_BYTES};
use crate::workers::{Parts, Split, Workers, even_part};
use band::Band;

mod band;
mod phase;
mod prepare;

/// One direction of a convolution, planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripCorrelation {
    sizes: Convolution,
    is_input_grad: bool,
    /// Rows and columns.
    axes: [Axis; 2],
    /// The strip of a single row of positions, the first.
    strip: Strip,
    /// How many channels of the source each number of the target is summed over.
    depth: usize,
    /// Channels of the target that are computed from a strip; the last strip may have fewer.
    filters: usize,
    /// Whether the filters are so few that registers hold channels of the source, and sums are dot products.
    is_dots: bool,
}

impl StripCorrelation {
    /// The forward direction: the source is the image.
    pub fn forward(sizes: &Convolution) -> Self {
        Self::new(sizes, false)
    }

    /// The gradient in the image: the source is the upstream.
    pub fn input_grad(sizes: &Convolution) -> Self {
        Self::new(sizes, true)
    }

    fn new(sizes: &Convolution, is_input_grad: bool) -> Self {
        let axis = if is_input_grad { Axis::input_grad } else { Axis::forward };
        let axes = [axis(sizes, 0), axis(sizes, 1)];
        let (depth, filters) =
            if is_input_grad { (sizes.filters, sizes.channels) } else { (sizes.channels, sizes.filters) };
        let pixel = sizes.groups * depth;
        let strip = Strip::new(axes, depth, block(depth), pixel);
        let is_dots = (1..=MAX_DOT_FILTERS).contains(&filters) && depth >= MAX_LANES;
        let plan = Self { sizes: *sizes, is_input_grad, axes, strip, depth, filters, is_dots };
        let spread = Spread::new(sizes.groups, depth, filters).map(|spread| {
            let strip = Strip::spread(axes, spread, pixel, sizes.groups * filters);
            Self { strip, filters: strip.channels, is_dots: false, ..plan }
        });
        spread.filter(Self::fits).unwrap_or(plan)
    }

    /// Whether at least one row of positions fits a thread's scratch.
    pub fn fits(&self) -> bool {
        self.bytes::<f64>(&self.strip.padded()) <= SCRATCH_BYTES
    }

    /// How much scratch a task takes with a strip.
    fn bytes<T: Real>(&self, strip: &Strip) -> usize {
        Split::bytes::<T>(strip.len())
            .saturating_add(Split::bytes::<T>(self.filters))
            .saturating_add(Split::bytes::<usize>(self.most_runs(strip).saturating_mul(2)))
    }

    /// How many runs a phase has at most.
    fn most_runs(&self, strip: &Strip) -> usize {
        let [kernel_h, kernel_w] = self.sizes.window.kernel;
        strip.blocks().saturating_mul(kernel_h).saturating_mul(kernel_w)
    }

    /// Height and width of the target.
    fn target(&self) -> [usize; 2] {
        self.axes.map(|axis| axis.target)
    }

    /// How many numbers a pixel of the target has.
    fn target_pixel(&self) -> usize {
        self.sizes.groups * if self.is_input_grad { self.sizes.channels } else { self.sizes.filters }
    }

    /// How many strips an image has, one after the other.
    fn strips(&self) -> usize {
        self.target_pixel().div_ceil(self.filters.max(1))
    }

    /// The channels of the target that are computed from a strip.
    fn filters_of(&self, strip: usize) -> Range<usize> {
        let start = strip * self.filters;
        start..self.target_pixel().min(start + self.filters)
    }

    /// The strip of a single row of positions as a type of register reads it. Only the wide registers of single precision
    /// have narrow blocks, because others are not worth compiling.
    fn strip<T: Real>(&self, isa: Isa) -> Strip {
        if isa.tile_rows::<T>() < NARROW_ROWS { self.strip.padded() } else { self.strip }
    }

    /// Whether the target can be pooled as it is written.
    pub fn pools(&self) -> bool {
        !self.is_dots && self.sizes.taps() <= LONG_SUM
    }

    /// Computes the target: from the image with an epilogue, or from the upstream with a gate.
    pub fn run<T: Real>(
        &self,
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
        let (isa, rows) = (workers.isa(), self.axes[0].positions());
        let bands = self.bands::<T>(&self.strip::<T>(isa), rows);
        let (from, to) = (source.len() / self.sizes.batch, out.len() / self.sizes.batch);
        let parts = Parts::new(out);
        workers.run(self.sizes.batch * bands, &|task, local| {
            let (image, positions) = (task / bands, even_part(rows, bands, task % bands));
            let lines = self.axes[0].targets(&positions);
            let line = self.axes[1].target * self.target_pixel();
            let first = image * to + lines.start * line;
            // SAFETY: the rows of the target that a band of positions reaches are no other task's.
            let out = unsafe { parts.slice(first, lines.len() * line) };
            let source = &source[image * from..][..from];
            Band::new(self, isa, (source, prepared), epilogue, positions, local).run(out);
            if let Some(gate) = gate {
                isa.dispatch(Gate { by: &gate[first..][..out.len()], out });
            }
        });
    }

    /// Computes the maxima of the 2×2 windows of the target, at stride 2, and the index of each in its plane, if
    /// `indices` are given. The target itself is not written. A last odd row or column is ignored.
    pub fn run_pooled<T: Real>(
        &self,
        (source, prepared): (&[T], &[T]),
        epilogue: Epilogue<T>,
        out: &mut [T],
        indices: Option<&mut [u32]>,
        workers: &Workers,
    ) {
        if out.is_empty() {
            return;
        }
        let isa = workers.isa();
        let [pooled_h, pooled_w] = self.target().map(|size| size / 2);
        let bands = self.bands::<T>(&self.strip::<T>(isa), self.axes[0].target).min(pooled_h);
        let line = pooled_w * self.target_pixel();
        let from = source.len() / self.sizes.batch;
        let (out, indices) = (Parts::new(out), indices.map(Parts::new));
        workers.run(self.sizes.batch * bands, &|task, local| {
            let (image, rows) = (task / bands, even_part(pooled_h, bands, task % bands));
            let (first, count) = ((image * pooled_h + rows.start) * line, rows.len() * line);
            // SAFETY: a band's maxima are no other task's.
            let out = unsafe { out.slice(first, count) };
            // SAFETY: nor are their indices.
            let indices = indices.as_ref().map(|parts| unsafe { parts.slice(first, count) });
            let (source, rows) = (&source[image * from..][..from], 2 * rows.start..2 * rows.end);
            Band::new(self, isa, (source, prepared), epilogue, rows, local).run_pooled(out, indices);
        });
    }

    /// Into how many bands so many rows of positions are cut.
    fn bands<T: Real>(&self, strip: &Strip, rows: usize) -> usize {
        let line = Split::bytes::<T>(strip.line()).max(1);
        let most = (STRIP_BYTES / line).saturating_sub(strip.rows) / self.axes[0].source_step() + 1;
        let products = self.prepared().saturating_mul(rows).saturating_mul(strip.columns);
        let wanted = CONV_TASKS.div_ceil(self.sizes.batch).min(products / CONV_TASK_PRODUCTS).max(1);
        rows.div_ceil(most).max(wanted.min(rows))
    }
}

/// How wide the blocks of an image with so many channels are, in numbers.
fn block(channels: usize) -> usize {
    match channels {
        1 => 1,
        2 | 3 => 3,
        _ => MAX_LANES,
    }
}

/// Makes numbers 0 whose gate is ≤ 0; a NaN lets them pass.
struct Gate<'a, T> {
    by: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Gate<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        assert_eq!(self.by.len(), self.out.len());
        for start in (0..self.out.len()).step_by(V::LANES) {
            let count = V::LANES.min(self.out.len() - start);
            // SAFETY: `count` numbers are left in both; `dispatch` vouches for the instruction set.
            unsafe {
                let out = self.out.as_mut_ptr().add(start);
                let by = self.by.as_ptr().add(start);
                if count == V::LANES {
                    V::load(out).gate(V::load(by)).store(out);
                } else {
                    V::load_first(out, count).gate(V::load_first(by, count)).store_first(out, count);
                }
            }
        }
    }
}
