//! Means over regions of a plane, and their adjoint.

use std::ops::Range;

use crate::real::Real;
use crate::simd::vectorize;
use crate::window::Window;
use crate::workers::Workers;

/// So many neighbouring places are done at once,
const TILE: usize = 256;
/// unless a row has fewer than these: then each is summed on its own.
const FEW: usize = 8;

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
    /// Equal parts of the plane, so many along each axis, that share a pixel where a border runs through it: place i has
    /// the pixels from ⌊i H / H'⌋ to ⌈(i + 1) H / H'⌉.
    Equal([usize; 2]),
}

/// Planes of one size, and the regions in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// Height and width of each plane.
    pub plane: [usize; 2],
    /// How many regions there are, vertically and horizontally.
    pub places: [usize; 2],
    /// The regions.
    pub regions: Regions,
}

impl Average {
    /// The mean over each region.
    #[inline(never)]
    pub fn means<T: Real>(&self, data: &[T], out: &mut [T], workers: &Workers) {
        let area = self.plane[0] * self.plane[1];
        workers.chunks(out, self.places[0] * self.places[1], &|number, out, _| {
            let plane = &data[number * area..][..area];
            if let Some(window) = self.window_of_rows() {
                return vectorize(
                    #[inline(always)]
                    || self.means_of_windows(window, plane, out),
                );
            }
            for (place, out) in out.iter_mut().enumerate() {
                let mut sum = T::zero();
                self.for_each_pixel(place, |at| sum += plane[at]);
                *out = sum / self.count(place);
            }
        });
    }

    /// The adjoint of [`means`](Self::means): each value is spread evenly over its region.
    #[inline(never)]
    pub fn spread<T: Real>(&self, upstream: &[T], out: &mut [T], workers: &Workers) {
        let places = self.places[0] * self.places[1];
        workers.chunks(out, self.plane[0] * self.plane[1], &|number, plane, _| {
            plane.fill(T::zero());
            let upstream = &upstream[number * places..][..places];
            if let Some(window) = self.window_of_rows() {
                return vectorize(
                    #[inline(always)]
                    || self.spread_over_windows(window, upstream, plane),
                );
            }
            for (place, &value) in upstream.iter().enumerate() {
                let share = value / self.count(place);
                self.for_each_pixel(place, |at| plane[at] += share);
            }
        });
    }

