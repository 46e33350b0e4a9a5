//! Few rows times a transposed matrix: dot products, each of two pieces of memory, so that the matrix is read once,
//! in order.
//!
//! A dot product is sixteen interleaved sums, whatever the width of a register, which are then added up in pairs. Long
//! ones add up blocks, or the last products would be lost in rounding.

use std::ops::Range;

use super::pack::transposed;
use super::{DOT_ROWS, Epilogue, Gemm};
use crate::real::Real;
use crate::simd::{Kernel, MAX_LANES, Vector};
use crate::tuning::{DOT_BLOCK, DOT_TASK_NUMBERS, DOT_TASKS};
use crate::workers::{Parts, Workers, even_part};

/// How many interleaved sums a dot product is.
pub const SUMS: usize = MAX_LANES;
/// How many registers of the narrowest kind hold them.
pub const MAX_GROUPS: usize = 8;

/// Computes A · Bᵀ for up to `DOT_ROWS` rows, and the epilogue of it.
pub fn run<T: Real>(
    gemm: &Gemm,
    (a, b): (&[T], &[T]),
    epilogue: Epilogue<T>,
    c: &mut [T],
    workers: &Workers,
) {
    let (isa, c) = (workers.isa(), Parts::new(c));
    let tasks = (b.len() / DOT_TASK_NUMBERS).clamp(1, DOT_TASKS.min(gemm.n));
    workers.run(tasks, &|task, _| {
        let columns = even_part(gemm.n, tasks, task);
        let dots = Dots { gemm, a, b, columns, epilogue, c: &c };
        match gemm.m {
            1 => isa.dispatch(DotRows::<_, 1>(dots)),
            2 => isa.dispatch(DotRows::<_, 2>(dots)),
            3 => isa.dispatch(DotRows::<_, 3>(dots)),
            _ => isa.dispatch(DotRows::<_, DOT_ROWS>(dots)),
        }
    });
}

/// Some columns of the product.
struct Dots<'a, T> {
    gemm: &'a Gemm,
    a: &'a [T],
    b: &'a [T],
    columns: Range<usize>,
    epilogue: Epilogue<'a, T>,
    c: &'a Parts<'a, T>,
}

/// The same for a number of rows that the compiler knows.
struct DotRows<'a, T, const ROWS: usize>(Dots<'a, T>);

impl<T: Real, const ROWS: usize> Kernel<T> for DotRows<'_, T, ROWS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Dots { gemm, columns, epilogue, c, .. } = &self.0;
        debug_assert_eq!(gemm.m, ROWS);
        for first in columns.clone().step_by(V::LANES) {
            let count = V::LANES.min(columns.end - first);
            // SAFETY: `dispatch` vouches for the instruction set; the columns are the task's own.
            unsafe {
                let zero = V::splat(T::zero());
                // Of each row, the first registers of all columns' sums, then the second ones, and so on.
                let mut sums = [[zero; SUMS]; ROWS];
                for lane in 0..count {
                    let dots = self.sums::<V>(first + lane);
                    for row in 0..ROWS {
                        for group in 0..SUMS / V::LANES {
                            sums[row][group * V::LANES + lane] = dots[row][group];
                        }
                    }
                }
                for row in 0..ROWS {
                    let dots = epilogue.apply(total::<T, V>(&mut sums[row]), first, count);
                    dots.store_first(c.start().add(row * gemm.n + first), count);
                }
            }
        }
    }
}

impl<T: Real, const ROWS: usize> DotRows<'_, T, ROWS> {
    /// The interleaved sums of all rows' products with one column, each in as many registers as it takes.
    ///
    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn sums<V: Vector<T>>(&self, column: usize) -> [[V; MAX_GROUPS]; ROWS] {
        let Dots { gemm: &Gemm { k, .. }, a, b, .. } = self.0;
        debug_assert!(a.len() == ROWS * k && (column + 1) * k <= b.len());
        let (a, b) = (a.as_ptr(), b.as_ptr().wrapping_add(column * k));
        // SAFETY: rows and columns have `k` numbers each; the caller vouches for the instruction set.
        unsafe {
            let mut sums = [[V::splat(T::zero()); MAX_GROUPS]; ROWS];
            let whole = k / SUMS * SUMS;
            for start in (0..whole).step_by(DOT_BLOCK) {
                let mut block = [[V::splat(T::zero()); MAX_GROUPS]; ROWS];
                for step in (start..whole.min(start + DOT_BLOCK)).step_by(SUMS) {
                    for group in 0..SUMS / V::LANES {
                        let step = step + group * V::LANES;
                        let right = V::load(b.add(step));
                        for row in 0..ROWS {
                            block[row][group] =
                                V::load(a.add(row * k + step)).mul_add(right, block[row][group]);
                        }
                    }
                }
                for row in 0..ROWS {
                    for group in 0..SUMS / V::LANES {
                        sums[row][group] = sums[row][group].add(block[row][group]);
                    }
                }
            }
            for group in 0..(k - whole).div_ceil(V::LANES) {
                let step = whole + group * V::LANES;
                let count = V::LANES.min(k - step);
                let right = V::load_first(b.add(step), count);
                for row in 0..ROWS {
                    let left = V::load_first(a.add(row * k + step), count);
                    sums[row][group] = left.mul_add(right, sums[row][group]);
                }
            }
            sums
        }
    }
}

/// Adds up the interleaved sums of as many dot products as a register has lanes: sum `i` with sum `i` + 8, of those
/// `i` with `i` + 4, and so on.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
pub unsafe fn total<T, V: Vector<T>>(all: &mut [V; SUMS]) -> V {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        for group in all.chunks_exact_mut(V::LANES) {
            let mut square = [group[0]; MAX_LANES];
            square[..V::LANES].copy_from_slice(group);
            group.copy_from_slice(&transposed::<T, V>(square)[..V::LANES]);
        }
        for half in [8, 4, 2, 1] {
            for index in 0..half {
                all[index] = all[index].add(all[index + half]);
            }
        }
    }
    all[0]
}
