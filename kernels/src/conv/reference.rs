//! Convolution as its definition says, on images [N, C, H, W]: the reference that other kernels are compared with.
//!
//! Loops over channels and taps, of which the innermost goes along a row of output positions.

use std::ops::Range;

use super::Convolution;
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::simd::{flush, vectorize};
use crate::tuning::LONG_SUM;
use crate::workers::{Local, Split, Workers};

/// How many partial sums the gradient in a weight has. The column of an output position says which of them it adds to.
const SUMS: usize = 16;

/// What a tap sees from a row of output positions.
#[derive(Debug, Clone, Copy)]
struct TapRow {
    /// The first pixel, in the plane of a channel. The next are a stride apart.
    pixel: usize,
    /// The first output position in its plane, and how many there are.
    position: usize,
    count: usize,
}

impl Convolution {
    /// out\[n, o, y, x\] = ∑ image\[n, c, y·S + i·D − P, x·S + j·D − P\] · weight\[o, c, i, j\] over the channels c of
    /// the group and the taps (i, j), and the epilogue of it; the bias is per filter. Outside the image is 0.
    #[inline(never)]
    pub fn forward<T: Real>(
        &self,
        image: &[T],
        weight: &[T],
        epilogue: Epilogue<T>,
        out: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(
            [image.len(), weight.len(), out.len()],
            [self.images(), self.weights(), self.outputs()]
        );
        debug_assert!(epilogue.bias.is_none_or(|bias| bias.len() == self.groups * self.filters));
        // A task is one filter of one image.
        workers.chunks(out, self.output_plane(), &|plane, out, local| {
            let (group, filter) = (plane / self.filters, plane % (self.groups * self.filters));
            let weight = &weight[filter * self.taps()..][..self.taps()];
            add_up(self.taps(), out, local, |taps, out| {
                for tap in taps {
                    let channel = group * self.channels + tap / self.window_taps();
                    let image = &image[channel * self.image_plane()..][..self.image_plane()];
                    self.rows_of(tap % self.window_taps(), |row| {
                        let out = &mut out[row.position..][..row.count];
                        add_strided(weight[tap], &image[row.pixel..], self.window.stride[1], out);
                    });
                }
            });
            let bias = epilogue.bias.map_or(T::zero(), |bias| bias[filter]);
            for out in out {
                let sum = flush(*out + bias);
                *out = if epilogue.relu && sum <= T::zero() { T::zero() } else { sum };
            }
        });
    }

    /// The adjoint of [`forward`](Self::forward) in the image: each number of `upstream` goes back to the pixels
    /// it came from, by the weights it came by. Pixels that no window reached become 0.
    #[inline(never)]
    pub fn input_grad<T: Real>(&self, weight: &[T], upstream: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!(
            [out.len(), weight.len(), upstream.len()],
            [self.images(), self.weights(), self.outputs()]
        );
        // A task is one channel of one image.
        workers.chunks(out, self.image_plane(), &|plane, out, local| {
            let (group, channel) = (plane / self.channels, plane % self.channels);
            add_up(self.filters * self.window_taps(), out, local, |steps, out| {
                for step in steps {
                    let (filter, tap) = (step / self.window_taps(), step % self.window_taps());
                    let upstream = &upstream[(group * self.filters + filter) * self.output_plane()..];
                    let weight = &weight[(group % self.groups * self.filters + filter) * self.taps()..];
                    let weight = weight[channel * self.window_taps() + tap];
                    self.rows_of(tap, |row| {
                        let upstream = &upstream[row.position..][..row.count];
                        add_to_strided(weight, upstream, self.window.stride[1], &mut out[row.pixel..]);
                    });
                }
            });
            out.iter_mut().for_each(|out| *out = flush(*out));
        });
    }