    /// As [`means`](Self::means), of images [N, H, W, C].
    #[inline(never)]
    pub fn means_nhwc<T: Real>(&self, channels: usize, data: &[T], out: &mut [T], workers: &Workers) {
        let (image, row) = (self.plane[0] * self.plane[1] * channels, self.places[1] * channels);
        if channels == 0 {
            return;
        }
        workers.chunks(out, row, &|index, out, _| {
            let (data, first) =
                (&data[index / self.places[0] * image..][..image], index % self.places[0] * self.places[1]);
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

    /// As [`spread`](Self::spread), of images [N, H, W, C].
    #[inline(never)]
    pub fn spread_nhwc<T: Real>(&self, channels: usize, upstream: &[T], out: &mut [T], workers: &Workers) {
        let pooled = self.places[0] * self.places[1] * channels;
        if channels == 0 {
            return;
        }
        workers.chunks(out, self.plane[0] * self.plane[1] * channels, &|index, image, _| {
            image.fill(T::zero());
            let upstream = &upstream[index * pooled..][..pooled];
            vectorize(
                #[inline(always)]
                || {
                    for (place, values) in upstream.chunks_exact(channels).enumerate() {
                        let count = self.count::<T>(place);
                        self.for_each_pixel(place, |at| {
                            let pixel = &mut image[at * channels..][..channels];
                            pixel.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value / count);
                        });
                    }
                },
            );
        });
    }

    /// The window, if there are enough of them in a row to do many at once.
    fn window_of_rows(&self) -> Option<Window> {
        match self.regions {
            Regions::Window { window, .. } if self.places[1] >= FEW => Some(window),
            _ => None,
        }
    }

    /// The means of a plane, many neighbours at once: for each pixel of the window a run of pixels is added to a run of
    /// sums. Every sum adds up in the order of its pixels.
    #[inline(always)]
    fn means_of_windows<T: Real>(&self, window: Window, plane: &[T], out: &mut [T]) {
        let [width, columns] = [self.plane[1], self.places[1]];
        for (row, out) in out.chunks_exact_mut(columns).enumerate() {
            for (number, sums) in out.chunks_mut(TILE).enumerate() {
                let places = number * TILE..number * TILE + sums.len();
                sums.fill(T::zero());
                for line in self.pixels(0, row) {
                    let line = &plane[line * width..][..width];
                    for offset in 0..window.kernel[1] {
                        let (inside, first) = inside(window, offset, width, &places);
                        gather(&line[first..], &mut sums[inside], window.stride[1]);
                    }
                }
                self.divide(row * columns, &places, sums);
            }
        }
    }

    /// The adjoint: for each pixel of the window a run of values is added to a run of pixels. Every pixel adds up in the order
    /// of the places that cover it, which is the other way round within the window.
    #[inline(always)]
    fn spread_over_windows<T: Real>(&self, window: Window, upstream: &[T], plane: &mut [T]) {
        let [width, columns] = [self.plane[1], self.places[1]];
        let mut shares = [T::zero(); TILE];
        for (row, upstream) in upstream.chunks_exact(columns).enumerate() {
            for (number, values) in upstream.chunks(TILE).enumerate() {
                let places = number * TILE..number * TILE + values.len();
                let shares = &mut shares[..values.len()];
                shares.copy_from_slice(values);
                self.divide(row * columns, &places, shares);
                for line in self.pixels(0, row) {
                    let line = &mut plane[line * width..][..width];
                    for offset in (0..window.kernel[1]).rev() {
                        let (inside, first) = inside(window, offset, width, &places);
                        scatter(&shares[inside], &mut line[first..], window.stride[1]);
                    }
                }
            }
        }
    }

    /// Divides the values at some places of a row, which starts at place `row`, by the sizes of their regions.
    #[inline(always)]
    fn divide<T: Real>(&self, row: usize, places: &Range<usize>, values: &mut [T]) {
        let counts = |place: usize| self.count::<T>(row + place);
        let Some(last) = places.end.checked_sub(1) else { return };
        // Windows are smaller only at the borders: if the outer two are whole, so are those between.
        let whole = self.pixels(1, places.start).len().min(self.pixels(1, last).len());
        if matches!(self.regions, Regions::Window { window, .. } if whole == window.kernel[1]) {
            let count = counts(places.start);
            values.iter_mut().for_each(|value| *value /= count);
        } else {
            values.iter_mut().zip(places.clone()).for_each(|(value, place)| *value /= counts(place));
        }
    }

    #[inline(always)]
    fn for_each_pixel(&self, place: usize, mut visit: impl FnMut(usize)) {
        let columns = self.pixels(1, place % self.places[1]);
        for row in self.pixels(0, place / self.places[1]) {
            columns.clone().for_each(|column| visit(row * self.plane[1] + column));
        }
    }

    /// The pixels of a region along `axis`, without padding.
    pub fn pixels(&self, axis: usize, place: usize) -> Range<usize> {
        let size = self.plane[axis];
        match self.regions {
            Regions::Window { window, .. } => window.covered(axis, place, size),
            Regions::Equal(places) => {
                // In steps that cannot overflow: place · size may.
                let (whole, rest) = (size / places[axis], (size % places[axis]) as u128);
                let part = |place: usize| (place as u128 * rest, places[axis] as u128);
                let (start, end) = (part(place), part(place + 1));
                whole * place + (start.0 / start.1) as usize
                    ..whole * (place + 1) + end.0.div_ceil(end.1) as usize
            }
        }
    }

    /// By what the sum over a region is divided.
    fn count<T: Real>(&self, place: usize) -> T {
        let along = |axis: usize, place: usize| match self.regions {
            Regions::Window { window, count_include_pad: true } => {
                // The last window may reach beyond the padding, which does not count.
                let padded = window.padding[axis] + self.plane[axis] + window.padding_after[axis];
                window.kernel[axis].min(padded - place * window.stride[axis])
            }
            _ => self.pixels(axis, place).len(),
        };
        T::of(along(0, place / self.places[1]) as f64 * along(1, place % self.places[1]) as f64)
    }
}

/// Adds every pixel at a multiple of the stride to the sum of its number.
#[inline(always)]
fn gather<T: Real>(pixels: &[T], sums: &mut [T], stride: usize) {
    match stride {
        1 => sums.iter_mut().zip(pixels).for_each(|(sum, pixel)| *sum += *pixel),
        _ => sums.iter_mut().zip(pixels.iter().step_by(stride)).for_each(|(sum, pixel)| *sum += *pixel),
    }
}

/// The adjoint: adds each share to the pixel of its number times the stride.
#[inline(always)]
fn scatter<T: Real>(shares: &[T], pixels: &mut [T], stride: usize) {
    match stride {
        1 => pixels.iter_mut().zip(shares).for_each(|(pixel, share)| *pixel += *share),
        _ => pixels.iter_mut().step_by(stride).zip(shares).for_each(|(pixel, share)| *pixel += *share),
    }
}

/// Which of some places of a window see a pixel of the line at this offset from the window's left, counted from the first of
/// these places; and which pixel the first that does sees.
#[inline(always)]
fn inside(window: Window, offset: usize, width: usize, places: &Range<usize>) -> (Range<usize>, usize) {
    let (stride, padding) = (window.stride[1], window.padding[1]);
    let start = padding.saturating_sub(offset).div_ceil(stride).clamp(places.start, places.end);
    let end = (width + padding).saturating_sub(offset).div_ceil(stride).clamp(start, places.end);
    // Without any place there is no pixel either.
    let first = if start < end { start * stride + offset - padding } else { 0 };
    (start - places.start..end - places.start, first)
}
