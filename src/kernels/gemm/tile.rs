//! The innermost loop of everything that multiplies matrices: one tile of the result, held in registers.
//!
//! A tile is a few rows by a few registers of columns. Each step along the inner dimension reads one row
//! of the right operand, and per tile row one number of the left operand, which is spread over all lanes.
//! Where the operands lie is up to [`Left`] and [`Right`]: packed for the purpose, or read in place.

use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, Kernel, MAX_LANES, Vector};

/// The most rows that a tile has on any machine.
pub const MAX_ROWS: usize = 14;
/// The most registers that a tile has on any machine.
const MAX_REGISTERS: usize = 2 * MAX_ROWS;

/// The left operand of a tile.
pub trait Left<T>: Copy {
    /// The number in `row` of the tile at `step` of the inner dimension.
    ///
    /// # Safety
    /// Both must be inside the operand.
    unsafe fn number(&self, row: usize, step: usize) -> T;
}

/// The right operand of a tile.
pub trait Right<T>: Copy {
    /// The tile's columns at `step` of the inner dimension.
    ///
    /// # Safety
    /// The step must be inside the operand.
    unsafe fn columns(&self, step: usize) -> *const T;

    /// Reads a register of columns; `last` says that it is the last one of the tile.
    ///
    /// # Safety
    /// `from` must be what [`columns`](Self::columns) says, and the register as far on as it is the tile's.
    #[inline(always)]
    unsafe fn load<V: Vector<T>>(&self, from: *const T, last: bool) -> V {
        let _ = last;
        // SAFETY: all registers of a step can be read as a whole, unless an operand says otherwise here.
        unsafe { V::load(from) }
    }
}

/// By reference, a large operand is not copied for every tile.
impl<T, L: Left<T>> Left<T> for &L {
    #[inline(always)]
    unsafe fn number(&self, row: usize, step: usize) -> T {
        // SAFETY: the same contract.
        unsafe { L::number(self, row, step) }
    }
}

/// As for a left operand.
impl<T, R: Right<T>> Right<T> for &R {
    #[inline(always)]
    unsafe fn columns(&self, step: usize) -> *const T {
        // SAFETY: the same contract.
        unsafe { R::columns(self, step) }
    }

    #[inline(always)]
    unsafe fn load<V: Vector<T>>(&self, from: *const T, last: bool) -> V {
        // SAFETY: the same contract.
        unsafe { R::load(self, from, last) }
    }
}

/// An operand of which each step lies in one piece, `stride` numbers after the step before.
#[derive(Clone, Copy)]
pub struct Packed<T> {
    /// The first step.
    pub start: *const T,
    /// From step to step.
    pub stride: usize,
}

impl<T: Copy> Left<T> for Packed<T> {
    #[inline(always)]
    unsafe fn number(&self, row: usize, step: usize) -> T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { *self.start.add(step * self.stride + row) }
    }
}

impl<T: Copy> Right<T> for Packed<T> {
    #[inline(always)]
    unsafe fn columns(&self, step: usize) -> *const T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { self.start.add(step * self.stride) }
    }
}

/// A right operand read in place: as [`Packed`], except that there may be no memory beyond its last column.
#[derive(Clone, Copy)]
pub struct InPlace<T> {
    /// The first step.
    pub start: *const T,
    /// From step to step.
    pub stride: usize,
    /// How many columns the last register of the tile has.
    pub last: usize,
}

impl<T: Copy> Right<T> for InPlace<T> {
    #[inline(always)]
    unsafe fn columns(&self, step: usize) -> *const T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { self.start.add(step * self.stride) }
    }

    #[inline(always)]
    unsafe fn load<V: Vector<T>>(&self, from: *const T, last: bool) -> V {
        // SAFETY: the columns exist by the trait's contract, in the last register as many as it has.
        unsafe { if last { V::load_first(from, self.last) } else { V::load(from) } }
    }
}

/// A left operand read in place, whose rows each lie in one piece.
#[derive(Clone, Copy)]
pub struct Rows<T>(
    /// The first step of each row; those beyond the tile's rows are not looked at.
    pub [*const T; MAX_ROWS],
);

impl<T: Copy> Left<T> for Rows<T> {
    #[inline(always)]
    unsafe fn number(&self, row: usize, step: usize) -> T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { *self.0[row].add(step) }
    }
}

/// A right operand whose steps lie anywhere: each at its own offset.
#[derive(Clone, Copy)]
pub struct Scattered<T> {
    /// Where the offsets count from.
    pub start: *const T,
    /// The offset of each step.
    pub offsets: *const usize,
}

impl<T: Copy> Right<T> for Scattered<T> {
    #[inline(always)]
    unsafe fn columns(&self, step: usize) -> *const T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { self.start.add(*self.offsets.add(step)) }
    }
}

/// A left operand read in place: every row starts anywhere, and all rows take the same offsets from there.
#[derive(Clone, Copy)]
pub struct Gathered<T> {
    /// The start of each row; those beyond the tile's rows are not looked at.
    pub rows: [*const T; MAX_ROWS],
    /// The offset of each step, the same for all rows.
    pub offsets: *const usize,
}

impl<T: Copy> Left<T> for Gathered<T> {
    #[inline(always)]
    unsafe fn number(&self, row: usize, step: usize) -> T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { *self.rows[row].add(*self.offsets.add(step)) }
    }
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
        debug_assert!(rows <= isa.tile_rows::<T>() && rows * vectors <= 2 * isa.tile_rows::<T>());
        self.pitch = vectors * isa.lanes::<T>();
        let out = self.numbers.as_mut_ptr();
        macro_rules! by_size {
            ($($rows:literal * $vectors:literal)*) => {
                match (rows, vectors) {
                    $(($rows, $vectors) => {
                        isa.dispatch(Multiply::<_, _, _, $rows, $vectors> { left, right, steps, out });
                    })*
                    _ => debug_assert!(false, "there is no tile of {rows} × {vectors}"),
                }
            };
        }
        by_size!(
            1*1 2*1 3*1 4*1 5*1 6*1 7*1 8*1 9*1 10*1 11*1 12*1 13*1 14*1
            1*2 2*2 3*2 4*2 5*2 6*2 7*2 8*2 9*2 10*2 11*2 12*2 13*2 14*2
            1*3 2*3 3*3 4*3 5*3 6*3 7*3 8*3 9*3
            1*4 2*4 1*5 1*6 1*7
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
        if ROWS > V::TILE_ROWS || ROWS * VECTORS > 2 * V::TILE_ROWS {
            return; // never asked for; saves compiling it
        }
        // SAFETY: `dispatch` vouches for the instruction set, and the caller of `Tile::multiply` for the operands;
        // the tile has room for the most rows and lanes there are.
        unsafe {
            let mut sums = [[V::splat(T::zero()); VECTORS]; ROWS];
            for step in 0..self.steps {
                let columns = self.right.columns(step);
                let right: [V; VECTORS] = std::array::from_fn(|vector| {
                    self.right.load(columns.add(vector * V::LANES), vector + 1 == VECTORS)
                });
                for (row, sums) in sums.iter_mut().enumerate() {
                    let left = V::splat(self.left.number(row, step));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = left.mul_add(right, *sum);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    sum.store(self.out.add((row * VECTORS + vector) * V::LANES));
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
