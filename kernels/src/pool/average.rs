//! Means over regions of a plane, and their adjoint.

use std::ops::Range;

use crate::real::Real;
use crate::simd::vectorize;
use crate::tuning::{AVERAGE_COLUMNS, AVERAGE_PIXELS, AVERAGE_TILE};
use crate::window::Window;
use crate::workers::{Split, Workers};

/// What the means are taken of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Regions {
    /// What a window of neighbouring pixels covers, with the zeros of the padding or without.
    Window {
        /// The window.
        window: Window,
        /// Whether the padding counts.
        count_include_pad: bool,
    },
    /// Equal parts of the plane, so many along each axis, that share a pixel where a border runs through it: part i has
    /// the pixels from ⌊i H / H'⌋ to ⌈(i + 1) H / H'⌉.
    Equal([usize; 2]),
}

/// Planes of one size, and the regions in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// Height and width of each plane.
    pub plane: [usize; 2],
    /// Height and width of a pooled plane: how many regions there are.
    pub output: [usize; 2],
    /// The regions.
    pub regions: Regions,
}

impl Average {
    /// The mean over each region.
    #[inline(never)]
    pub fn mean<T: Real>(&self, data: &[T], out: &mut [T], workers: &Workers) {
        let area = self.plane[0] * self.plane[1];
        workers.chunks(out, self.output[0] * self.output[1], &|number, out, _| {
            let plane = &data[number * area..][..area];
            if let Some(window) = self.window_of_long_rows() {
                return vectorize(
                    #[inline(always)]
                    || self.mean_of_windows(window, plane, out),
                );
            }
            for (position, out) in out.iter_mut().enumerate() {
                *out = if self.is_large() {
                    let mut sum = 0.0;
                    self.for_each_pixel(position, |at| sum += plane[at].into_f64());
                    T::of(sum / self.count::<T>(position).into_f64())
                } else {
                    let mut sum = T::zero();
                    self.for_each_pixel(position, |at| sum += plane[at]);
                    sum / self.count(position)
                };
            }
        });
    }

    /// The adjoint of [`mean`](Self::mean): each value is divided evenly among the pixels of its region.
    #[inline(never)]
    pub fn mean_adjoint<T: Real>(&self, upstream: &[T], out: &mut [T], workers: &Workers) {
        let pooled = self.output[0] * self.output[1];
        workers.chunks(out, self.plane[0] * self.plane[1], &|number, plane, _| {
            plane.fill(T::zero());
            let upstream = &upstream[number * pooled..][..pooled];
            if let Some(window) = self.window_of_long_rows() {
                return vectorize(
                    #[inline(always)]
                    || self.mean_adjoint_of_windows(window, upstream, plane),
                );
            }
            for (position, &value) in upstream.iter().enumerate() {
                let quotient = value / self.count(position);
                self.for_each_pixel(position, |at| plane[at] += quotient);
            }
        });
    }

