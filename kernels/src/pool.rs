//! Pooling over windows of a plane (one channel of one image). Every kernel runs plane by plane.

use std::ops::Range;

use super::real::Real;
use super::simd::vectorize;
use super::workers::{Local, Workers};
use crate::tuning::POOL_BLOCK;
use crate::window::Window;

pub use average::{Average, Regions};

mod average;
mod nhwc;

/// Planes of one size, and the window that slides over them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooling {
    /// Height and width of each plane.
    pub plane: [usize; 2],
    /// Height and width of a pooled plane: how many positions the window has.
    pub output: [usize; 2],
    /// The window.
    pub window: Window,
}

impl Pooling {
    /// Elements in a plane.
    pub fn area(&self) -> usize {
        self.plane[0] * self.plane[1]
    }

    /// Elements in a pooled plane.
    pub fn pooled(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The first pixel along `axis` that the window sees at `position`.
    fn first(&self, axis: usize, position: usize) -> usize {
        let Window { dilation, stride, padding, .. } = self.window;
        let (start, padding) = (position * stride[axis], padding[axis]);
        let skipped = padding.saturating_sub(start).div_ceil(dilation[axis]);
        start + skipped * dilation[axis] - padding
    }

    /// For each output position the index in its plane of the window's maximum: the first in row-major order, or the
    /// first NaN if there is one. Padding never wins.
    #[inline(never)]
    pub fn argmax<T: Real>(&self, data: &[T], indices: &mut [u32], workers: &Workers) {
        // A block is some whole rows of output positions, or part of one that is longer.
        let columns = self.output[1].min(POOL_BLOCK);
        let rows = POOL_BLOCK / columns.max(1);
        workers.chunks(indices, self.pooled(), &|number, mut indices, local| {
            let plane = &data[number * self.area()..][..self.area()];
            for y in (0..self.output[0]).step_by(rows) {
                let rows = y..self.output[0].min(y + rows);
                for x in (0..self.output[1]).step_by(columns) {
                    let columns = x..self.output[1].min(x + columns);
                    let block = indices.split_off_mut(..rows.len() * columns.len());
                    self.argmax_block(plane, rows.clone(), columns, block.unwrap_or_default(), local);
                }
            }
        });
    }

    /// The output positions in some rows and columns. Their windows advance together over their pixels, first to last, so
    /// that many are compared side by side in one register.
    fn argmax_block<T: Real>(
        &self,
        plane: &[T],
        rows: Range<usize>,
        columns: Range<usize>,
        indices: &mut [u32],
        local: &mut Local,
    ) {
        let Window { dilation, stride, padding, .. } = self.window;
        let (width, count) = (self.plane[1], indices.len());
        let mut split = local.split();
        let (maxima, pixels) = (split.take::<T>(count), split.take::<T>(count));
        let origins = split.take::<u32>(count);
        maxima.fill(T::neg_infinity());
        pixels.fill(T::neg_infinity());
        for (line, y) in rows.clone().enumerate() {
            // Where each window begins, which may be before the plane: indices wrap around and back.
            let row = (y * stride[0]).wrapping_sub(padding[0]).wrapping_mul(width).wrapping_sub(padding[1]);
            let line = &mut origins[line * columns.len()..][..columns.len()];
            let positions = line.iter_mut().zip(columns.clone());
            positions.for_each(|(origin, x)| *origin = row.wrapping_add(x * stride[1]) as u32);
        }
        let (rows_of_taps, columns_of_taps) = (self.taps(0, &rows), self.taps(1, &columns));
        for (p, q) in rows_of_taps
            .flat_map(|p| columns_of_taps.clone().map(move |q| (p * dilation[0], q * dilation[1])))
        {
            for (line, y) in rows.clone().enumerate() {
                let line = &mut pixels[line * columns.len()..][..columns.len()];
                self.read_line(plane, [y * stride[0] + p, q], columns.clone(), line);
            }
            let offset = (p * width + q) as u32;
            vectorize(
                #[inline(always)]
                || keep_larger(maxima, indices, pixels, origins, offset),
            );
        }
        // A window of nothing but −∞: its first pixel.
        for position in (0..count).filter(|&position| maxima[position] == T::neg_infinity()) {
            let (y, x) = (rows.start + position / columns.len(), columns.start + position % columns.len());
            indices[position] = (self.first(0, y) * width + self.first(1, x)) as u32;
        }
    }

    /// Reads the pixel that each output position of a line sees, in a row of the padded plane and a column of the
    /// window. Padding reads as −∞.
    fn read_line<T: Real>(&self, plane: &[T], at: [usize; 2], columns: Range<usize>, line: &mut [T]) {
        let Window { stride, padding, .. } = self.window;
        let row = at[0].checked_sub(padding[0]).filter(|&row| row < self.plane[0]);
        let inside = self.window.positions_inside(at[1], self.plane[1], &columns);
        if row.is_none() || inside != columns {
            line.fill(T::neg_infinity());
        }
        if let Some(row) = row.filter(|_| !inside.is_empty()) {
            let first = row * self.plane[1] + inside.start * stride[1] + at[1] - padding[1];
            let line = &mut line[inside.start - columns.start..inside.end - columns.start];
            line.iter_mut().zip(plane[first..].iter().step_by(stride[1])).for_each(|(to, from)| *to = *from);
        }
    }

    /// The pixels of the window along `axis` that are not padding at any of some output positions.
    fn taps(&self, axis: usize, positions: &Range<usize>) -> Range<usize> {
        let Window { kernel, dilation, stride, padding, .. } = self.window;
        let start = padding[axis].saturating_sub(positions.end.saturating_sub(1) * stride[axis]);
        let end = (self.plane[axis] + padding[axis]).saturating_sub(positions.start * stride[axis]);
        start.div_ceil(dilation[axis])..end.div_ceil(dilation[axis]).min(kernel[axis])
    }

    /// Reads each plane at its indices.
    #[inline(never)]
    pub fn take<T: Real>(&self, data: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        workers.chunks(out, self.pooled(), &|number, out, _| {
            let plane = &data[number * self.area()..][..self.area()];
            let indices = &indices[number * self.pooled()..][..self.pooled()];
            out.iter_mut().zip(indices).for_each(|(out, &index)| *out = plane[index as usize]);
        });
    }

    /// The adjoint of [`take`](Self::take): adds each value to its plane at its index.
    #[inline(never)]
    pub fn put<T: Real>(&self, values: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        workers.chunks(out, self.area(), &|number, plane, _| {
            plane.fill(T::zero());
            let range = number * self.pooled()..(number + 1) * self.pooled();
            for (&value, &index) in values[range.clone()].iter().zip(&indices[range]) {
                plane[index as usize] += value;
            }
        });
    }
}

/// Compares each maximum with a pixel, whose index is its window's origin plus `offset`, and keeps the larger
/// one. A NaN wins, and nothing wins against it.
#[inline(always)]
fn keep_larger<T: Real>(maxima: &mut [T], indices: &mut [u32], pixels: &[T], origins: &[u32], offset: u32) {
    let positions = maxima.iter_mut().zip(indices).zip(pixels.iter().zip(origins));
    for ((maximum, index), (&pixel, &origin)) in positions {
        let is_larger = (pixel > *maximum) | (pixel.is_nan() & !maximum.is_nan());
        *maximum = if is_larger { pixel } else { *maximum };
        *index = if is_larger { origin.wrapping_add(offset) } else { *index };
    }
}
