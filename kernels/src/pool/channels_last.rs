//! Maximum pooling of pictures that lie pixel after pixel, [N, H, W, C].
//!
//! The channels of a pixel are compared side by side, a fixed number of lanes at a time. Where the channels do not
//! fill the last lanes, these start earlier and do some channels again, with the same result.

use std::ops::Range;

use super::Pooling;
use crate::real::Real;
use crate::simd::vectorize;
use crate::workers::{Parts, Workers};

/// How many outputs make a task.
const TASK: usize = 1 << 13;
/// In windows with more pixels than this, a value is looked up; in smaller ones all pixels are compared.
const COMPARED: usize = 16;

/// Runs a statement with `$lanes` the widest constant that is no more than the channels, in which case lanes that
/// start at each [`starts`] cover them.
macro_rules! by_lanes {
    ($channels:expr, $lanes:ident, $work:expr) => {
        match $channels {
            0 => {}
            1..4 => vectorize(
                #[inline(always)]
                || {
                    const $lanes: usize = 1;
                    $work
                },
            ),
            4..16 => vectorize(
                #[inline(always)]
                || {
                    const $lanes: usize = 4;
                    $work
                },
            ),
            _ => vectorize(
                #[inline(always)]
                || {
                    const $lanes: usize = 16;
                    $work
                },
            ),
        }
    };
}

/// Where lanes start that cover the channels together.
#[inline(always)]
fn starts<const LANES: usize>(channels: usize) -> impl Iterator<Item = usize> + Clone {
    (0..channels.div_ceil(LANES)).map(move |index| (index * LANES).min(channels - LANES))
}

/// Some neighbours.
#[inline(always)]
fn lanes<T: Copy, const LANES: usize>(from: &[T], start: usize) -> [T; LANES] {
    std::array::from_fn(|lane| from[start..][..LANES][lane])
}

impl Pooling {
    /// As [`argmax`](Self::argmax), of pictures [N, H, W, C]: indices [N, H', W', C] of pixels y · W + x.
    #[inline(never)]
    pub fn argmax_last<T: Real>(&self, channels: usize, data: &[T], indices: &mut [u32], workers: &Workers) {
        let indices = Parts::new(indices);
        self.rows_of_places(channels, indices.len(), workers, &|picture, rows, start| {
            let plane = self.picture(channels, data, picture);
            // SAFETY: these rows of places are no other task's.
            let indices = unsafe { indices.slice(start, rows.len() * self.places[1] * channels) };
            by_lanes!(
                channels,
                LANES,
                self.maxima::<T, LANES>(channels, plane, rows, |at, _, found| {
                    indices[at..at + LANES].copy_from_slice(&found);
                })
            );
        });
    }

    /// The maxima themselves, as [`argmax_last`](Self::argmax_last) finds and [`take_last`](Self::take_last) takes
    /// them, and their indices, if these are wanted.
    #[inline(never)]
    pub fn max_last<T: Real>(
        &self,
        channels: usize,
        data: &[T],
        out: &mut [T],
        indices: Option<&mut [u32]>,
        workers: &Workers,
    ) {
        let (out, indices) = (Parts::new(out), indices.map(Parts::new));
        self.rows_of_places(channels, out.len(), workers, &|picture, rows, start| {
            let (plane, count) =
                (self.picture(channels, data, picture), rows.len() * self.places[1] * channels);
            // SAFETY: these rows of places are no other task's.
            let out = unsafe { out.slice(start, count) };
            // SAFETY: nor are their indices.
            match indices.as_ref().map(|indices| unsafe { indices.slice(start, count) }) {
                Some(indices) => by_lanes!(
                    channels,
                    LANES,
                    self.maxima::<T, LANES>(channels, plane, rows, |at, maxima, found| {
                        out[at..at + LANES].copy_from_slice(&maxima);
                        indices[at..at + LANES].copy_from_slice(&found);
                    })
                ),
                None => by_lanes!(
                    channels,
                    LANES,
                    self.maxima::<T, LANES>(channels, plane, rows, |at, maxima, _| {
                        out[at..at + LANES].copy_from_slice(&maxima);
                    })
                ),
            }
        });
    }

