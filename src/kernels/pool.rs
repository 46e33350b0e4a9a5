//! Pooling over windows of a plane (one channel of one picture). Every kernel runs plane by plane.

use super::real::Real;
use super::simd::vectorize;
use super::workers::Workers;
use crate::shape::Window;

/// Planes of one size, and the window that slides over them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooling {
    /// Height and width of each plane.
    pub plane: [usize; 2],
    /// How many places the window has, vertically and horizontally.
    pub places: [usize; 2],
    /// The window.
    pub window: Window,
}

impl Pooling {
    /// Elements in a plane.
    fn area(&self) -> usize {
        self.plane[0] * self.plane[1]
    }

    /// Elements in a pooled plane.
    fn pooled(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// The part of the plane along `axis` that the window covers at `place`, without padding.
    fn covered(&self, axis: usize, place: usize) -> std::ops::Range<usize> {
        let start = place * self.window.stride[axis];
        let end = (start + self.window.kernel[axis]).saturating_sub(self.window.padding[axis]);
        start.saturating_sub(self.window.padding[axis]).min(self.plane[axis])..end.min(self.plane[axis])
    }

    /// For each place the index in its plane of the window's maximum: the first in row-major order, or the
    /// first NaN if there is one. Padding never wins.
    pub fn argmax<T: Real>(&self, data: &[T], indices: &mut [u32], workers: &Workers) {
        workers.chunks(indices, self.pooled(), &|number, indices, _| {
            let plane = &data[number * self.area()..][..self.area()];
            for (y, row) in indices.chunks_exact_mut(self.places[1]).enumerate() {
                vectorize(|| self.argmax_row(plane, y, row));
            }
        });
    }

    /// The windows of one output row. They advance together over the window's pixels, first to last.
    #[inline(always)]
    fn argmax_row<T: Real>(&self, plane: &[T], y: usize, indices: &mut [u32]) {
        let width = self.plane[1];
        let rows = self.covered(0, y);
        for (x, index) in indices.iter_mut().enumerate() {
            let columns = self.covered(1, x);
            let mut best = rows.start * width + columns.start;
            let mut maximum = plane[best];
            for start in rows.clone().map(|row| row * width) {
                for (column, &value) in columns.clone().zip(&plane[start + columns.start..start + columns.end]) {
                    // A NaN wins, and nothing wins against it.
                    if value > maximum || value.is_nan() && !maximum.is_nan() {
                        (best, maximum) = (start + column, value);
                    }
                }
            }
            *index = best as u32;
        }
    }

    /// Reads each plane at its indices.
    pub fn take<T: Real>(&self, data: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        workers.chunks(out, self.pooled(), &|number, out, _| {
            let plane = &data[number * self.area()..][..self.area()];
            let indices = &indices[number * self.pooled()..][..self.pooled()];
            out.iter_mut().zip(indices).for_each(|(out, &index)| *out = plane[index as usize]);
        });
    }

    /// The adjoint of [`take`](Self::take): adds each value to its plane at its index.
    pub fn put<T: Real>(&self, values: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        workers.chunks(out, self.area(), &|number, plane, _| {
            plane.fill(T::zero());
            let range = number * self.pooled()..(number + 1) * self.pooled();
            for (&value, &index) in values[range.clone()].iter().zip(&indices[range]) {
                plane[index as usize] += value;
            }
        });
    }

    /// The mean over each window; padding counts as zeros.
    pub fn average<T: Real>(&self, data: &[T], out: &mut [T], workers: &Workers) {
        let divisor = T::of(self.window.kernel.iter().product::<usize>() as f64);
        workers.chunks(out, self.pooled(), &|number, out, _| {
            let plane = &data[number * self.area()..][..self.area()];
            for (place, out) in out.iter_mut().enumerate() {
                let mut sum = T::zero();
                self.for_each_covered(place, |at| sum += plane[at]);
                *out = sum / divisor;
            }
        });
    }

    /// The adjoint of [`average`](Self::average).
    pub fn average_adjoint<T: Real>(&self, upstream: &[T], out: &mut [T], workers: &Workers) {
        let divisor = T::of(self.window.kernel.iter().product::<usize>() as f64);
        workers.chunks(out, self.area(), &|number, plane, _| {
            plane.fill(T::zero());
            for (place, &value) in upstream[number * self.pooled()..][..self.pooled()].iter().enumerate() {
                let share = value / divisor;
                self.for_each_covered(place, |at| plane[at] += share);
            }
        });
    }

    #[inline(always)]
    fn for_each_covered(&self, place: usize, mut visit: impl FnMut(usize)) {
        let columns = self.covered(1, place % self.places[1]);
        for row in self.covered(0, place / self.places[1]) {
            columns.clone().for_each(|column| visit(row * self.plane[1] + column));
        }
    }
}
