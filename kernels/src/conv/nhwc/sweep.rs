//! The innermost loop of the correlations: a few output positions of a row by one or two registers of filters.
//!
//! Each step reads one row of weights, and per position one number of the strip, which is broadcast to all lanes.
//! Positions are a fixed number of numbers apart, so that one pointer with constant offsets reaches them all. A tile is
//! written out as it is, or pooled: see [`Maxima`].

use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};
use crate::tuning::{F64_TILE_ROWS, NARROW_ROWS};
pub use dots::MAX_FILTERS as MAX_DOT_FILTERS;
pub use maxima::Maxima;

mod dots;
mod long;
mod maxima;

/// Some registers of filters at all positions of a rectangle.
#[derive(Debug, Clone, Copy)]
pub struct Rectangle<'a, T> {
    /// Rows and columns of positions.
    pub size: [usize; 2],
    /// The strip, at the first position.
    pub source: *const T,
    /// From a row of positions to the next, in the strip.
    pub source_row: usize,
    /// Runs of numbers that lie together, as seen from a position: where each starts, and how many they are.
    pub runs: &'a [[usize; 2]],
    /// The weights of the first step.
    pub weights: *const T,
    /// From one step's weights to the next.
    pub weight_step: usize,
    /// What is added to the sums of each filter.
    pub bias: *const T,
    /// What the results are raised to if they are less.
    pub floor: T,
    /// How many filters there are; the last register may have fewer than lanes.
    pub filters: usize,
    /// The result, at the first position.
    pub target: *mut T,
    /// From a row of positions to the next, and from one position to the next, in the result.
    pub target_step: [usize; 2],
}

/// How a strip is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripRead {
    /// Each number meets a whole register of filters. A position is `block` numbers from the next.
    Numbers {
        /// 1 or 3 where the instruction set has [`NARROW_ROWS`], or [`MAX_LANES`].
        block: usize,
    },
    /// Each register of channels meets the register of filters that see them, one each: groups of few filters. A
    /// position is [`MAX_LANES`] numbers from the next.
    Lanes,
}

impl StripRead {
    /// The source as [`Sweep`] is compiled for it.
    fn code(self) -> usize {
        match self {
            Self::Lanes => LANEWISE,
            Self::Numbers { block } => block,
        }
    }
}

/// Stands for the block width of a strip of which registers are read instead of numbers.
const LANEWISE: usize = 0;
/// How many columns a tile has at most. As many sums keep every machine's multipliers busy.
const MAX_COLUMNS: usize = 12;
/// How many columns a tile has at most that reads registers. It waits for what it reads; more would not help.
const LANEWISE_COLUMNS: usize = 4;

impl<T: Real> Rectangle<'_, T> {
    /// Computes the rectangle, in tiles as even as can be.
    ///
    /// # Safety
    /// Everything pointed to must be there, the weights in whole registers, and the target of no other thread's
    /// interest. One register or two must suffice for the filters.
    pub unsafe fn compute(&self, isa: Isa, source: StripRead) {
        let vectors = self.filters.div_ceil(isa.lanes::<T>());
        let most = (2 * isa.tile_rows::<T>() / vectors).min(match source {
            StripRead::Lanes => LANEWISE_COLUMNS,
            StripRead::Numbers { .. } => MAX_COLUMNS,
        });
        let parts = self.size[1].div_ceil(most);
        let (size, larger) = (self.size[1] / parts, self.size[1] % parts);
        // SAFETY: together these are the columns of the rectangle.
        unsafe {
            self.sweep(isa, [source.code(), vectors, size + 1], [0, larger]);
            self.sweep(isa, [source.code(), vectors, size], [larger * (size + 1), parts - larger]);
        }
    }

    /// Computes some tiles of so many columns in each row, the first of them at column `first`.
    ///
    /// # Safety
    /// As above.
    unsafe fn sweep(&self, isa: Isa, [block, vectors, columns]: [usize; 3], [first, tiles]: [usize; 2]) {
        if tiles == 0 {
            return;
        }
        macro_rules! by_size {
            ($($block:tt: $two:tt $one:tt)*) => {
                match (block, vectors) {
                    $(($block, 1) => by_size!(@columns $block 1 $one),
                      ($block, 2) => by_size!(@columns $block 2 $two),)*
                    _ => unreachable!("blocks are of the widths above, and filters take two registers at most"),
                }
            };
            (@columns $block:tt $vectors:literal [$($columns:literal)*]) => {
                match columns {
                    $($columns if const { exists::<T>($block, [1, $columns, $vectors]) } => {
                        isa.dispatch(Sweep::<_, _, $block, 1, $columns, $vectors> {
                            rectangle: self,
                            write: WriteSums,
                            first,
                            tiles,
                        })
                    })*
                    _ => unreachable!("tiles are of the sizes above"),
                }
            };
        }
        by_size! {
            LANEWISE: [1 2 3 4] [1 2 3 4]
            1: [1 2 3 4 5 6 7 8] [1 2 3 4 5 6 7 8 9 10 11 12]
            3: [1 2 3 4 5 6 7 8] [1 2 3 4 5 6 7 8 9 10 11 12]
            MAX_LANES: [1 2 3 4 5 6 7 8] [1 2 3 4 5 6 7 8 9 10 11 12]
        }
    }
}

