//! Matrix multiplication: C = op(A) · op(B) for matrices stored row after row.
//!
//! C is cut into blocks of tiles, which are the tasks. Operands are read in place where tiles can. Other panels of B are
//! copied or transposed into the thread's own scratch, and used at once. If C is small and the inner dimension long, that
//! is cut as well: each part of the sums is a task, and adding the parts up is a second step. An element of C is the same
//! chain of operations for any number of threads: how the inner dimension is cut depends on the sizes alone.

use super::real::Real;
use super::simd::{Kernel, MAX_LANES, Vector};
use super::workers::{Parts, Workers};
use crate::tuning::{GEMM_PART_STEPS, GEMM_PARTS, GEMM_TASK_SUMS};
use grid::Grid;
use product::Product;

pub mod dots;
mod grid;
pub(super) mod pack;
mod product;
mod tile;

/// What is done to each element of the result as it is written: bias, then ReLU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a, T> {
    /// Added per column of a matrix product, or per filter of a convolution.
    pub bias: Option<&'a [T]>,
    /// Whether numbers ≤ 0 become 0; NaN stays.
    pub relu: bool,
}

impl<T: Real> Epilogue<'_, T> {
    /// Applies it to neighbouring elements of a row, `count` of them from `column` on, and makes subnormal ones 0.
    ///
    /// # Safety
    /// The instruction set of `V` must exist, and so must the columns.
    #[inline(always)]
    unsafe fn apply<V: Vector<T>>(&self, value: V, column: usize, count: usize) -> V {
        // SAFETY: the bias has a number for each column; the rest is vouched for by the caller.
        unsafe {
            let value = match self.bias {
                Some(bias) => value.add(V::load_first(bias.as_ptr().add(column), count)),
                None => value,
            };
            if self.relu { value.relu() } else { value }.flush()
        }
    }
}

/// The product C = op(A) · op(B), where op is nothing or a transposition and C is m × n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of op(A) and C.
    pub m: usize,
    /// Columns of op(B) and C.
    pub n: usize,
    /// Columns of op(A) and rows of op(B): the inner dimension.
    pub k: usize,
    /// Whether A is stored transposed, k × m.
    pub transpose_a: bool,
    /// Whether B is stored transposed, n × k.
    pub transpose_b: bool,
}

/// Up to how many rows a product with B transposed is one of dot products.
const DOT_ROWS: usize = 4;

impl Gemm {
    /// How many numbers of scratch [`run`](Self::run) needs.
    pub fn scratch(&self) -> usize {
        match self.parts() {
            1 => 0,
            parts => parts * self.m * self.n + MAX_LANES,
        }
    }

    /// Computes C\[i, j\] = ∑ₚ op(A)\[i, p\] · op(B)\[p, j\], and the epilogue of it.
    #[inline(never)]
    pub fn run<T: Real>(
        &self,
        a: &[T],
        b: &[T],
        epilogue: Epilogue<T>,
        c: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!((a.len(), b.len(), c.len()), (self.m * self.k, self.k * self.n, self.m * self.n));
        debug_assert!(epilogue.bias.is_none_or(|bias| bias.len() == self.n));
        debug_assert!(scratch.len() >= self.scratch());
        let parts = self.parts();
        if c.is_empty() {
        } else if self.n == 1 && self.transpose_b && !self.transpose_a && epilogue.bias.is_none() {
            // A matrix by a vector, which lies as a row does: so this is one row of dot products.
            let transposed = Gemm { m: 1, n: self.m, ..*self };
            dots::run(&transposed, (b, a), epilogue, c, workers);
        } else if self.is_dots() {
            dots::run(self, (a, b), epilogue, c, workers);
        } else if parts == 1 {
            self.multiply(1, (a, b), epilogue, c, workers);
        } else {
            // They start at a cache line, for which at most one is lost.
            let lost = scratch.as_ptr().align_offset(64).min(scratch.len());
            let sums = &mut scratch[lost..][..parts * c.len()];
            self.multiply(1, (a, b), Epilogue::default(), sums, workers);
            // The parts are always added up in the same order.
            let (rows, numbers) = ((GEMM_TASK_SUMS / sums.len().div_ceil(self.m)).max(1), c.len());
            workers.chunks(c, rows * self.n, &|task, c, _| {
                let sums = &sums[task * rows * self.n..];
                workers.isa().dispatch(SumParts { sums, numbers, columns: self.n, epilogue, c });
            });
        }
    }

