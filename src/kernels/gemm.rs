//! Matrix multiplication: C = op(A) · op(B) for matrices stored row after row.
//!
//! Both operands are first packed in the order in which tiles read them, by all threads together; then blocks of
//! C are the tasks. An element of C is the same chain of operations whichever thread computes it, and however
//! many there are: the inner dimension is cut into fixed blocks and never shared out.

use std::ops::Range;

use super::real::Real;
use super::simd::{Isa, MAX_LANES};
use super::workers::{Parts, Workers};
use pack::{Copy, Transpose};
use tile::{Bias, Finish, Packed, Part, Tile};

pub(super) mod pack;
pub(super) mod tile;

/// What is done to each element of the result as it is written: bias, then ReLU.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// Added per column of a matrix product, or per filter of a convolution.
    pub bias: Option<&'a [T]>,
    /// Whether numbers ≤ 0 become 0; NaN stays.
    pub relu: bool,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self { bias: None, relu: false }
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
    /// Whether A is stored the other way round, k × m.
    pub transpose_a: bool,
    /// Whether B is stored the other way round, n × k.
    pub transpose_b: bool,
}

/// How many steps of the inner dimension are done at a time, so that a packed panel stays in the cache.
const INNER: usize = 384;
/// How many panels of B a task goes through at most.
const TASK_PANELS: usize = 8;
/// How many multiplications make a task worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 17;
/// More tasks than this only cost time.
const MAX_TASKS: usize = 64;
/// How many numbers a packing task copies at least.
const TASK_PACKED: usize = 1 << 14;
/// How many steps of all lines are packed at a time.
const UNIT_STEPS: usize = 32;

impl Gemm {
    /// How many numbers of scratch [`run`](Self::run) needs.
    pub fn scratch(&self) -> usize {
        let b = self.n.checked_next_multiple_of(MAX_LANES).map_or(usize::MAX, |n| n.saturating_mul(self.k));
        self.m.saturating_mul(self.k).saturating_add(b).saturating_add(2 * MAX_LANES)
    }

    /// Computes C[i, j] = ∑ₚ op(A)[i, p] · op(B)[p, j], and the epilogue of it.
    pub fn run<T: Real>(
        &self,
        a: &[T],
        b: &[T],
        epilogue: Epilogue<T>,
        c: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        self.run_on(Isa::detect(), (a, b), epilogue, c, scratch, workers);
    }

    fn run_on<T: Real>(
        &self,
        isa: Isa,
        (a, b): (&[T], &[T]),
        epilogue: Epilogue<T>,
        c: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!((a.len(), b.len(), c.len()), (self.m * self.k, self.k * self.n, self.m * self.n));
        debug_assert!(epilogue.bias.is_none_or(|bias| bias.len() == self.n));
        debug_assert!(scratch.len() >= self.scratch());
        if c.is_empty() {
            return;
        }
        let grid = Grid::new(self, isa.tile_rows::<T>(), isa.lanes::<T>());
        let scratch = aligned(scratch);
        let (packed_a, rest) = scratch.split_at_mut((self.m * self.k).next_multiple_of(MAX_LANES));
        let packed_b = &mut rest[..self.k * self.n.next_multiple_of(grid.lanes)];
        self.pack(isa, &grid, (a, b), (packed_a, packed_b), workers);
        let block = Block { gemm: self, grid: &grid, isa, packed_a, packed_b, epilogue, c: Parts::new(c) };
        workers.run(grid.tasks(), &|task, _| block.multiply(grid.rows_of(task), grid.panels_of(task)));
    }