/// The tiles of one size in all rows: `ROWS` rows by `COLUMNS` columns of positions, and some registers of filters.
struct Sweep<'a, T, F, const BLOCK: usize, const ROWS: usize, const COLUMNS: usize, const VECTORS: usize> {
    rectangle: &'a Rectangle<'a, T>,
    write: F,
    first: usize,
    tiles: usize,
}

/// Whether a register type has tiles of this size, of strips with such blocks. The smallest of which a maximum can be
/// taken it always has.
const fn fits(block: usize, [rows, columns, vectors]: [usize; 3], tile_rows: usize) -> bool {
    let is_narrow = block == 1 || block == 3;
    let is_small = rows * columns * vectors <= 2 * tile_rows || (rows == 2 && columns == 2);
    is_small && (!is_narrow || tile_rows >= NARROW_ROWS)
}

/// Whether any machine has tiles of this size for the type of number. Saves compiling what leads to those that none has.
const fn exists<T>(block: usize, size: [usize; 3]) -> bool {
    size_of::<T>() == size_of::<f32>() || fits(block, size, F64_TILE_ROWS)
}

/// The sums of a tile.
type Sums<V, const ROWS: usize, const COLUMNS: usize, const VECTORS: usize> = [[[V; VECTORS]; COLUMNS]; ROWS];

/// How the sums of a tile are written out. Without a branch, or the compiler keeps them in memory instead of registers.
trait WriteTile<T: Real, const ROWS: usize>: Copy {
    /// Writes the tile whose first position is `at`, a row and a column.
    ///
    /// # Safety
    /// As for [`Rectangle::compute`].
    unsafe fn write<V: Vector<T>, const COLUMNS: usize, const VECTORS: usize>(
        self,
        all: &Rectangle<T>,
        sums: &Sums<V, ROWS, COLUMNS, VECTORS>,
        at: [usize; 2],
    );
}

impl<
    T: Real,
    F: WriteTile<T, ROWS>,
    const BLOCK: usize,
    const ROWS: usize,
    const COLUMNS: usize,
    const VECTORS: usize,
> Kernel<T> for Sweep<'_, T, F, BLOCK, ROWS, COLUMNS, VECTORS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if const { !fits(BLOCK, [ROWS, COLUMNS, VECTORS], V::TILE_ROWS) } {
            unreachable!("never asked for; saves compiling it");
        }
        let step = const { if BLOCK == LANEWISE { MAX_LANES } else { BLOCK } };
        let all = *self.rectangle;
        for row in (0..all.size[0]).step_by(ROWS) {
            for tile in 0..self.tiles {
                let column = self.first + tile * COLUMNS;
                // SAFETY: the tile is inside the rectangle; the rest is the contract of `compute`.
                unsafe {
                    let source = all.source.add(row * all.source_row + column * step);
                    let sums = if const { BLOCK == LANEWISE } {
                        Self::multiply_lanes::<V>(&all, source)
                    } else {
                        Self::multiply::<V>(&all, source)
                    };
                    self.write.write(&all, &sums, [row, column]);
                }
            }
        }
    }
}

