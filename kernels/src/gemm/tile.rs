//! The innermost loop of everything that multiplies matrices: one tile of the result, held in registers.
//!
//! A tile is a few rows by a few registers of columns. Each step along the inner dimension reads one row
//! of the right operand, and per tile row one number of the left operand, which is broadcast to all lanes.
//! [`Rows`] and [`Columns`] tell where the operands lie: packed, or in place.

use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};
use crate::tuning::F64_TILE_ROWS;

/// The most rows that a tile has on any machine.
const MAX_ROWS: usize = 8;
/// The most registers that a tile has on any machine.
const MAX_REGISTERS: usize = 2 * MAX_ROWS;

/// Whether the registers hold a tile beside what a step reads: a row of columns, a number, and on some machines a
/// mask. They hold two times `tile_rows` registers of sums where the tile is two registers wide.
const fn fits(rows: usize, vectors: usize, tile_rows: usize) -> bool {
    rows <= tile_rows && (rows + 1) * vectors <= 2 * (tile_rows + 1)
}

/// Whether any machine has a tile of this size for the type of number.
const fn exists<T>(rows: usize, vectors: usize) -> bool {
    size_of::<T>() == size_of::<f32>() || fits(rows, vectors, F64_TILE_ROWS)
}

/// The left operand of a tile, read where it lies: every row starts anywhere, and all take the same steps from there.
#[derive(Clone, Copy)]
pub struct Rows<T> {
    /// The first step of each row; those beyond the tile's rows are not looked at.
    pub rows: [*const T; MAX_ROWS],
    /// From step to step.
    pub stride: usize,
}

/// The right operand of a tile, of which each step lies in one piece. There need be no memory beyond its last column.
#[derive(Clone, Copy)]
pub struct Columns<T> {
    /// The first step.
    pub start: *const T,
    /// From step to step.
    pub stride: usize,
    /// How many columns the last register of the tile has.
    pub last: usize,
}

/// A finished tile, row after row, each `vectors` registers long.
#[repr(align(64))]
pub struct Tile<T> {
    numbers: [T; MAX_REGISTERS * MAX_LANES],
    pitch: usize,
}

impl<T: Real> Tile<T> {
    /// An empty tile, to be reused for many.
    pub fn new() -> Self {
        Self { numbers: [T::zero(); MAX_REGISTERS * MAX_LANES], pitch: 0 }
    }

    /// Computes a tile of `rows` × `vectors` registers: Σ over the steps of left(row, step) · right(step, column),
    /// one fused chain per element, in the order of the steps.
    ///
    /// # Safety
    /// The operands must hold as many rows, registers and steps; the instruction set must allow as many rows.
    pub unsafe fn multiply(
        &mut self,
        isa: Isa,
        [rows, vectors]: [usize; 2],
        left: Rows<T>,
        right: Columns<T>,
        steps: usize,
    ) {
        debug_assert!(fits(rows, vectors, isa.tile_rows::<T>()));
        self.pitch = vectors * isa.lanes::<T>();
        let out = self.numbers.as_mut_ptr();
        macro_rules! by_size {
            ($($rows:literal * $vectors:literal)*) => {
                match (rows, vectors) {
                    $(($rows, $vectors) if const { exists::<T>($rows, $vectors) } => {
                        isa.dispatch(Multiply::<_, $rows, $vectors> { left, right, steps, out });
                    })*
                    _ => unreachable!("there is no tile of {rows} × {vectors}"),
                }
            };
        }
        by_size!(
            1*1 2*1 3*1 4*1 5*1 6*1 7*1 8*1
            1*2 2*2 3*2 4*2 5*2 6*2 7*2 8*2
            1*3 2*3 1*4 2*4 1*5 1*6 1*7
        );
    }

    /// Writes part of the tile to where it belongs, and applies the epilogue.
    ///
    /// # Safety
    /// The target must be writable, and of no other thread's interest, for the part's columns in every row.
    pub unsafe fn store(&self, isa: Isa, target: TileTarget<T>) {
        isa.dispatch(StoreTile { tile: self, target: &target });
    }
}

/// Where a tile goes, and what happens to its numbers on their way: first `add`, then `bias`, then `relu`. Last of all,
/// subnormal numbers become 0.
pub struct TileTarget<'a, T> {
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
    /// Where the first row goes.
    pub start: *mut T,
    /// From one row's target to the next.
    pub pitch: usize,
    /// Whether they are added to what the target holds.
    pub add: bool,
    /// What is added to all numbers of each column.
    pub bias: Option<&'a [T]>,
    /// Whether numbers ≤ 0 become 0.
    pub relu: bool,
}

/// Computes a tile. Only this loop's accumulators may live here, or they do not fit the registers.
struct Multiply<T, const ROWS: usize, const VECTORS: usize> {
    left: Rows<T>,
    right: Columns<T>,
    steps: usize,
    out: *mut T,
}

impl<T: Real, const ROWS: usize, const VECTORS: usize> Kernel<T> for Multiply<T, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if const { !fits(ROWS, VECTORS, V::TILE_ROWS) } {
            unreachable!("never asked for; saves compiling it");
        }
        // SAFETY: `dispatch` vouches for the instruction set, and the caller of `Tile::multiply` for the operands;
        // the tile has room for the most rows and lanes there are.
        unsafe {
            let zero = V::splat(T::zero());
            let mut sums = [[zero; VECTORS]; ROWS];
            for step in 0..self.steps {
                let columns = self.right.start.add(step * self.right.stride);
                let mut right = [zero; VECTORS];
                for vector in 0..VECTORS {
                    let columns = columns.add(vector * V::LANES);
                    let is_last = vector + 1 == VECTORS;
                    right[vector] =
                        if is_last { V::load_first(columns, self.right.last) } else { V::load(columns) };
                }
                for row in 0..ROWS {
                    let left = V::splat(*self.left.rows[row].add(step * self.left.stride));
                    for vector in 0..VECTORS {
                        sums[row][vector] = left.mul_add(right[vector], sums[row][vector]);
                    }
                }
            }
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    sums[row][vector].store(self.out.add((row * VECTORS + vector) * V::LANES));
                }
            }
        }
    }
}

/// Writes a part of a tile out. It holds references: a copy would wait until numbers written just before have left for
/// the cache.
struct StoreTile<'a, T> {
    tile: &'a Tile<T>,
    target: &'a TileTarget<'a, T>,
}

impl<T: Real> Kernel<T> for StoreTile<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let StoreTile { tile, target } = self;
        debug_assert!(target.columns <= tile.pitch);
        let floor = if target.relu { T::zero() } else { T::neg_infinity() };
        for column in (0..target.columns).step_by(V::LANES) {
            let count = V::LANES.min(target.columns - column);
            // SAFETY: `count` keeps to the columns of the part, the tile has whole registers, and the bias a number for
            // each column; the caller of `Tile::store` vouches for the target.
            unsafe {
                let bias = match target.bias {
                    Some(bias) => V::load_first(bias.as_ptr().add(column), count),
                    None => V::splat(T::zero()),
                };
                for row in 0..target.rows {
                    let to = target.start.add(row * target.pitch + column);
                    let mut value = V::load(tile.numbers.as_ptr().add(row * tile.pitch + column));
                    if target.add {
                        value = value.add(V::load_first(to, count));
                    }
                    value.add(bias).at_least(V::splat(floor)).flush().store_first(to, count);
                }
            }
        }
    }
}
