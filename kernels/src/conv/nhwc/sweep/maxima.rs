//! Tiles of which only the maxima of 2×2 output positions are written: a convolution with a max pool in its epilogue.
//!
//! Finished values are compared, so that ties are decided as if the convolution had been written.

use super::{LANEWISE, Rectangle, StripRead, Sums, Sweep, WriteTile, exists};
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES, Vector};

/// How many windows a tile has at most, side by side.
const MOST_WINDOWS: usize = 3;

/// The indices of the maxima in their planes.
#[derive(Debug, Clone, Copy)]
pub struct Maxima {
    /// The index of the rectangle's first position, and from a row of the plane to the next.
    pub first: usize,
    pub row: usize,
    /// Takes the indices, as the target takes the maxima. Null if they are not asked for.
    pub indices: *mut u32,
}

impl<T: Real> Rectangle<'_, T> {
    /// As [`compute`](Self::compute), but of every 2×2 positions only the maximum is written. The sizes of the rectangle
    /// are even; the steps in the target are those from window to window.
    ///
    /// # Safety
    /// As for `compute`, and there must be room for the indices.
    pub unsafe fn compute_maxima(&self, isa: Isa, source: StripRead, maxima: Maxima) {
        let vectors = self.filters.div_ceil(isa.lanes::<T>());
        let most = match source {
            StripRead::Lanes => 1,
            StripRead::Numbers { .. } => (2 * isa.tile_rows::<T>() / (4 * vectors)).clamp(1, MOST_WINDOWS),
        };
        let block = source.code();
        let windows = self.size[1] / 2;
        let parts = windows.div_ceil(most);
        let (size, larger) = (windows / parts, windows % parts);
        // SAFETY: together these are the columns of the rectangle.
        unsafe {
            self.sweep_maxima(isa, [block, vectors, size + 1], [0, larger], maxima);
            self.sweep_maxima(isa, [block, vectors, size], [2 * larger * (size + 1), parts - larger], maxima);
        }
    }

    /// Computes some tiles of `windows` in each pair of rows, the first of them at column `first`.
    ///
    /// # Safety
    /// As above.
    unsafe fn sweep_maxima(
        &self,
        isa: Isa,
        [block, vectors, windows]: [usize; 3],
        [first, tiles]: [usize; 2],
        maxima: Maxima,
    ) {
        if tiles == 0 {
            return;
        }
        macro_rules! by_size {
            ($($block:tt $vectors:literal $windows:literal $columns:literal)*) => {
                match (block, vectors, windows) {
                    $(($block, $vectors, $windows) if const { exists::<T>($block, [2, $columns, $vectors]) } => {
                        // Double precision, which is for checks, computes the indices in any case.
                        let write = WriteMaxima::<true>(maxima);
                        if const { size_of::<T>() == size_of::<f32>() } {
                            if maxima.indices.is_null() {
                                let write = WriteMaxima::<false>(maxima);
                                let sweep: Sweep<_, _, $block, 2, $columns, $vectors> =
                                    Sweep { rectangle: self, write, first, tiles };
                                return isa.dispatch(sweep);
                            }
                        }
                        let sweep: Sweep<_, _, $block, 2, $columns, $vectors> =
                            Sweep { rectangle: self, write, first, tiles };
                        isa.dispatch(sweep);
                    })*
                    _ => unreachable!("tiles are of the sizes above"),
                }
            };
        }
        by_size! {
            LANEWISE 1 1 2  LANEWISE 2 1 2
            1 1 1 2   1 1 2 4   1 1 3 6   1 2 1 2   1 2 2 4   1 2 3 6
            3 1 1 2   3 1 2 4   3 1 3 6   3 2 1 2   3 2 2 4   3 2 3 6
            MAX_LANES 1 1 2  MAX_LANES 1 2 4  MAX_LANES 1 3 6  MAX_LANES 2 1 2  MAX_LANES 2 2 4  MAX_LANES 2 3 6
        }
    }
}

/// Writes the maxima of a tile, and their indices if `WANTED`.
#[derive(Clone, Copy)]
struct WriteMaxima<const WANTED: bool>(Maxima);

impl<T: Real, const WANTED: bool> WriteTile<T, 2> for WriteMaxima<WANTED> {
    #[inline(always)]
    unsafe fn write<V: Vector<T>, const COLUMNS: usize, const VECTORS: usize>(
        self,
        all: &Rectangle<T>,
        sums: &Sums<V, 2, COLUMNS, VECTORS>,
        [row, column]: [usize; 2],
    ) {
        let Maxima { first, row: line, indices } = self.0;
        // Indices that nobody asked for all go to the same memory, because a branch would cost more.
        let mut unwanted = [0; MAX_LANES];
        let (indices, spacing) = if indices.is_null() { (unwanted.as_mut_ptr(), 0) } else { (indices, 1) };
        // SAFETY: the caller's contract; `count` keeps to the filters.
        unsafe {
            let bias = all.bias::<V, VECTORS>();
            let number = first + row * line + column;
            let target = row / 2 * all.target_step[0] + column / 2 * all.target_step[1];
            for window in 0..COLUMNS / 2 {
                let (left, right) = (2 * window, 2 * window + 1);
                let number = number + left;
                let numbers = [
                    V::splat(T::from_index(number as u32)),
                    V::splat(T::from_index(number as u32 + 1)),
                    V::splat(T::from_index((number + line) as u32)),
                    V::splat(T::from_index((number + line) as u32 + 1)),
                ];
                for vector in 0..VECTORS {
                    let (count, bias) = bias[vector];
                    let mut values = [
                        sums[0][left][vector],
                        sums[0][right][vector],
                        sums[1][left][vector],
                        sums[1][right][vector],
                    ];
                    let target = target + window * all.target_step[1] + vector * V::LANES;
                    if WANTED {
                        for index in 0..4 {
                            values[index] = all.finished(values[index], bias);
                        }
                        let [best, index] = largest(values, numbers);
                        best.store_first(all.target.add(target), count);
                        index.store_indices(indices.add(target * spacing), count);
                    } else {
                        // Bias, floor and flush are monotonic, so that the largest sum is the largest value.
                        let [sum, _] = largest(values, numbers);
                        all.finished(sum, bias).store_first(all.target.add(target), count);
                    }
                }
            }
        }
    }
}

/// In every lane the largest of four values, the first of equal ones, and its number.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
unsafe fn largest<T: Real, V: Vector<T>>([a, b, c, d]: [V; 4], numbers: [V; 4]) -> [V; 2] {
    // SAFETY: the caller's contract.
    unsafe {
        let [upper, of_upper] = b.larger(a, [numbers[1], numbers[0]]);
        let [lower, of_lower] = d.larger(c, [numbers[3], numbers[2]]);
        lower.larger(upper, [of_lower, of_upper])
    }
}