    /// The adjoint of [`forward`](Self::forward) in the weights:
    /// out\[o, c, i, j\] = ∑ upstream\[n, o, y, x\] · image\[n, c, y·S + i·D − P, x·S + j·D − P\] over n, y and x.
    #[inline(never)]
    pub fn weight_grad<T: Real>(&self, image: &[T], upstream: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!(
            [image.len(), out.len(), upstream.len()],
            [self.images(), self.weights(), self.outputs()]
        );
        // A task is one filter.
        workers.chunks(out, self.taps(), &|filter, out, _| {
            for (tap, out) in out.iter_mut().enumerate() {
                let channel = filter / self.filters * self.channels + tap / self.window_taps();
                let mut sums = [T::zero(); SUMS];
                for n in 0..self.batch {
                    let image = &image[(n * self.groups * self.channels + channel) * self.image_plane()..];
                    let upstream =
                        &upstream[(n * self.groups * self.filters + filter) * self.output_plane()..];
                    self.rows_of(tap % self.window_taps(), |row| {
                        let upstream = &upstream[row.position..][..row.count];
                        add_products(upstream, &image[row.pixel..], self.window.stride[1], &mut sums);
                    });
                }
                *out = flush(sums.into_iter().fold(T::zero(), |total, sum| total + sum));
            }
        });
    }

    /// Calls `visit` for every row of output positions from which a tap reads pixels of the image.
    fn rows_of(&self, tap: usize, mut visit: impl FnMut(TapRow)) {
        let tap = [tap / self.window.kernel[1], tap % self.window.kernel[1]];
        let [rows, columns] = [0, 1].map(|axis| self.positions_inside(axis, tap[axis]));
        if !columns.is_empty() {
            for row in rows {
                let pixel = self.pixel(0, [row, columns.start], tap);
                visit(TapRow { pixel, position: row * self.output[1] + columns.start, count: columns.len() });
            }
        }
    }

    fn window_taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    fn image_plane(&self) -> usize {
        self.image[0] * self.image[1]
    }

    fn output_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }
}

/// The sums that `add` adds up in so many steps; if these are many, in parts, which are added up in double precision.
fn add_up<T: Real>(steps: usize, out: &mut [T], local: &mut Local, add: impl Fn(Range<usize>, &mut [T])) {
    if steps <= LONG_SUM {
        out.fill(T::zero());
        return add(0..steps, out);
    }
    local.reserve(Split::bytes::<f64>(out.len()));
    let totals = local.split().take::<f64>(out.len());
    totals.fill(0.0);
    for start in (0..steps).step_by(LONG_SUM) {
        out.fill(T::zero());
        add(start..steps.min(start + LONG_SUM), out);
        totals.iter_mut().zip(&*out).for_each(|(total, &sum)| *total += sum.into_f64());
    }
    out.iter_mut().zip(totals).for_each(|(out, total)| *out = T::of(*total));
}

/// out\[x\] += factor · from\[x · stride\].
fn add_strided<T: Real>(factor: T, from: &[T], stride: usize, out: &mut [T]) {
    if stride == 1 {
        return add(factor, &from[..out.len()], out);
    }
    for (index, out) in out.iter_mut().enumerate() {
        *out = from[index * stride].mul_add(factor, *out);
    }
}

/// out\[x · stride\] += factor · from\[x\].
fn add_to_strided<T: Real>(factor: T, from: &[T], stride: usize, out: &mut [T]) {
    if stride == 1 {
        return add(factor, from, &mut out[..from.len()]);
    }
    for (index, &from) in from.iter().enumerate() {
        out[index * stride] = from.mul_add(factor, out[index * stride]);
    }
}

/// out += factor · from.
fn add<T: Real>(factor: T, from: &[T], out: &mut [T]) {
    vectorize(
        #[inline(always)]
        || {
            for (out, &from) in out.iter_mut().zip(from) {
                *out = from.mul_add(factor, *out);
            }
        },
    );
}

/// sums\[x mod [`SUMS`]\] += left\[x\] · right\[x · stride\].
fn add_products<T: Real>(left: &[T], right: &[T], stride: usize, sums: &mut [T; SUMS]) {
    if stride > 1 || left.len() < SUMS {
        for (index, &left) in left.iter().enumerate() {
            let sum = &mut sums[index % SUMS];
            *sum = left.mul_add(right[index * stride], *sum);
        }
        return;
    }
    vectorize(
        #[inline(always)]
        || {
            let (left, right) = (left.chunks(SUMS), right[..left.len()].chunks(SUMS));
            for (left, right) in left.zip(right) {
                for index in 0..left.len() {
                    sums[index] = left[index].mul_add(right[index], sums[index]);
                }
            }
        },
    );
}
