//! Packing: copying part of a matrix to where, and in the order in which, tiles want to read it.

use crate::kernels::real::Real;
use crate::kernels::simd::{Kernel, MAX_LANES, Vector};

/// Copies `steps` rows of up to `width` numbers, one after the other, filling missing columns with 0:
/// to[step · width + column] = from[step · stride + column].
pub struct Copy<'a, T> {
    /// Where the first row starts.
    pub from: &'a [T],
    /// From row to row.
    pub stride: usize,
    /// How many columns there are, at most `width`.
    pub columns: usize,
    /// How many columns are wanted.
    pub width: usize,
    /// The packed rows; its length says how many.
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Copy<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        for (step, to) in self.to.chunks_exact_mut(self.width).enumerate() {
            let from = &self.from[step * self.stride..][..self.columns];
            for start in (0..self.width).step_by(V::LANES) {
                let room = V::LANES.min(self.width - start);
                let count = room.min(self.columns.saturating_sub(start));
                // SAFETY: `count` numbers are left in the row, `room` in its copy.
                unsafe {
                    let numbers = V::load_first(from.as_ptr().add(start.min(self.columns)), count);
                    numbers.store_first(to.as_mut_ptr().add(start), room);
                }
            }
        }
    }
}

/// As [`Copy`], of a matrix that lies the other way round:
/// to[step · width + column] = from[column · stride + step].
pub struct Transpose<'a, T> {
    /// Where the first column starts.
    pub from: &'a [T],
    /// From column to column.
    pub stride: usize,
    /// How many columns there are, at most `width`.
    pub columns: usize,
    /// How many columns are wanted.
    pub width: usize,
    /// The packed rows; its length says how many.
    pub to: &'a mut [T],
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
                // SAFETY: blocks stay inside both matrices, of which the first is as long as asserted.
                unsafe {
                    let mut block = [V::splat(T::zero()); MAX_LANES];
                    for (column, register) in block.iter_mut().enumerate().take(columns) {
                        let from = self.from.as_ptr().add((start + column) * self.stride + step);
                        *register =
                            if count == V::LANES { V::load(from) } else { V::load_first(from, count) };
                    }
                    let block = transposed::<T, V>(block);
                    for (row, register) in block.into_iter().enumerate().take(count) {
                        let to = self.to.as_mut_ptr().add((step + row) * self.width + start);
                        register.store_first(to, room);
                    }
                }
            }
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
        let mut woven = block;
        for pair in 0..V::LANES / 2 {
            // SAFETY: the caller vouches for the instruction set.
            let (first, second) = unsafe { block[pair].interleave(block[pair + V::LANES / 2]) };
            (woven[2 * pair], woven[2 * pair + 1]) = (first, second);
        }
        block = woven;
    }
    block
}