    /// As [`take`](Self::take), of pictures [N, H, W, C]. Indices must be of pixels in their windows.
    #[inline(never)]
    pub fn take_last<T: Real>(
        &self,
        channels: usize,
        data: &[T],
        indices: &[u32],
        out: &mut [T],
        workers: &Workers,
    ) {
        let out = Parts::new(out);
        let is_small = self.window.kernel[0].saturating_mul(self.window.kernel[1]) <= COMPARED;
        self.rows_of_places(channels, out.len(), workers, &|picture, rows, start| {
            let plane = self.picture(channels, data, picture);
            let count = rows.len() * self.places[1] * channels;
            let indices = &indices[start..][..count];
            // SAFETY: these rows of places are no other task's.
            let out = unsafe { out.slice(start, count) };
            if is_small {
                by_lanes!(
                    channels,
                    LANES,
                    self.take_compared::<T, LANES>(channels, plane, rows, indices, out)
                );
            } else {
                for (at, (out, &index)) in out.iter_mut().zip(indices).enumerate() {
                    *out = plane[index as usize * channels + at % channels];
                }
            }
        });
    }

    /// As [`put`](Self::put), of pictures [N, H, W, C]. Indices must be of pixels in their windows.
    #[inline(never)]
    pub fn put_last<T: Real>(
        &self,
        channels: usize,
        values: &[T],
        indices: &[u32],
        out: &mut [T],
        workers: &Workers,
    ) {
        let apart = (0..2).all(|axis| self.window.stride[axis] >= self.window.kernel[axis]);
        let area = self.area() * channels;
        workers.chunks(out, area, &|picture, out, _| {
            let range = picture * self.pooled() * channels..(picture + 1) * self.pooled() * channels;
            let (values, indices) = (&values[range.clone()], &indices[range]);
            if !(apart && self.is_covered()) {
                out.fill(T::zero());
            }
            if apart {
                by_lanes!(channels, LANES, self.put_apart::<T, LANES>(channels, values, indices, out));
            } else {
                for (at, (&value, &index)) in values.iter().zip(indices).enumerate() {
                    out[index as usize * channels + at % channels] += value;
                }
            }
        });
    }

    /// Whether every pixel lies in a window, if no two windows overlap.
    fn is_covered(&self) -> bool {
        (0..2).all(|axis| {
            let (kernel, stride) = (self.window.kernel[axis], self.window.stride[axis]);
            kernel == stride
                && self.window.covered(axis, self.places[axis].saturating_sub(1), self.plane[axis]).end
                    == self.plane[axis]
        })
    }

