//! The filter transform: weights to points. And its adjoint: sums at points to gradients in the weights.

use std::ops::Range;

use super::transforms::{AxisTransform, FilterAxis, Points, output_axis};
use crate::gemm::pack::Transpose;
use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};
use crate::tuning::WINOGRAD_TASK_CHANNELS;

/// Where the taps of a filter's channel lie in the weights.
#[derive(Debug, Clone, Copy)]
pub struct FilterStrides {
    /// From one filter to the next.
    pub filter: usize,
    /// From one channel to the next.
    pub channel: usize,
    /// Whether the window is rotated by half a turn.
    pub is_rotated: bool,
}

/// Transforms the weights of one panel of filters and some channels.
pub struct FilterTransform<'a, T, const R: usize, const N: usize> {
    /// The weights as they are stored.
    pub from: &'a [T],
    /// How they are stored.
    pub source: FilterStrides,
    /// The filters of the panel.
    pub filters: Range<usize>,
    /// The channels.
    pub channels: Range<usize>,
    /// The width of the panel, in numbers.
    pub width: usize,
    /// The panel's points: \[point, channel, filter\].
    pub to: *mut T,
    /// From point to point.
    pub point: usize,
}

/// How many numbers the taps of as many channels of a panel take at most.
pub const fn taps(window: usize) -> usize {
    WINOGRAD_TASK_CHANNELS * window * window * 2 * MAX_LANES
}

impl<T: Real, const R: usize, const N: usize> FilterTransform<'_, T, R, N> {
    /// Transforms them, with room for [`taps`] numbers.
    ///
    /// # Safety
    /// There must be room for the points.
    pub unsafe fn run(&self, isa: Isa, taps: &mut [T]) {
        // Where the taps of several channels lie together, they are transposed together.
        let together = if self.source.channel == R * R { self.channels.len() } else { 1 };
        let size = R * R * self.width;
        for first in self.channels.clone().step_by(together.max(1)) {
            isa.dispatch(Transpose {
                from: &self.from[self.filters.start * self.source.filter + first * self.source.channel..],
                stride: self.source.filter,
                columns: self.filters.len(),
                width: self.width,
                to: &mut taps[..together * size],
            });
            for (channel, taps) in (first..).zip(taps[..together * size].chunks_exact(size)) {
                isa.dispatch(TransformChannel { prepare: self, taps, channel });
            }
        }
    }
}

/// Transforms the taps of one channel.
struct TransformChannel<'a, T, const R: usize, const N: usize> {
    prepare: &'a FilterTransform<'a, T, R, N>,
    /// \[tap, filter\]
    taps: &'a [T],
    channel: usize,
}

impl<T: Real, const R: usize, const N: usize> Kernel<T> for TransformChannel<'_, T, R, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let FilterTransform { width, point, source, to, .. } = *self.prepare;
        assert!(self.taps.len() >= R * R * width);
        for filter in (0..width).step_by(V::LANES) {
            // SAFETY: `dispatch` vouches for the instruction set, the assertion for the taps, and the caller of
            // `FilterTransform::run` for the points.
            unsafe {
                let mut lines = [[V::splat(T::zero()); R]; N];
                for x in 0..R {
                    let tap = |y| if source.is_rotated { R * R - 1 - (y * R + x) } else { y * R + x };
                    let mut column = [V::splat(T::zero()); R];
                    for y in 0..R {
                        column[y] = V::load(self.taps.as_ptr().add(tap(y) * width + filter));
                    }
                    let column: [V; N] = FilterAxis.apply(column);
                    for i in 0..N {
                        lines[i][x] = column[i];
                    }
                }
                for i in 0..N {
                    let values: [V; N] = FilterAxis.apply(lines[i]);
                    for j in 0..N {
                        let to = to.add((i * N + j) * point + self.channel * width + filter);
                        scaled::<T, V, N>(values[j], i, j).flush().store(to);
                    }
                }
            }
        }
    }
}

/// The value at a point times its [`SCALE`](Points::SCALE).
#[inline(always)]
unsafe fn scaled<T: Real, V: Vector<T>, const N: usize>(value: V, i: usize, j: usize) -> V {
    let scale = T::of(Points::<N>::SCALE[i] * Points::<N>::SCALE[j]);
    // SAFETY: the caller vouches for the instruction set.
    unsafe { value.mul_add(V::splat(scale), V::splat(T::zero())) }
}

/// The adjoint: transforms the sums of some channels and of one panel of filters to gradients in the weights.
pub struct WeightGradTransform<T, const R: usize, const N: usize> {
    /// The sums: \[point, channel, filter\].
    pub from: *const T,
    /// From point to point.
    pub point: usize,
    /// The width of the panel, in numbers.
    pub width: usize,
    /// How many filters it has.
    pub filters: usize,
    /// How many channels there are.
    pub channels: usize,
    /// The gradients: \[tap, channel, filter\].
    pub to: *mut T,
    /// From one channel to the next.
    pub channel: usize,
    /// From one tap to the next.
    pub tap: usize,
}

impl<T: Real, const R: usize, const N: usize> Kernel<T> for WeightGradTransform<T, R, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        for (channel, filter) in (0..self.channels)
            .flat_map(|channel| (0..self.filters).step_by(V::LANES).map(move |filter| (channel, filter)))
        {
            let count = V::LANES.min(self.filters - filter);
            // SAFETY: `dispatch` vouches for the instruction set; who made this, for sums and gradients.
            unsafe {
                let mut lines = [[V::splat(T::zero()); N]; R];
                for i in 0..N {
                    let mut values = [V::splat(T::zero()); N];
                    for j in 0..N {
                        let at = (i * N + j) * self.point + channel * self.width + filter;
                        values[j] = scaled::<T, V, N>(V::load(self.from.add(at)), i, j);
                    }
                    let values: [V; R] = output_axis(values);
                    for x in 0..R {
                        lines[x][i] = values[x];
                    }
                }
                for x in 0..R {
                    let values: [V; R] = output_axis(lines[x]);
                    for y in 0..R {
                        let at = (y * R + x) * self.tap + channel * self.channel + filter;
                        values[y].flush().store_first(self.to.add(at), count);
                    }
                }
            }
        }
    }
}
