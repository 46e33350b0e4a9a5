//! The input transform: cuts images into tiles and transforms those to points, along both axes.
//!
//! Neighbouring tiles of an image overlap. So columns are transformed first, each once for a whole row of tiles,
//! and then the rows of every tile. Pixels beyond the border are 0 and are dealt with among the columns alone.

use std::ops::Range;

use super::tiles::{Segment, TileBuffer, Tiles};
use super::transforms::{AxisTransform, OUTPUTS};
use crate::real::Real;
use crate::simd::{Kernel, MAX_LANES, Vector, prefetch_line};
use crate::tuning::WINOGRAD_SEGMENT;

/// Images, channels last.
#[derive(Clone, Copy)]
pub struct Images<'a, T> {
    /// \[image, row, column, channel\]
    pub numbers: &'a [T],
    /// Height and width.
    pub size: [usize; 2],
    /// How many channels there are.
    pub channels: usize,
    /// By how many pixels the first tile begins outside the image: above, and to the left.
    pub padding: [usize; 2],
}

/// Transforms some channels of a block of tiles of `K` × `K` pixels to `N` × `N` points.
pub struct InputTransform<'a, T, A, const K: usize, const N: usize> {
    /// Where the pixels come from.
    pub images: Images<'a, T>,
    /// The transformation along an axis.
    pub axis: A,
    /// The channels.
    pub channels: Range<usize>,
    /// How the images are cut up.
    pub tiles: Tiles,
    /// Which tiles.
    pub block: Range<usize>,
    /// How the points lie.
    pub buffer: TileBuffer,
    /// Room for [`lines`] numbers.
    pub lines: &'a mut [T],
    /// The points.
    pub to: &'a mut [T],
}

/// How many numbers the transformed columns of a segment take.
pub const fn lines(points: usize) -> usize {
    (WINOGRAD_SEGMENT * OUTPUTS + points) * points * MAX_LANES
}

impl<T: Real, A: AxisTransform<K, N>, const K: usize, const N: usize> Kernel<T>
    for InputTransform<'_, T, A, K, N>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(mut self) {
        let registers = self.channels.len().div_ceil(V::LANES);
        assert!(self.lines.len() >= lines(N) && self.to.len() >= registers * self.buffer.register);
        debug_assert_eq!(self.buffer.lanes, V::LANES);
        for segment in self.tiles.segments(self.block.clone()) {
            debug_assert!((segment.before + segment.tiles) * V::LANES <= self.buffer.point);
            for register in 0..registers {
                let channel = self.channels.start + register * V::LANES;
                let count = V::LANES.min(self.channels.end - channel);
                let rows = self.rows_inside(segment.row);
                // SAFETY: `dispatch` vouches for the instruction set, and the assertion for the scratch.
                unsafe {
                    if rows == (1 << K) - 1 && count == V::LANES {
                        self.columns::<V, true>(&segment, channel, count, rows);
                    } else {
                        self.columns::<V, false>(&segment, channel, count, rows);
                    }
                    self.rows::<V>(&segment, register);
                }
            }
        }
    }
}

impl<T: Real, A: AxisTransform<K, N>, const K: usize, const N: usize> InputTransform<'_, T, A, K, N> {
    /// Which rows of pixels of a row of tiles lie inside the image, a bit for each.
    #[inline(always)]
    fn rows_inside(&self, row: usize) -> u32 {
        let first = row * OUTPUTS;
        let inside = |i: &usize| (first + i).wrapping_sub(self.images.padding[0]) < self.images.size[0];
        (0..K).filter(inside).fold(0, |bits, i| bits | 1 << i)
    }

    /// Transforms the columns of a segment. `WHOLE` says that all `rows` are there, and all lanes.
    ///
    /// # Safety
    /// The lines must have room, and the instruction set of `V` exist.
    #[inline(always)]
    unsafe fn columns<V: Vector<T>, const WHOLE: bool>(
        &mut self,
        segment: &Segment,
        channel: usize,
        count: usize,
        rows: u32,
    ) {
        let Images { numbers, size: [height, width], channels, padding } = self.images;
        let row = (segment.image * height + segment.row * OUTPUTS).wrapping_sub(padding[0]);
        let start = numbers.as_ptr().wrapping_add(row.wrapping_mul(width * channels).wrapping_add(channel));
        for column in 0..(segment.tiles - 1) * OUTPUTS + K {
            let x = (segment.column * OUTPUTS + column).wrapping_sub(padding[1]);
            // SAFETY: there is room for as many columns, as the caller vouches; only rows and columns inside the
            // image are read, and `count` channels of them.
            unsafe {
                let to = self.lines.as_mut_ptr().add(column * N * V::LANES);
                let mut pixels = [V::splat(T::zero()); K];
                if x >= width {
                    (0..N).for_each(|i| pixels[0].store(to.add(i * V::LANES)));
                    continue;
                }
                for i in 0..K {
                    let from = start.wrapping_add((i * width + x) * channels);
                    prefetch_line(from.wrapping_add(V::LANES)); // the next register of channels
                    if WHOLE {
                        pixels[i] = V::load(from);
                    } else if rows & 1 << i != 0 {
                        pixels[i] = V::load_first(from, count);
                    }
                }
                let values = self.axis.apply(pixels);
                for i in 0..N {
                    values[i].store(to.add(i * V::LANES));
                }
            }
        }
    }

    /// Transforms the rows of each tile of a segment.
    ///
    /// # Safety
    /// The lines must hold the segment, the points have room, and the instruction set of `V` exist.
    #[inline(always)]
    unsafe fn rows<V: Vector<T>>(&mut self, segment: &Segment, register: usize) {
        for i in 0..N {
            for tile in 0..segment.tiles {
                // SAFETY: the caller vouches for lines and points.
                unsafe {
                    let from = self.lines.as_ptr().add((tile * OUTPUTS * N + i) * V::LANES);
                    let at = register * self.buffer.register + i * N * self.buffer.point;
                    let to = self.to.as_mut_ptr().add(at + (segment.before + tile) * V::LANES);
                    let mut values = [V::splat(T::zero()); K];
                    for x in 0..K {
                        values[x] = V::load(from.add(x * N * V::LANES));
                    }
                    let values = self.axis.apply(values);
                    for x in 0..N {
                        values[x].store(to.add(x * self.buffer.point));
                        prefetch_line(to.wrapping_add(x * self.buffer.point + 2 * V::LANES));
                    }
                }
            }
        }
    }
}
