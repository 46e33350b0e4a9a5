//! Packing: copies part of a matrix in the order in which tiles read it.

use crate::real::Real;
use crate::simd::{Kernel, MAX_LANES, Vector};

/// Copies `steps` rows of up to `width` numbers, one after the other, filling missing columns with 0:
/// to[step · width + column] = from[step · stride + column].
pub type PackRows<'a, T> = Pack<'a, T, false>;

/// As [`PackRows`], of a transposed matrix:
/// to[step · width + column] = from[column · stride + step].
pub type Transpose<'a, T> = Pack<'a, T, true>;

/// Part of a matrix, and where it is copied to.
pub struct Pack<'a, T, const IS_TRANSPOSED: bool> {
    /// Where the first row starts, or column.
    pub from: &'a [T],
    /// From row to row, or from column to column.
    pub stride: usize,
    /// How many columns there are, at most `width`.
    pub columns: usize,
    /// How many columns the packed rows have.
    pub width: usize,
    /// The packed rows; its length says how many.
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for PackRows<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let steps = self.to.len() / self.width;
        debug_assert!(steps == 0 || (steps - 1) * self.stride + self.columns <= self.from.len());
        for start in (0..self.width).step_by(V::LANES) {
            let room = V::LANES.min(self.width - start);
            let count = room.min(self.columns.saturating_sub(start));
            let from = self.from.as_ptr().wrapping_add(start.min(self.columns));
            let to = self.to.as_mut_ptr().wrapping_add(start);
            // SAFETY: `count` numbers are left in each row, which is as long as asserted, and `room` in its copy.
            unsafe {
                if count == V::LANES {
                    for step in 0..steps {
                        V::load(from.add(step * self.stride)).store(to.add(step * self.width));
                    }
                } else {
                    for step in 0..steps {
                        let numbers = V::load_first(from.add(step * self.stride), count);
                        numbers.store_first(to.add(step * self.width), room);
                    }
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let steps = self.to.len() / self.width;
        debug_assert!(
            steps == 0 || self.columns == 0 || (self.columns - 1) * self.stride + steps <= self.from.len()
        );
        for start in (0..self.width).step_by(V::LANES) {
            let room = V::LANES.min(self.width - start);
            let columns = room.min(self.columns.saturating_sub(start));
            for step in (0..steps).step_by(V::LANES) {
                let count = V::LANES.min(steps - step);
                let from = self.from.as_ptr().wrapping_add(start * self.stride + step);
                let to = self.to.as_mut_ptr().wrapping_add(step * self.width + start);
                // SAFETY: blocks stay inside both matrices, of which the first is as long as asserted.
                unsafe {
                    if columns == V::LANES && count == V::LANES {
                        square::<T, V>(from, self.stride, to, self.width, V::LANES); // a loop without masks
                    } else if columns == V::LANES {
                        square::<T, V>(from, self.stride, to, self.width, count);
                    } else {
                        corner::<T, V>(from, self.stride, to, self.width, [columns, room, count]);
                    }
                }
            }
        }
    }
}

/// Transposes a square of the size of a register, or the first steps of it.
///
/// # Safety
/// Both squares must be there, and so must the instruction set of `V`.
#[inline(always)]
unsafe fn square<T: Real, V: Vector<T>>(
    from: *const T,
    stride: usize,
    to: *mut T,
    width: usize,
    steps: usize,
) {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let mut block = [V::splat(T::zero()); MAX_LANES];
        for column in 0..V::LANES {
            let from = from.add(column * stride);
            block[column] = if steps == V::LANES { V::load(from) } else { V::load_first(from, steps) };
        }
        let block = transposed::<T, V>(block);
        for row in 0..V::LANES {
            if row < steps {
                block[row].store(to.add(row * width));
            }
        }
    }
}

/// The same at an edge, where a square has fewer columns, of which `room` are written.
///
/// # Safety
/// As of [`square`], for what there is.
#[inline(always)]
unsafe fn corner<T: Real, V: Vector<T>>(
    from: *const T,
    stride: usize,
    to: *mut T,
    width: usize,
    [columns, room, steps]: [usize; 3],
) {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let mut block = [V::splat(T::zero()); MAX_LANES];
        for column in 0..columns {
            block[column] = V::load_first(from.add(column * stride), steps);
        }
        let block = transposed::<T, V>(block);
        for row in 0..steps {
            block[row].store_first(to.add(row * width), room);
        }
    }
}

/// Transposes a square of as many registers as each has lanes, by interleaving its halves until all is in place.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
pub unsafe fn transposed<T, V: Vector<T>>(mut block: [V; MAX_LANES]) -> [V; MAX_LANES] {
    for _ in 0..V::LANES.ilog2() {
        let mut interleaved = block;
        for pair in 0..V::LANES / 2 {
            // SAFETY: the caller vouches for the instruction set.
            let (first, second) = unsafe { block[pair].interleave(block[pair + V::LANES / 2]) };
            (interleaved[2 * pair], interleaved[2 * pair + 1]) = (first, second);
        }
        block = interleaved;
    }
    block
}