    /// Packs both operands.
    fn pack<T: Real>(
        &self,
        isa: Isa,
        grid: &Grid,
        (a, b): (&[T], &[T]),
        (packed_a, packed_b): (&mut [T], &mut [T]),
        workers: &Workers,
    ) {
        let numbers = packed_a.len() + packed_b.len();
        let a = Operand::new(a, self.k, !self.transpose_a, grid.row_blocks, packed_a);
        let b = Operand::new(b, self.k, self.transpose_b, grid.panels, packed_b);
        let (units_a, units_b) = (a.units(), b.units());
        let tasks = (numbers / TASK_PACKED).min(units_a + units_b).max(1);
        workers.run(tasks, &|task, _| {
            for unit in share(units_a + units_b, tasks, task) {
                if unit < units_a {
                    a.pack(isa, unit, |block| (grid.rows(block), grid.rows(block).len()));
                } else {
                    b.pack(isa, unit - units_a, |panel| {
                        (grid.columns(panel), grid.width(&grid.columns(panel)))
                    });
                }
            }
        });
    }
}

/// An operand on its way to its packed form. A line is what C takes one row or column from: k numbers.
struct Operand<'a, T> {
    from: &'a [T],
    lines: usize,
    k: usize,
    /// Whether the numbers of a line lie next to each other, or those of a step.
    along: bool,
    /// In how many blocks the lines are packed.
    blocks: usize,
    to: Parts<'a, T>,
}

impl<'a, T: Real> Operand<'a, T> {
    fn new(from: &'a [T], k: usize, along: bool, blocks: usize, to: &'a mut [T]) -> Self {
        Self { from, lines: from.len().checked_div(k).unwrap_or(0), k, along, blocks, to: Parts::new(to) }
    }

    /// How many pieces of work there are. Each reads memory in the order in which it lies: whole lines, or else
    /// a few steps of all lines.
    fn units(&self) -> usize {
        if self.along { self.blocks } else { self.k.div_ceil(UNIT_STEPS) }
    }

    /// Does one piece of work, given the lines of each block and how many are wanted in its packed form.
    fn pack(&self, isa: Isa, unit: usize, block: impl Fn(usize) -> (Range<usize>, usize)) {
        if self.along {
            let (lines, width) = block(unit);
            self.pack_block(isa, lines, width, 0..self.k);
        } else {
            let steps = unit * UNIT_STEPS..self.k.min((unit + 1) * UNIT_STEPS);
            for index in 0..self.blocks {
                let (lines, width) = block(index);
                self.pack_block(isa, lines, width, steps.clone());
            }
        }
    }

    /// Packs some steps of a block of lines.
    fn pack_block(&self, isa: Isa, lines: Range<usize>, width: usize, steps: Range<usize>) {
        let columns = lines.len();
        // SAFETY: every step of every block is packed once, to a place of its own.
        let to = unsafe { self.to.slice(lines.start * self.k + steps.start * width, steps.len() * width) };
        if to.is_empty() {
        } else if self.along {
            let from = &self.from[lines.start * self.k + steps.start..];
            isa.dispatch(Transpose { from, stride: self.k, columns, width, to });
        } else {
            let from = &self.from[steps.start * self.lines + lines.start..];
            isa.dispatch(Copy { from, stride: self.lines, columns, width, to });
        }
    }
}

/// How C is cut up: rows into blocks of the height of a tile, columns into panels of two registers.
struct Grid {
    m: usize,
    n: usize,
    lanes: usize,
    row_blocks: usize,
    panels: usize,
    /// How many tasks share the row blocks, and how many the panels.
    shares: [usize; 2],
}

impl Grid {
    fn new(gemm: &Gemm, tile_rows: usize, lanes: usize) -> Self {
        let (row_blocks, panels) = (gemm.m.div_ceil(tile_rows), gemm.n.div_ceil(2 * lanes));
        let products = gemm.m.saturating_mul(gemm.n).saturating_mul(gemm.k);
        let tasks = (products / TASK_PRODUCTS).clamp(1, MAX_TASKS);
        let panel_shares = panels.div_ceil(TASK_PANELS).max(tasks.div_ceil(row_blocks)).min(panels);
        let row_shares = tasks.div_ceil(panel_shares).min(row_blocks);
        Self { m: gemm.m, n: gemm.n, lanes, row_blocks, panels, shares: [row_shares, panel_shares] }
    }

    fn tasks(&self) -> usize {
        self.shares[0] * self.shares[1]
    }