    /// A picture of several.
    fn picture<'a, T>(&self, channels: usize, data: &'a [T], picture: usize) -> &'a [T] {
        &data[picture * self.area() * channels..][..self.area() * channels]
    }

    /// Calls `task(picture, rows of places, number of their first output)` until all `outputs` are covered.
    fn rows_of_places(
        &self,
        channels: usize,
        outputs: usize,
        workers: &Workers,
        task: &(dyn Fn(usize, Range<usize>, usize) + Sync),
    ) {
        let row = self.places[1] * channels;
        if outputs == 0 || row == 0 {
            return;
        }
        let rows = (TASK / row).clamp(1, self.places[0]);
        let bands = self.places[0].div_ceil(rows);
        workers.run(outputs / (self.pooled() * channels) * bands, &|index, _| {
            let (picture, first) = (index / bands, index % bands * rows);
            let rows = first..self.places[0].min(first + rows);
            task(picture, rows, (picture * self.places[0] + first) * row);
        });
    }

    /// Calls `visit(output, first pixel, height and width)` for the window at every place in some rows; outputs count
    /// from the first of these rows.
    #[inline(always)]
    fn windows(&self, channels: usize, rows: Range<usize>, mut visit: impl FnMut(usize, usize, [usize; 2])) {
        let is_quad = self.window.kernel == [2, 2] && self.window.padding == [0, 0];
        let (first, stride) = (rows.start, self.window.stride);
        for y in rows {
            for x in 0..self.places[1] {
                let at = ((y - first) * self.places[1] + x) * channels;
                if is_quad {
                    // The most common window, with a size that the compiler knows.
                    visit(at, y * stride[0] * self.plane[1] + x * stride[1], [2, 2]);
                } else {
                    let [rows, columns] =
                        [(0, y), (1, x)].map(|(axis, at)| self.window.covered(axis, at, self.plane[axis]));
                    visit(at, rows.start * self.plane[1] + columns.start, [rows.len(), columns.len()]);
                }
            }
        }
    }

    /// Calls `found(output, maxima, indices)` for all lanes of every place in some rows.
    #[inline(always)]
    fn maxima<T: Real, const LANES: usize>(
        &self,
        channels: usize,
        plane: &[T],
        rows: Range<usize>,
        mut found: impl FnMut(usize, [T; LANES], [u32; LANES]),
    ) {
        self.windows(
            channels,
            rows,
            #[inline(always)]
            |at, first, [height, width]| {
                for start in starts::<LANES>(channels) {
                    let mut maxima = lanes::<T, LANES>(plane, first * channels + start);
                    let mut indices = [first as u32; LANES];
                    for row in 0..height {
                        for column in 0..width {
                            let index = first + row * self.plane[1] + column;
                            let pixels = lanes::<T, LANES>(plane, index * channels + start);
                            for lane in 0..LANES {
                                // A NaN is larger than any number, and nothing is larger than a NaN.
                                let (pixel, maximum) = (pixels[lane], maxima[lane]);
                                let is_at_most = pixel <= maximum;
                                let is_larger = !is_at_most & !maximum.is_nan();
                                maxima[lane] = if is_larger { pixels[lane] } else { maxima[lane] };
                                indices[lane] = if is_larger { index as u32 } else { indices[lane] };
                            }
                        }
                    }
                    found(at + start, maxima, indices);
                }
            },
        );
    }

    /// Takes the values in some rows of places by comparing each pixel of the window with the index.
    #[inline(always)]
    fn take_compared<T: Real, const LANES: usize>(
        &self,
        channels: usize,
        plane: &[T],
        rows: Range<usize>,
        indices: &[u32],
        out: &mut [T],
    ) {
        self.windows(
            channels,
            rows,
            #[inline(always)]
            |at, first, [height, width]| {
                for start in starts::<LANES>(channels) {
                    let indices = lanes::<u32, LANES>(indices, at + start);
                    let mut values = [T::zero(); LANES];
                    for row in 0..height {
                        for column in 0..width {
                            let pixel = first + row * self.plane[1] + column;
                            let pixels = lanes::<T, LANES>(plane, pixel * channels + start);
                            for lane in 0..LANES {
                                let is_it = indices[lane] == pixel as u32;
                                values[lane] = if is_it { pixels[lane] } else { values[lane] };
                            }
                        }
                    }
                    out[at + start..][..LANES].copy_from_slice(&values);
                }
            },
        );
    }

    /// Puts the values of a picture where no two windows overlap: each pixel of a window is its value or 0.
    #[inline(always)]
    fn put_apart<T: Real, const LANES: usize>(
        &self,
        channels: usize,
        values: &[T],
        indices: &[u32],
        out: &mut [T],
    ) {
        self.windows(
            channels,
            0..self.places[0],
            #[inline(always)]
            |at, first, [height, width]| {
                for start in starts::<LANES>(channels) {
                    let indices = lanes::<u32, LANES>(indices, at + start);
                    // What is added to 0 is never −0.
                    let values = lanes::<T, LANES>(values, at + start).map(|value| T::zero() + value);
                    for row in 0..height {
                        for column in 0..width {
                            let pixel = first + row * self.plane[1] + column;
                            let is_it = |lane: usize| indices[lane] == pixel as u32;
                            let pixels: [T; LANES] =
                                std::array::from_fn(
                                    |lane| if is_it(lane) { values[lane] } else { T::zero() },
                                );
                            out[pixel * channels + start..][..LANES].copy_from_slice(&pixels);
                        }
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests;
