//! The innermost loop of everything that multiplies matrices: one tile of the result, held in registers.
//!
//! A tile is a few rows by a few registers of columns. Each step along the inner dimension reads one row
//! of the right operand, and per tile row one number of the left operand, which is spread over all lanes.
//! Where the operands lie is up to [`Left`] and [`Right`]: packed for the purpose, or read in place.

pub use super::operand::{Columns, Gathered, Left, Right, Rows, Scattered};
use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};

/// The most rows that a tile has on any machine.
pub const MAX_ROWS: usize = 8;
/// The most registers that a tile has on any machine.
const MAX_REGISTERS: usize = 2 * MAX_ROWS;

/// Whether the registers hold a tile beside what a step reads: a row of columns, a number, and on some machines a
/// mask. They hold two times `tile_rows` registers of sums where the tile is two registers wide.
const fn fits(rows: usize, vectors: usize, tile_rows: usize) -> bool {
    rows <= tile_rows && (rows + 1) * vectors <= 2 * (tile_rows + 1)
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
        left: impl Left<T>,
        right: impl Right<T>,
        steps: usize,
    ) {
        debug_assert!(fits(rows, vectors, isa.tile_rows::<T>()));
        self.pitch = vectors * isa.lanes::<T>();
        let out = self.numbers.as_mut_ptr();
        macro_rules! by_size {
            ($($rows:literal * $vectors:literal)*) => {
                match (rows, vectors) {
                    $(($rows, $vectors) => {
                        isa.dispatch(Multiply::<_, _, _, $rows, $vectors> { left, right, steps, out });
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

    /// Writes part of the tile to where it belongs, with whatever the finish asks for on the way.
    ///
    /// # Safety
    /// The target must be writable, and of no other thread's interest, for the part's columns in every row.
    pub unsafe fn store(&self, isa: Isa, part: Part<T>, finish: Finish<T>) {
        isa.dispatch(Store { tile: self, part: &part, finish: &finish });
    }
}

/// Some of a tile's columns, in all of its rows, and where they go.
#[derive(Clone, Copy)]
pub struct Part<T> {
    /// How many rows.
    pub rows: usize,
    /// The first column.
    pub column: usize,
    /// How many columns.
    pub columns: usize,
    /// Where the first row goes.
    pub target: *mut T,
    /// From one row's target to the next.
    pub pitch: usize,
    /// From one column's target to the next.
    pub spacing: usize,
}

/// What happens to a tile's numbers on their way out: first `add`, then `bias`, then `relu`. Last of all,
/// subnormal numbers become 0.
#[derive(Clone, Copy)]
pub struct Finish<'a, T> {
    /// Whether they are added to what the target holds; only for a spacing of 1.
    pub add: bool,
    /// What is added to all numbers of a column or row.
    pub bias: Bias<'a, T>,
    /// Whether numbers ≤ 0 become 0.
    pub relu: bool,
}

/// A bias of a part of a tile.
#[derive(Clone, Copy)]
pub enum Bias<'a, T> {
    /// None at all.
    None,
    /// One for each of the part's columns.
    Columns(&'a [T]),
    /// One for each row.
    Rows(&'a [T]),
}

impl<T> Finish<'_, T> {
    /// The numbers as they are.
    pub const PLAIN: Self = Self { add: false, bias: Bias::None, relu: false };
}

/// Computes a tile. Only this loop's accumulators may live here, or they no longer fit the registers.
struct Multiply<T, L, R, const ROWS: usize, const VECTORS: usize> {
    left: L,
    right: R,
    steps: usize,
    out: *mut T,
}

impl<T: Real, L: Left<T>, R: Right<T>, const ROWS: usize, const VECTORS: usize> Kernel<T>
    for Multiply<T, L, R, ROWS, VECTORS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if const { !fits(ROWS, VECTORS, V::TILE_ROWS) } {
            return; // never asked for; saves compiling it
        }
        // SAFETY: `dispatch` vouches for the instruction set, and the caller of `Tile::multiply` for the operands;
        // the tile has room for the most rows and lanes there are.
        unsafe {
            let zero = V::splat(T::zero());
            let mut sums = [[zero; VECTORS]; ROWS];
            for step in 0..self.steps {
                let columns = self.right.columns(step);
                let mut right = [zero; VECTORS];
                for vector in 0..VECTORS {
                    right[vector] = self.right.load(columns.add(vector * V::LANES), vector + 1 == VECTORS);
                }
                for row in 0..ROWS {
                    let left = V::splat(self.left.number(row, step));
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

/// Writes a part of a tile out. It refers to what it is told, because a copy would have to wait until the numbers
/// written before have left for the cache.
struct Store<'a, T> {
    tile: &'a Tile<T>,
    part: &'a Part<T>,
    finish: &'a Finish<'a, T>,
}

impl<T: Real> Kernel<T> for Store<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Store { tile, part, finish } = self;
        debug_assert!(part.column + part.columns <= tile.pitch && (part.spacing == 1 || !finish.add));
        for done in (0..part.columns).step_by(V::LANES) {
            let count = V::LANES.min(part.columns - done);
            // SAFETY: `count` keeps to the columns of the part, which are inside the tile; the caller of
            // `Tile::store` vouches for the target. What is asked for most often has loops of its own.
            unsafe {
                match (finish, part.spacing) {
                    (Finish { add: false, bias: Bias::None, relu: false }, 1) => self.rows::<V>(
                        [done, count],
                        #[inline(always)]
                        |value, _, target| value.flush().store_first(target, count),
                    ),
                    (Finish { add: true, bias: Bias::None, relu: false }, 1) => self.rows::<V>(
                        [done, count],
                        #[inline(always)]
                        |value, _, target| {
                            value.add(V::load_first(target, count)).flush().store_first(target, count);
                        },
                    ),
                    _ => self.rows::<V>(
                        [done, count],
                        #[inline(always)]
                        |value, row, target| self.finish([done, count, row], value, target),
                    ),
                }
            }
        }
    }
}

impl<T: Real> Store<'_, T> {
    /// Goes through a register of every row, `count` columns of it: its numbers, the row, and where they go.
    ///
    /// # Safety
    /// The columns must be inside the part, and the instruction set of `V` exist.
    #[inline(always)]
    unsafe fn rows<V: Vector<T>>(&self, [done, count]: [usize; 2], store: impl Fn(V, usize, *mut T)) {
        let Store { tile, part, .. } = self;
        // SAFETY: the part is inside the tile, and the caller vouches for the columns.
        unsafe {
            let numbers = tile.numbers.as_ptr().add(part.column + done);
            let target = part.target.add(done * part.spacing);
            for row in 0..part.rows {
                let value = V::load_first(numbers.add(row * tile.pitch), count);
                store(value, row, target.add(row * part.pitch));
            }
        }
    }

    /// Does whatever the finish asks for with one register, and writes it.
    ///
    /// # Safety
    /// The target must be writable, and the instruction set of `V` exist.
    #[inline(always)]
    unsafe fn finish<V: Vector<T>>(&self, [done, count, row]: [usize; 3], mut value: V, target: *mut T) {
        let Store { part, finish, .. } = self;
        // SAFETY: the caller vouches for all of it; the bias has a number for every column or row.
        unsafe {
            if finish.add {
                value = value.add(V::load_first(target, count));
            }
            value = match finish.bias {
                Bias::None => value,
                Bias::Columns(bias) => value.add(V::load_first(bias.as_ptr().add(done), count)),
                Bias::Rows(bias) => value.add(V::splat(bias[row])),
            };
            value = if finish.relu { value.relu() } else { value }.flush();
            if part.spacing == 1 {
                value.store_first(target, count);
            } else {
                scatter::<T, V>(value, target, part.spacing, count);
            }
        }
    }
}

/// Writes the first `count` lanes to places that are `spacing` apart.
///
/// # Safety
/// They must be writable, and the instruction set of `V` exist.
#[inline(always)]
unsafe fn scatter<T: Real, V: Vector<T>>(value: V, to: *mut T, spacing: usize, count: usize) {
    let mut lanes = [T::zero(); MAX_LANES];
    // SAFETY: no register has more lanes than the array; the caller vouches for the places.
    unsafe {
        value.store(lanes.as_mut_ptr());
        for (lane, &number) in lanes.iter().enumerate().take(count) {
            *to.add(lane * spacing) = number;
        }
    }
}