impl<T: Real, F, const BLOCK: usize, const ROWS: usize, const COLUMNS: usize, const VECTORS: usize>
    Sweep<'_, T, F, BLOCK, ROWS, COLUMNS, VECTORS>
{
    /// One chain of fused products per position and filter, in the order of the weights.
    ///
    /// # Safety
    /// Source and weights must hold all runs; the instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn multiply<V: Vector<T>>(
        all: &Rectangle<T>,
        source: *const T,
    ) -> Sums<V, ROWS, COLUMNS, VECTORS> {
        // SAFETY: the caller's contract.
        unsafe {
            let zero = V::splat(T::zero());
            let mut sums = [[[zero; VECTORS]; COLUMNS]; ROWS];
            let mut weights = all.weights;
            for &[offset, steps] in all.runs {
                let run = source.add(offset);
                for step in 0..steps {
                    let mut right = [zero; VECTORS];
                    for vector in 0..VECTORS {
                        right[vector] = V::load(weights.add(vector * V::LANES));
                    }
                    for row in 0..ROWS {
                        let line = run.add(row * all.source_row + step);
                        for column in 0..COLUMNS {
                            let left = V::splat(*line.add(column * BLOCK));
                            for vector in 0..VECTORS {
                                let sum = &mut sums[row][column][vector];
                                *sum = left.mul_add(right[vector], *sum);
                            }
                        }
                    }
                    weights = weights.add(all.weight_step);
                }
            }
            sums
        }
    }

    /// The same for registers of channels: a run is one step.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn multiply_lanes<V: Vector<T>>(
        all: &Rectangle<T>,
        source: *const T,
    ) -> Sums<V, ROWS, COLUMNS, VECTORS> {
        // SAFETY: the caller's contract.
        unsafe {
            let zero = V::splat(T::zero());
            let mut sums = [[[zero; VECTORS]; COLUMNS]; ROWS];
            let mut weights = all.weights;
            for &[offset, _] in all.runs {
                let tap = source.add(offset);
                for vector in 0..VECTORS {
                    let right = V::load(weights.add(vector * V::LANES));
                    for row in 0..ROWS {
                        let line = tap.add(row * all.source_row + vector * V::LANES);
                        for column in 0..COLUMNS {
                            let left = V::load(line.add(column * MAX_LANES));
                            let sum = &mut sums[row][column][vector];
                            *sum = left.mul_add(right, *sum);
                        }
                    }
                }
                weights = weights.add(all.weight_step);
            }
            sums
        }
    }
}

impl<T: Real> Rectangle<'_, T> {
    /// For each register of filters how many there are, and what is added to them.
    ///
    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn bias<V: Vector<T>, const VECTORS: usize>(&self) -> [(usize, V); VECTORS] {
        // SAFETY: the bias has a number for each filter.
        unsafe {
            let mut bias = [(0, V::splat(T::zero())); VECTORS];
            for vector in 0..VECTORS {
                let count = V::LANES.min(self.filters - vector * V::LANES);
                bias[vector] = (count, V::load_first(self.bias.add(vector * V::LANES), count));
            }
            bias
        }
    }

    /// A finished sum.
    ///
    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn finished<V: Vector<T>>(&self, sum: V, bias: V) -> V {
        // SAFETY: the caller's contract.
        unsafe { sum.add(bias).at_least(V::splat(self.floor)).flush() }
    }
}

/// Writes every sum.
#[derive(Clone, Copy)]
struct WriteSums;

impl<T: Real> WriteTile<T, 1> for WriteSums {
    #[inline(always)]
    unsafe fn write<V: Vector<T>, const COLUMNS: usize, const VECTORS: usize>(
        self,
        all: &Rectangle<T>,
        [sums]: &Sums<V, 1, COLUMNS, VECTORS>,
        [row, column]: [usize; 2],
    ) {
        // SAFETY: the caller's contract; `count` keeps to the filters.
        unsafe {
            let bias = all.bias::<V, VECTORS>();
            let target = all.target.add(row * all.target_step[0] + column * all.target_step[1]);
            for column in 0..COLUMNS {
                let target = target.add(column * all.target_step[1]);
                for vector in 0..VECTORS {
                    let (count, bias) = bias[vector];
                    all.finished(sums[column][vector], bias)
                        .store_first(target.add(vector * V::LANES), count);
                }
            }
        }
    }
}
