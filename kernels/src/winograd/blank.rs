//! Windows that see nothing but zeros.
//!
//! Their sums are 0, but the transforms would leave a rounding error there, and it can matter whether a number is 0
//! or only tiny: after a relu the background of an image would begin to carry gradients, and an optimizer that
//! divides by the size of a gradient would make much of it. So such windows are looked for, and what they yield is
//! set to 0.

use std::ops::Range;

use super::input_transform::Images;
use super::tiles::{Segment, Tiles};
use super::transforms::OUTPUTS;
use crate::real::Real;
use crate::simd::{Kernel, Vector};
use crate::tuning::WINOGRAD_SEGMENT;

/// The most points along an axis, which is the most pixels of a tile.
const MOST_POINTS: usize = 10;

/// Finds blank windows in a block of tiles of `N` × `N` pixels.
pub struct Blank<'a, T, const N: usize> {
    /// Where the pixels come from.
    pub images: Images<'a, T>,
    /// How the images are cut up.
    pub tiles: Tiles,
    /// Which tiles.
    pub block: Range<usize>,
    /// For each tile a bit for each of its outputs, row by row.
    pub to: &'a mut [u32],
}

/// The bit of an output.
#[inline(always)]
pub fn bit([y, x]: [usize; 2]) -> u32 {
    1 << (y * OUTPUTS + x)
}

impl<T: Real, const N: usize> Kernel<T> for Blank<'_, T, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let mut columns = [0; WINOGRAD_SEGMENT * OUTPUTS + MOST_POINTS];
        for segment in self.tiles.segments(self.block.clone()) {
            for (column, bits) in columns.iter_mut().enumerate().take((segment.tiles - 1) * OUTPUTS + N) {
                // SAFETY: `dispatch` vouches for the instruction set.
                *bits = unsafe { self.column::<V>(&segment, column) };
            }
            for (tile, blank) in self.to[segment.before..][..segment.tiles].iter_mut().enumerate() {
                *blank = windows::<N>(&columns[tile * OUTPUTS..][..N]);
            }
        }
    }
}

impl<T: Real, const N: usize> Blank<'_, T, N> {
    /// Which pixels of a column of a row of tiles are not 0 in all channels, a bit for each.
    ///
    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn column<V: Vector<T>>(&self, segment: &Segment, column: usize) -> u32 {
        let Images { numbers, size: [height, width], channels, padding } = self.images;
        let x = (segment.column * OUTPUTS + column).wrapping_sub(padding[1]);
        let row = |i: usize| (segment.row * OUTPUTS + i).wrapping_sub(padding[0]);
        let is_there = |i: &usize| x < width && row(*i) < height;
        (0..N).filter(is_there).fold(0, |bits, i| {
            let pixel = &numbers[((segment.image * height + row(i)) * width + x) * channels..][..channels];
            // SAFETY: a chunk holds as many numbers as are read.
            let is_zero = |chunk: &[T]| unsafe { V::load_first(chunk.as_ptr(), chunk.len()).is_zero() };
            if pixel.chunks(V::LANES).all(is_zero) { bits } else { bits | 1 << i }
        })
    }
}

/// Which outputs of a tile have a blank window, given which pixels of its columns are not 0.
fn windows<const N: usize>(columns: &[u32]) -> u32 {
    if columns.iter().all(|&bits| bits == (1 << N) - 1) {
        return 0;
    }
    let window = N + 1 - OUTPUTS;
    let outputs = (0..OUTPUTS).flat_map(|y| (0..OUTPUTS).map(move |x| [y, x]));
    let is_blank = |&[y, x]: &[usize; 2]| {
        let rows = ((1 << window) - 1) << y;
        columns[x..x + window].iter().all(|bits| bits & rows == 0)
    };
    outputs.filter(is_blank).fold(0, |blank, output| blank | bit(output))
}