    /// As [`mean`](Self::mean), of images [N, H, W, C].
    #[inline(never)]
    pub fn mean_nhwc<T: Real>(&self, channels: usize, data: &[T], out: &mut [T], workers: &Workers) {
        let (image, row) = (self.plane[0] * self.plane[1] * channels, self.output[1] * channels);
        workers.chunks(out, row, &|index, out, local| {
            let (data, first) =
                (&data[index / self.output[0] * image..][..image], index % self.output[0] * self.output[1]);
            if self.is_large() {
                local.reserve(Split::bytes::<f64>(channels));
                let sums = local.slice::<f64>(channels);
                return vectorize(
                    #[inline(always)]
                    || {
                        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                            sums.fill(0.0);
                            self.for_each_pixel(first + column, |at| {
                                let pixel = &data[at * channels..][..channels];
                                sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += value.into_f64());
                            });
                            let count = self.count::<T>(first + column).into_f64();
                            out.iter_mut().zip(&*sums).for_each(|(out, &sum)| *out = T::of(sum / count));
                        }
                    },
                );
            }
            vectorize(
                #[inline(always)]
                || {
                    for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                        out.fill(T::zero());
                        self.for_each_pixel(first + column, |at| {
                            let pixel = &data[at * channels..][..channels];
                            out.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += value);
                        });
                        let count = self.count(first + column);
                        out.iter_mut().for_each(|sum| *sum /= count);
                    }
                },
            );
        });
    }

    /// As [`mean_adjoint`](Self::mean_adjoint), of images [N, H, W, C].
    #[inline(never)]
    pub fn mean_adjoint_nhwc<T: Real>(
        &self,
        channels: usize,
        upstream: &[T],
        out: &mut [T],
        workers: &Workers,
    ) {
        let pooled = self.output[0] * self.output[1] * channels;
        workers.chunks(out, self.plane[0] * self.plane[1] * channels, &|index, image, _| {
            image.fill(T::zero());
            let upstream = &upstream[index * pooled..][..pooled];
            vectorize(
                #[inline(always)]
                || {
                    for (position, values) in upstream.chunks_exact(channels).enumerate() {
                        let count = self.count::<T>(position);
                        self.for_each_pixel(position, |at| {
                            let pixel = &mut image[at * channels..][..channels];
                            pixel.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value / count);
                        });
                    }
                },
            );
        });
    }

    /// Whether the means are over so many pixels that the last would be lost in rounding.
    fn is_large(&self) -> bool {
        let most = |axis: usize| match self.regions {
            Regions::Window { window, .. } => window.kernel[axis].min(self.plane[axis]),
            Regions::Equal(parts) => self.plane[axis].div_ceil(parts[axis].max(1)),
        };
        most(0).saturating_mul(most(1)) > AVERAGE_PIXELS
    }

    /// The window, if a row has enough positions to do many at once.
    fn window_of_long_rows(&self) -> Option<Window> {
        match self.regions {
            Regions::Window { window, .. } if self.output[1] >= AVERAGE_COLUMNS && !self.is_large() => {
                Some(window)
            }
            _ => None,
        }
    }

    /// The means of a plane, many neighbours at once: each tap of the window adds a row of pixels to a row of sums.
    /// Every sum adds its pixels in their order.
    #[inline(always)]
    fn mean_of_windows<T: Real>(&self, window: Window, plane: &[T], out: &mut [T]) {
        let [width, columns] = [self.plane[1], self.output[1]];
        for (row, out) in out.chunks_exact_mut(columns).enumerate() {
            for (number, sums) in out.chunks_mut(AVERAGE_TILE).enumerate() {
                let positions = number * AVERAGE_TILE..number * AVERAGE_TILE + sums.len();
                sums.fill(T::zero());
                for line in self.pixels(0, row) {
                    let line = &plane[line * width..][..width];
                    for offset in 0..window.kernel[1] {
                        let (inside, first) = inside(window, offset, width, &positions);
                        add_pixels(&line[first..], &mut sums[inside], window.stride[1]);
                    }
                }
                self.divide(row * columns, &positions, sums);
            }
        }
    }

    /// The adjoint: each tap of the window adds a row of values to a row of pixels. Every pixel adds up in the order of the
    /// positions that cover it, which is the reverse order within the window.
    #[inline(always)]
    fn mean_adjoint_of_windows<T: Real>(&self, window: Window, upstream: &[T], plane: &mut [T]) {
        let [width, columns] = [self.plane[1], self.output[1]];
        let mut quotients = [T::zero(); AVERAGE_TILE];
        for (row, upstream) in upstream.chunks_exact(columns).enumerate() {
            for (number, values) in upstream.chunks(AVERAGE_TILE).enumerate() {
                let positions = number * AVERAGE_TILE..number * AVERAGE_TILE + values.len();
                let quotients = &mut quotients[..values.len()];
                quotients.copy_from_slice(values);
                self.divide(row * columns, &positions, quotients);
                for line in self.pixels(0, row) {
                    let line = &mut plane[line * width..][..width];
                    for offset in (0..window.kernel[1]).rev() {
                        let (inside, first) = inside(window, offset, width, &positions);
                        add_quotients(&quotients[inside], &mut line[first..], window.stride[1]);
                    }
                }
            }
        }
    }

    /// Divides the values at some output positions of a row, which starts at position `row`, by the sizes of their regions.
    #[inline(always)]
    fn divide<T: Real>(&self, row: usize, positions: &Range<usize>, values: &mut [T]) {
        let counts = |position: usize| self.count::<T>(row + position);
        let Some(last) = positions.end.checked_sub(1) else { return };
        // Windows are smaller only at the borders: if the outer two are whole, so are those between.
        let whole = self.pixels(1, positions.start).len().min(self.pixels(1, last).len());
        if matches!(self.regions, Regions::Window { window, .. } if whole == window.kernel[1]) {
            let count = counts(positions.start);
            values.iter_mut().for_each(|value| *value /= count);
        } else {
            values.iter_mut().zip(positions.clone()).for_each(|(value, position)| *value /= counts(position));
        }
    }

    #[inline(always)]
    fn for_each_pixel(&self, position: usize, mut visit: impl FnMut(usize)) {
        let columns = self.pixels(1, position % self.output[1]);
        for row in self.pixels(0, position / self.output[1]) {
            columns.clone().for_each(|column| visit(row * self.plane[1] + column));
        }
    }

    /// The pixels of a region along `axis`, without padding.
    pub fn pixels(&self, axis: usize, position: usize) -> Range<usize> {
        let size = self.plane[axis];
        match self.regions {
            Regions::Window { window, .. } => window.covered(axis, position, size),
            Regions::Equal(parts) => {
                // In a type that cannot overflow: position · size may.
                let border = |position: usize| position as u128 * size as u128;
                let (start, end, parts) = (border(position), border(position + 1), parts[axis] as u128);
                (start / parts) as usize..end.div_ceil(parts) as usize
            }
        }
    }

    /// By what the sum over a region is divided.
    fn count<T: Real>(&self, position: usize) -> T {
        let along = |axis: usize, position: usize| match self.regions {
            Regions::Window { window, count_include_pad: true } => {
                // The last window may reach beyond the padding, which does not count.
                let padded = window.padding[axis] + self.plane[axis] + window.padding_after[axis];
                window.kernel[axis].min(padded - position * window.stride[axis])
            }
            _ => self.pixels(axis, position).len(),
        };
        T::of(along(0, position / self.output[1]) as f64 * along(1, position % self.output[1]) as f64)
    }
}

