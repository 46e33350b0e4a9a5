//! Where a tile finds its operands: packed for the purpose, or in place.

use super::tile::MAX_ROWS;
use crate::simd::Vector;

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

/// A left operand read where it lies: every row starts anywhere, and all take the same steps from there.
#[derive(Clone, Copy)]
pub struct Rows<T> {
    /// The first step of each row; those beyond the tile's rows are not looked at.
    pub rows: [*const T; MAX_ROWS],
    /// From step to step.
    pub stride: usize,
}

impl<T: Copy> Left<T> for Rows<T> {
    #[inline(always)]
    unsafe fn number(&self, row: usize, step: usize) -> T {
        // SAFETY: inside the operand by the trait's contract.
        unsafe { *self.rows[row].add(step * self.stride) }
    }
}

/// A right operand of which each step lies in one piece. There need be no memory beyond its last column.
#[derive(Clone, Copy)]
pub struct Columns<T> {
    /// The first step.
    pub start: *const T,
    /// From step to step.
    pub stride: usize,
    /// How many columns the last register of the tile has.
    pub last: usize,
}

impl<T: Copy> Right<T> for Columns<T> {
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