    /// [`run`](Self::run) for `count` pairs of matrices that lie one after the other.
    #[inline(never)]
    pub fn run_batch<T: Real>(
        &self,
        count: usize,
        a: &[T],
        b: &[T],
        c: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        if c.is_empty() {
        } else if self.parts() == 1 {
            self.multiply(count, (a, b), Epilogue::default(), c, workers);
        } else {
            for (entry, c) in c.chunks_exact_mut(self.m * self.n).enumerate() {
                let (a, b) = self.operands(entry, (a, b));
                self.run(a, b, Epilogue::default(), c, scratch, workers);
            }
        }
    }

    /// The operands of one of several products.
    fn operands<'a, T>(&self, entry: usize, (a, b): (&'a [T], &'a [T])) -> (&'a [T], &'a [T]) {
        let (rows, columns) = (self.m * self.k, self.k * self.n);
        (&a[entry * rows..][..rows], &b[entry * columns..][..columns])
    }

    /// Whether there are so few rows that tiles would not pay for transposing B.
    fn is_dots(&self) -> bool {
        self.transpose_b && self.m <= DOT_ROWS && (self.m == 1 || !self.transpose_a)
    }

    /// Into how many parts the inner dimension is cut: more than one only if they are long, and all results of the
    /// parts together are few in comparison with the operands.
    fn parts(&self) -> usize {
        let operands = self.m.saturating_add(self.n).saturating_mul(self.k);
        let fits = |parts: usize| {
            let results = self.m.saturating_mul(self.n).saturating_mul(4 * parts);
            results <= operands && GEMM_PART_STEPS * parts <= self.k
        };
        let mut parts = if self.is_dots() { 1 } else { GEMM_PARTS };
        while parts > 1 && !fits(parts) {
            parts /= 2;
        }
        parts
    }

    /// Computes `count` products, or the parts of one, one after the other in `c`. All tasks share the threads.
    fn multiply<T: Real>(
        &self,
        count: usize,
        operands: (&[T], &[T]),
        epilogue: Epilogue<T>,
        c: &mut [T],
        workers: &Workers,
    ) {
        let (isa, size) = (workers.isa(), c.len() / count);
        let grid = Grid::new(self, isa.tile_rows::<T>(), isa.lanes::<T>());
        let (tasks, c) = (grid.tasks(), Parts::new(c));
        workers.run(count * tasks, &|task, local| {
            let (entry, task) = (task / tasks, task % tasks);
            let ((a, b), c) = (self.operands(entry, operands), c.part(entry * size, size));
            Product { gemm: self, grid: &grid, isa, a, b, epilogue, c }.task(task, local);
        });
    }
}

/// Adds up the parts of some rows of a product.
struct SumParts<'a, T> {
    /// The rows in the first part; those in the next are `numbers` further on, and so forth.
    sums: &'a [T],
    numbers: usize,
    columns: usize,
    epilogue: Epilogue<'a, T>,
    c: &'a mut [T],
}

impl<T: Real> Kernel<T> for SumParts<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        for (row, c) in self.c.chunks_exact_mut(self.columns).enumerate() {
            for column in (0..c.len()).step_by(V::LANES) {
                let count = V::LANES.min(c.len() - column);
                let parts = self.sums[row * self.columns + column..].chunks(self.numbers);
                // SAFETY: `count` columns are left in each part's row, and in C's; `dispatch` vouches for the rest.
                unsafe {
                    let mut sum = V::splat(T::zero());
                    for part in parts {
                        sum = sum.add(V::load_first(part.as_ptr(), count));
                    }
                    self.epilogue.apply(sum, column, count).store_first(c.as_mut_ptr().add(column), count);
                }
            }
        }
    }
}