/// Adds every pixel at a multiple of the stride to the sum of its number.
#[inline(always)]
fn add_pixels<T: Real>(pixels: &[T], sums: &mut [T], stride: usize) {
    match stride {
        1 => sums.iter_mut().zip(pixels).for_each(|(sum, pixel)| *sum += *pixel),
        _ => sums.iter_mut().zip(pixels.iter().step_by(stride)).for_each(|(sum, pixel)| *sum += *pixel),
    }
}

/// The adjoint: adds each quotient to the pixel of its number times the stride.
#[inline(always)]
fn add_quotients<T: Real>(quotients: &[T], pixels: &mut [T], stride: usize) {
    match stride {
        1 => pixels.iter_mut().zip(quotients).for_each(|(pixel, quotient)| *pixel += *quotient),
        _ => {
            pixels.iter_mut().step_by(stride).zip(quotients).for_each(|(pixel, quotient)| *pixel += *quotient)
        }
    }
}

/// Which of some output positions see a pixel of the line at this offset from the window's left, counted from the first of
/// these positions; and which pixel the first that does sees.
#[inline(always)]
fn inside(window: Window, offset: usize, width: usize, positions: &Range<usize>) -> (Range<usize>, usize) {
    let Range { start, end } = window.positions_inside(offset, width, positions);
    // Without any position there is no pixel either.
    let first = if start < end { start * window.stride[1] + offset - window.padding[1] } else { 0 };
    (start - positions.start..end - positions.start, first)
}
