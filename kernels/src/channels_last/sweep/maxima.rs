//! Tiles of which only the maxima of 2×2 places are written: what a pooling asks for after a convolution.
//!
//! Where positions are wanted, the values compared are the finished ones, so that ties are decided as if they had been
//! written out.

use super::{Finish, Rectangle, Sums, Sweep};
use crate::real::Real;
use crate::simd::{Isa, Vector};

/// How many windows a tile has at most, side by side.
const MOST_WINDOWS: usize = 3;

/// Where in its plane each maximum lies is written, too.
#[derive(Debug, Clone, Copy)]
pub struct Maxima {
    /// The number of the rectangle's first place in the plane, and from a row of the plane to the next.
    pub first: usize,
    pub row: usize,
    /// Takes the positions of the maxima, as the target takes these; nobody wants them if it is null.
    pub positions: *mut u32,
}

impl<T: Real> Rectangle<'_, T> {
    /// As [`compute`](Self::compute), but of every 2×2 places only the maximum is written. The sizes of the rectangle
    /// are even; the steps in the target are those from window to window.
    ///
    /// # Safety
    /// As for `compute`, and there must be room for the positions.
    pub unsafe fn compute_maxima(&self, isa: Isa, block: usize, maxima: Maxima) {
        let vectors = self.filters.div_ceil(isa.lanes::<T>());
        let most = (2 * isa.tile_rows::<T>() / (4 * vectors)).clamp(1, MOST_WINDOWS);
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
            ($($block:literal $vectors:literal $windows:literal $columns:literal)*) => {
                match (block, vectors, windows) {
                    $(($block, $vectors, $windows) if maxima.positions.is_null() => {
                        isa.dispatch(Sweep::<_, _, $block, 2, $columns, $vectors> {
                            rectangle: self,
                            finish: Located::<false>(maxima),
                            first,
                            tiles,
                        });
                    }
                    ($block, $vectors, $windows) => {
                        isa.dispatch(Sweep::<_, _, $block, 2, $columns, $vectors> {
                            rectangle: self,
                            finish: Located::<true>(maxima),
                            first,
                            tiles,
                        });
                    })*
                    _ => unreachable!("tiles are of the sizes above"),
                }
            };
        }
        by_size! {
            1 1 1 2   1 1 2 4   1 1 3 6   1 2 1 2   1 2 2 4   1 2 3 6
            3 1 1 2   3 1 2 4   3 1 3 6   3 2 1 2   3 2 2 4   3 2 3 6
            16 1 1 2  16 1 2 4  16 1 3 6  16 2 1 2  16 2 2 4  16 2 3 6
        }
    }
}

/// Whether positions are wanted, known when this is compiled.
#[derive(Clone, Copy)]
struct Located<const WANTED: bool>(Maxima);

impl<T: Real, const WANTED: bool> Finish<T, 2> for Located<WANTED> {
    #[inline(always)]
    unsafe fn finish<V: Vector<T>, const COLUMNS: usize, const VECTORS: usize>(
        self,
        all: &Rectangle<T>,
        sums: &Sums<V, 2, COLUMNS, VECTORS>,
        [row, column]: [usize; 2],
    ) {
        let Maxima { first, row: line, positions } = self.0;
        // SAFETY: the caller's contract; `count` keeps to the filters.
        unsafe {
            let bias = all.bias::<V, VECTORS>();
            let number = first + row * line + column;
            let target = row / 2 * all.target_step[0] + column / 2 * all.target_step[1];
            let [upper, lower] = sums.each_ref().map(|sums| sums.as_chunks::<2>().0);
            for (window, (upper, lower)) in upper.iter().zip(lower).enumerate() {
                let number = number + 2 * window;
                let numbers = [number, number + 1, number + line, number + line + 1];
                let numbers = numbers.map(|number| T::carrying(number as u32));
                let numbers =
                    [V::splat(numbers[0]), V::splat(numbers[1]), V::splat(numbers[2]), V::splat(numbers[3])];
                let target = target + window * all.target_step[1];
                for (vector, (count, bias)) in bias.into_iter().enumerate() {
                    let sums = [upper[0][vector], upper[1][vector], lower[0][vector], lower[1][vector]];
                    let target = target + vector * V::LANES;
                    if WANTED {
                        let [a, b, c, d] = sums; // a closure would not be inlined
                        let values = [
                            all.finished(a, bias),
                            all.finished(b, bias),
                            all.finished(c, bias),
                            all.finished(d, bias),
                        ];
                        let [best, position] = largest(values, numbers);
                        best.store_first(all.target.add(target), count);
                        position.store_carried(positions.add(target), count);
                    } else {
                        // No step between a sum and its value makes a smaller number the larger.
                        let [sum, _] = largest(sums, numbers);
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
