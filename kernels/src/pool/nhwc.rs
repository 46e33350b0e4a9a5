//! Maximum pooling of images whose layout is NHWC.
//!
//! The channels of a pixel are compared side by side, a register of them at a time.

use std::ops::Range;

use super::Pooling;
use crate::real::Real;
use crate::simd::{Kernel, MAX_LANES, Vector};
use crate::tuning::POOL_TASK;
use crate::workers::{Parts, Workers};

impl Pooling {
    /// The maxima of images [N, H, W, C], and their indices, if these are wanted: as [`argmax`](Self::argmax) has them,
    /// [N, H', W', C] of pixels y · W + x. Without room for maxima, the indices alone.
    #[inline(never)]
    pub fn max_nhwc<T: Real>(
        &self,
        channels: usize,
        data: &[T],
        out: &mut [T],
        indices: Option<&mut [u32]>,
        workers: &Workers,
    ) {
        let (out, indices) = (Parts::new(out), Parts::new(indices.unwrap_or_default()));
        let outputs = out.len().max(indices.len());
        self.rows_of_outputs(channels, data, outputs, workers, |image, rows, start, count| {
            // SAFETY: these rows of outputs are no other task's, nor are their indices.
            let (out, indices) = unsafe { (out.slice(start, count), indices.slice(start, count)) };
            workers.isa().dispatch(WindowMaxima { pooling: self, channels, rows, image, out, indices });
        });
    }

    /// As [`take`](Self::take), of images [N, H, W, C].
    #[inline(never)]
    pub fn take_nhwc<T: Real>(
        &self,
        channels: usize,
        data: &[T],
        indices: &[u32],
        out: &mut [T],
        workers: &Workers,
    ) {
        let out = Parts::new(out);
        self.rows_of_outputs(channels, data, out.len(), workers, |image, _, start, count| {
            // SAFETY: these rows of outputs are no other task's.
            let out = unsafe { out.slice(start, count) };
            let pixels = out.chunks_exact_mut(channels).zip(indices[start..][..count].chunks_exact(channels));
            for (out, indices) in pixels {
                for (channel, (out, &index)) in out.iter_mut().zip(indices).enumerate() {
                    *out = image[index as usize * channels + channel];
                }
            }
        });
    }

    /// As [`put`](Self::put), of images [N, H, W, C]. Indices must be of pixels in their windows.
    #[inline(never)]
    pub fn put_nhwc<T: Real>(
        &self,
        channels: usize,
        values: &[T],
        indices: &[u32],
        out: &mut [T],
        workers: &Workers,
    ) {
        let is_disjoint = (0..2).all(|axis| self.window.stride[axis] >= self.window.kernel[axis]);
        let area = self.area() * channels;
        workers.chunks(out, area, &|image, out, _| {
            let range = image * self.pooled() * channels..(image + 1) * self.pooled() * channels;
            let (values, indices) = (&values[range.clone()], &indices[range]);
            if !(is_disjoint && self.is_covered()) {
                out.fill(T::zero());
            }
            if is_disjoint {
                workers.isa().dispatch(PutDisjoint { pooling: self, channels, values, indices, out });
            } else {
                let pixels = values.chunks_exact(channels).zip(indices.chunks_exact(channels));
                for (values, indices) in pixels {
                    for (channel, (&value, &index)) in values.iter().zip(indices).enumerate() {
                        out[index as usize * channels + channel] += value;
                    }
                }
            }
        });
    }

    /// Whether every pixel lies in a window, if no two windows overlap.
    fn is_covered(&self) -> bool {
        (0..2).all(|axis| {
            let (kernel, stride) = (self.window.kernel[axis], self.window.stride[axis]);
            kernel == stride
                && self.window.covered(axis, self.output[axis].saturating_sub(1), self.plane[axis]).end
                    == self.plane[axis]
        })
    }

    /// Calls `task(image, rows of outputs, their first output, how many they have)` until all `outputs` are covered.
    fn rows_of_outputs<T: Real>(
        &self,
        channels: usize,
        data: &[T],
        outputs: usize,
        workers: &Workers,
        task: impl Fn(&[T], Range<usize>, usize, usize) + Sync,
    ) {
        let (row, image) = (self.output[1] * channels, self.area() * channels);
        if outputs == 0 || row == 0 {
            return;
        }
        let rows = (POOL_TASK / row).clamp(1, self.output[0]);
        let bands = self.output[0].div_ceil(rows);
        workers.run(outputs / (self.pooled() * channels) * bands, &|index, _| {
            let (number, first) = (index / bands, index % bands * rows);
            let rows = first..self.output[0].min(first + rows);
            let count = rows.len() * row;
            task(&data[number * image..][..image], rows, (number * self.output[0] + first) * row, count);
        });
    }