    fn rows_of(&self, task: usize) -> Range<usize> {
        share(self.row_blocks, self.shares[0], task / self.shares[1])
    }

    fn panels_of(&self, task: usize) -> Range<usize> {
        share(self.panels, self.shares[1], task % self.shares[1])
    }

    /// The rows of a block. All blocks are as even as can be, so that none is left with few rows.
    fn rows(&self, block: usize) -> Range<usize> {
        share(self.m, self.row_blocks, block)
    }

    /// The columns of a panel.
    fn columns(&self, panel: usize) -> Range<usize> {
        let start = panel * 2 * self.lanes;
        start..self.n.min(start + 2 * self.lanes)
    }

    /// How wide a panel of these columns is when packed: one register or two.
    fn width(&self, columns: &Range<usize>) -> usize {
        columns.len().next_multiple_of(self.lanes)
    }
}

/// The `index`-th of `shares` parts of 0..`total`, which differ by at most one in size.
pub(super) fn share(total: usize, shares: usize, index: usize) -> Range<usize> {
    let (size, larger) = (total / shares, total % shares);
    let start = index * size + index.min(larger);
    start..start + size + usize::from(index < larger)
}

/// The part of scratch memory that starts at a cache line; at most one line is lost.
pub(super) fn aligned<T: Real>(scratch: &mut [T]) -> &mut [T] {
    let lost = scratch.as_ptr().align_offset(64).min(scratch.len());
    &mut scratch[lost..]
}

/// What all tasks of one product share.
struct Block<'a, T> {
    gemm: &'a Gemm,
    grid: &'a Grid,
    isa: Isa,
    packed_a: &'a [T],
    packed_b: &'a [T],
    epilogue: Epilogue<'a, T>,
    c: Parts<'a, T>,
}

// SAFETY: tasks only read the operands and write to disjoint tiles of `c`.
unsafe impl<T: Real> Sync for Block<'_, T> {}

impl<T: Real> Block<'_, T> {
    /// Computes the tiles where some row blocks meet some panels.
    fn multiply(&self, row_blocks: Range<usize>, panels: Range<usize>) {
        let mut tile = Tile::new();
        let blocks = self.gemm.k.div_ceil(INNER).max(1);
        for inner in 0..blocks {
            let steps = share(self.gemm.k, blocks, inner);
            let last = inner + 1 == blocks;
            for row_block in row_blocks.clone() {
                let rows = self.grid.rows(row_block);
                for panel in panels.clone() {
                    self.tile(&mut tile, rows.clone(), self.grid.columns(panel), steps.clone(), last);
                }
            }
        }
    }

    /// Adds some steps of the inner dimension to a tile of C; the last of them also the epilogue.
    fn tile(
        &self,
        tile: &mut Tile<T>,
        rows: Range<usize>,
        columns: Range<usize>,
        steps: Range<usize>,
        last: bool,
    ) {
        let (k, n, width) = (self.gemm.k, self.gemm.n, self.grid.width(&columns));
        let a = &self.packed_a[rows.start * k + steps.start * rows.len()..];
        let b = &self.packed_b[columns.start * k + steps.start * width..];
        let left = Packed { start: a.as_ptr(), stride: rows.len() };
        let right = Packed { start: b.as_ptr(), stride: width };
        let bias = self
            .epilogue
            .bias
            .filter(|_| last)
            .map_or(Bias::None, |bias| Bias::Columns(&bias[columns.clone()]));
        let finish = Finish { add: steps.start > 0, bias, relu: self.epilogue.relu && last };
        // SAFETY: the operands were packed in this form; the tile of C is no other task's.
        unsafe {
            tile.multiply(self.isa, [rows.len(), width / self.grid.lanes], left, right, steps.len());
            let target = self.c.start().add(rows.start * n + columns.start);
            let part =
                Part { rows: rows.len(), column: 0, columns: columns.len(), target, pitch: n, spacing: 1 };
            tile.store(self.isa, part, finish);
        }
    }
}

#[cfg(test)]
mod tests;
