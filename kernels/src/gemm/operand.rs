//! Where a tile finds its operands: packed, or in place.

use super::tile::MAX_ROWS;
use crate::simd::Vector;

/// The left operand of a tile, read where it lies: every row starts anywhere, and all take the same steps from there.
#[derive(Clone, Copy)]
pub struct Rows<T> {
    /// The first step of each row; those beyond the tile's rows are not looked at.
    pub rows: [*const T; MAX_ROWS],
    /// From step to step.
    pub stride: usize,
}

impl<T: Copy> Rows<T> {
    /// The number in `row` of the tile at `step` of the inner dimension.
    ///
    /// # Safety
    /// Both must be inside the operand.
    #[inline(always)]
    pub unsafe fn number(&self, row: usize, step: usize) -> T {
        // SAFETY: inside the operand by the contract.
        unsafe { *self.rows[row].add(step * self.stride) }
    }
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

impl<T: Copy> Columns<T> {
    /// The tile's columns at `step` of the inner dimension.
    ///
    /// # Safety
    /// The step must be inside the operand.
    #[inline(always)]
    pub unsafe fn columns(&self, step: usize) -> *const T {
        // SAFETY: inside the operand by the contract.
        unsafe { self.start.add(step * self.stride) }
    }

    /// Reads a register of columns; `is_last` says that it is the last one of the tile.
    ///
    /// # Safety
    /// `from` must come from [`columns`](Self::columns), advanced by whole registers of the tile.
    #[inline(always)]
    pub unsafe fn load<V: Vector<T>>(&self, from: *const T, is_last: bool) -> V {
        // SAFETY: the columns exist by the contract, in the last register as many as it has.
        unsafe { if is_last { V::load_first(from, self.last) } else { V::load(from) } }
    }
}