    /// Calls `visit(output, first pixel, height and width)` for the window of every output in some rows; outputs count
    /// from the first of these rows.
    #[inline(always)]
    fn windows(&self, channels: usize, rows: Range<usize>, mut visit: impl FnMut(usize, usize, [usize; 2])) {
        let mut at = 0;
        let is_2x2_unpadded = self.window.kernel == [2, 2] && self.window.padding == [0, 0];
        let stride = self.window.stride;
        for y in rows {
            let rows = self.window.covered(0, y, self.plane[0]);
            if is_2x2_unpadded {
                // The most common window, with a size that the compiler knows.
                for x in 0..self.output[1] {
                    visit(at, rows.start * self.plane[1] + x * stride[1], [2, 2]);
                    at += channels;
                }
                continue;
            }
            for x in 0..self.output[1] {
                let columns = self.window.covered(1, x, self.plane[1]);
                visit(at, rows.start * self.plane[1] + columns.start, [rows.len(), columns.len()]);
                at += channels;
            }
        }
    }
}

/// The registers of a pixel: their first channel, and how many of their lanes are used. The last register goes over
/// channels of the one before once more, for a register that is not full is slow to store on some machines.
#[inline(always)]
fn registers(channels: usize, lanes: usize) -> impl Iterator<Item = [usize; 2]> {
    let count = lanes.min(channels);
    (0..channels).step_by(lanes).map(move |first| [first.min(channels - count), count])
}

/// Reads the channels of a pixel that are left, as many as a register holds.
///
/// # Safety
/// They must exist, and so must the instruction set of `V`.
#[inline(always)]
unsafe fn load<T: Real, V: Vector<T>>(from: *const T, count: usize) -> V {
    // SAFETY: the same contract.
    unsafe { if count == V::LANES { V::load(from) } else { V::load_first(from, count) } }
}

/// As [`load`], but writes.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
unsafe fn store<T: Real, V: Vector<T>>(value: V, to: *mut T, count: usize) {
    // SAFETY: the same contract.
    unsafe { if count == V::LANES { value.store(to) } else { value.store_first(to, count) } }
}

/// The maxima of the windows of some rows of outputs, and where they lie; there may be no room for either.
struct WindowMaxima<'a, T> {
    pooling: &'a Pooling,
    channels: usize,
    rows: Range<usize>,
    image: &'a [T],
    out: &'a mut [T],
    indices: &'a mut [u32],
}

impl<T: Real> Kernel<T> for WindowMaxima<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Self { pooling, channels, rows, image, out, indices } = self;
        let (image, width) = (image.as_ptr(), pooling.plane[1]);
        pooling.windows(
            channels,
            rows,
            #[inline(always)]
            |at, first, [height, columns]| {
                for [channel, count] in registers(channels, V::LANES) {
                    // SAFETY: `dispatch` vouches for the instruction set; windows keep to the image, and outputs to
                    // their rows.
                    unsafe {
                        let mut best = load::<T, V>(image.add(first * channels + channel), count);
                        let mut index = V::splat(T::from_index(first as u32));
                        for row in 0..height {
                            // The first pixel is the best so far.
                            for column in usize::from(row == 0)..columns {
                                let pixel = first + row * width + column;
                                let value = load::<T, V>(image.add(pixel * channels + channel), count);
                                let own = V::splat(T::from_index(pixel as u32));
                                // Of equal pixels the first stays.
                                [best, index] = value.larger(best, [own, index]);
                            }
                        }
                        if !out.is_empty() {
                            store(best, out.as_mut_ptr().add(at + channel), count);
                        }
                        if !indices.is_empty() {
                            index.store_indices(indices.as_mut_ptr().add(at + channel), count);
                        }
                    }
                }
            },
        );
    }
}

/// Puts the values of an image where no two windows overlap: each pixel of a window is its value or 0.
struct PutDisjoint<'a, T> {
    pooling: &'a Pooling,
    channels: usize,
    values: &'a [T],
    indices: &'a [u32],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for PutDisjoint<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Self { pooling, channels, values, indices, out } = self;
        let (values, indices, out, width) =
            (values.as_ptr(), indices.as_ptr(), out.as_mut_ptr(), pooling.plane[1]);
        pooling.windows(
            channels,
            0..pooling.output[0],
            #[inline(always)]
            |at, first, [height, columns]| {
                for [channel, count] in registers(channels, V::LANES) {
                    // SAFETY: `dispatch` vouches for the instruction set; windows keep to the image, and outputs to
                    // their number.
                    unsafe {
                        // What is added to 0 is never −0.
                        let value = load::<T, V>(values.add(at + channel), count).add(V::splat(T::zero()));
                        let (mut wanted, mut last) = (indices.add(at + channel), [0; MAX_LANES]);
                        if count < V::LANES {
                            wanted.copy_to_nonoverlapping(last.as_mut_ptr(), count);
                            wanted = last.as_ptr();
                        }
                        for row in 0..height {
                            for column in 0..columns {
                                let pixel = first + row * width + column;
                                let own = value.where_equal(wanted, pixel as u32);
                                store(own, out.add(pixel * channels + channel), count);
                            }
                        }
                    }
                }
            },
        );
    }
}
