//! Matrix multiplication: C = op(A) · op(B) for matrices stored row after row.
//!
//! The operands are packed in the order in which tiles read them, by all threads together; then blocks of C are
//! the tasks. Where the inner dimension is long, that happens in stages, so that what was packed is still in the
//! cache when it is used. An element of C is the same chain of operations whichever thread computes it, and
//! however many there are: the inner dimension is cut into fixed blocks and never shared out.

use std::ops::Range;

use super::real::Real;
use super::simd::{Isa, MAX_LANES};
use super::workers::{Parts, Workers};
use pack::Operand;
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

/// How many steps of the inner dimension a tile does at a time, so that its operands stay in the nearest cache.
const INNER: usize = 512;
/// How many numbers a stage packs at most (or those of one block), so that they stay in the next cache.
const STAGE_NUMBERS: usize = 1 << 18;
/// How many panels of B a task goes through at most.
const TASK_PANELS: usize = 8;
/// How many multiplications make a task worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 17;
/// More tasks than this only cost time.
const MAX_TASKS: usize = 64;
/// How many numbers a packing task copies at least.
const TASK_PACKED: usize = 1 << 14;

impl Gemm {
    /// How many numbers of scratch [`run`](Self::run) needs.
    pub fn scratch(&self) -> usize {
        let lines = self.n.saturating_add(MAX_LANES - 1).saturating_add(self.m);
        let steps =
            (0..self.stages()).map(|stage| self.steps(self.blocks_of(stage)).len()).max().unwrap_or(0);
        lines.saturating_mul(steps).saturating_add(2 * MAX_LANES)
    }

    /// Computes C\[i, j\] = ∑ₚ op(A)\[i, p\] · op(B)\[p, j\], and the epilogue of it.
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
        let (c, scratch) = (Parts::new(c), aligned(scratch));
        for stage in 0..self.stages() {
            let (blocks, steps) = (self.blocks_of(stage), self.steps(self.blocks_of(stage)));
            let (packed_a, rest) = scratch.split_at_mut((self.m * steps.len()).next_multiple_of(MAX_LANES));
            let packed_b = &mut rest[..steps.len() * self.n.next_multiple_of(grid.lanes)];
            self.pack(isa, &grid, steps.clone(), (a, b), (packed_a, packed_b), workers);
            let stage = Stage { gemm: self, grid: &grid, isa, steps, packed_a, packed_b, b, epilogue, c: &c };
            workers.run(grid.tasks(), &|task, _| {
                stage.multiply(blocks.clone(), grid.rows_of(task), grid.panels_of(task));
            });
        }
    }

    /// Into how many blocks the inner dimension is cut.
    fn blocks(&self) -> usize {
        self.k.div_ceil(INNER).max(1)
    }

    /// In how many stages they are done.
    fn stages(&self) -> usize {
        let numbers = self.m.saturating_add(self.n).saturating_mul(self.k);
        numbers.div_ceil(STAGE_NUMBERS).clamp(1, self.blocks())
    }

    /// The blocks of a stage.
    fn blocks_of(&self, stage: usize) -> Range<usize> {
        share(self.blocks(), self.stages(), stage)
    }

    /// The steps of some blocks.
    fn steps(&self, blocks: Range<usize>) -> Range<usize> {
        let step = |block| share(self.k, self.blocks(), block).start;
        step(blocks.start)..if blocks.end == self.blocks() { self.k } else { step(blocks.end) }
    }

    /// Packs some steps of both operands.
    fn pack<T: Real>(
        &self,
        isa: Isa,
        grid: &Grid,
        steps: Range<usize>,
        (a, b): (&[T], &[T]),
        (packed_a, packed_b): (&mut [T], &mut [T]),
        workers: &Workers,
    ) {
        let numbers = packed_a.len() + packed_b.len();
        let a =
            Operand::new(a, [self.m, self.k], !self.transpose_a, steps.clone(), grid.row_blocks, packed_a);
        let b = Operand::new(b, [self.n, self.k], self.transpose_b, steps, grid.panels, packed_b);
        let tasks = (numbers / TASK_PACKED).clamp(1, MAX_TASKS);
        workers.run(tasks, &|task, _| {
            for unit in share(a.units(), tasks, task) {
                a.pack(isa, unit, |block| Some((grid.rows(block), grid.rows(block).len())));
            }
            for unit in share(b.units(), tasks, task) {
                let panel = |panel| (grid.columns(panel), grid.width(&grid.columns(panel)));
                b.pack(isa, unit, |index| Some(panel(index)).filter(|(columns, _)| !grid.in_place(columns)));
            }
        });
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
    /// Whether panels of B are read in place if they can be.
    in_place: bool,
}

impl Grid {
    fn new(gemm: &Gemm, tile_rows: usize, lanes: usize) -> Self {
        let (row_blocks, panels) = (gemm.m.div_ceil(tile_rows), gemm.n.div_ceil(2 * lanes));
        let products = gemm.m.saturating_mul(gemm.n).saturating_mul(gemm.k);
        let tasks = (products / TASK_PRODUCTS).clamp(1, MAX_TASKS);
        let panel_shares = panels.div_ceil(TASK_PANELS).max(tasks.div_ceil(row_blocks)).min(panels);
        let row_shares = tasks.div_ceil(panel_shares).min(row_blocks);
        // Packing pays only if more than a few tiles use what was packed.
        let in_place = !gemm.transpose_b && row_blocks <= 2;
        Self { m: gemm.m, n: gemm.n, lanes, row_blocks, panels, shares: [row_shares, panel_shares], in_place }
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

    /// Whether these columns of B are read where they are, not packed. The last panel cannot be if it does not
    /// fill its registers, because they would reach beyond the matrix.
    fn in_place(&self, columns: &Range<usize>) -> bool {
        self.in_place && self.width(columns) == columns.len()
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

/// What all tasks of one stage share.
struct Stage<'a, T> {
    gemm: &'a Gemm,
    grid: &'a Grid,
    isa: Isa,
    /// The steps of this stage, which are packed.
    steps: Range<usize>,
    packed_a: &'a [T],
    packed_b: &'a [T],
    /// B itself, for the panels that are read in place.
    b: &'a [T],
    epilogue: Epilogue<'a, T>,
    c: &'a Parts<'a, T>,
}

impl<T: Real> Stage<'_, T> {
    /// Computes the tiles where some row blocks meet some panels.
    fn multiply(&self, blocks: Range<usize>, row_blocks: Range<usize>, panels: Range<usize>) {
        let mut tile = Tile::new();
        for block in blocks {
            let steps = share(self.gemm.k, self.gemm.blocks(), block);
            for row_block in row_blocks.clone() {
                let rows = self.grid.rows(row_block);
                for panel in panels.clone() {
                    self.tile(&mut tile, rows.clone(), self.grid.columns(panel), steps.clone());
                }
            }
        }
    }

    /// Adds some steps to a tile of C; the last of them also the epilogue.
    fn tile(&self, tile: &mut Tile<T>, rows: Range<usize>, columns: Range<usize>, steps: Range<usize>) {
        let a =
            &self.packed_a[rows.start * self.steps.len() + (steps.start - self.steps.start) * rows.len()..];
        let left = Packed { start: a.as_ptr(), stride: rows.len() };
        let (right, vectors) = (self.right(&columns, &steps), self.grid.width(&columns) / self.grid.lanes);
        let last = steps.end == self.gemm.k;
        let bias = self.epilogue.bias.filter(|_| last);
        let bias = bias.map_or(Bias::None, |bias| Bias::Columns(&bias[columns.clone()]));
        let finish = Finish { add: steps.start > 0, bias, relu: self.epilogue.relu && last };
        // SAFETY: both operands hold these rows, registers and steps; the tile of C is no other task's.
        unsafe {
            tile.multiply(self.isa, [rows.len(), vectors], left, right, steps.len());
            let (pitch, rows, first) = (self.gemm.n, rows.len(), rows.start);
            let target = self.c.start().add(first * pitch + columns.start);
            let part = Part { rows, column: 0, columns: columns.len(), target, pitch, spacing: 1 };
            tile.store(self.isa, part, finish);
        }
    }

    /// Some steps of a panel of B.
    fn right(&self, columns: &Range<usize>, steps: &Range<usize>) -> Packed<T> {
        let width = self.grid.width(columns);
        let (numbers, stride) = if self.grid.in_place(columns) {
            (self.b.get(steps.start * self.gemm.n + columns.start..), self.gemm.n)
        } else {
            let start = columns.start * self.steps.len() + (steps.start - self.steps.start) * width;
            (self.packed_b.get(start..), width)
        };
        // Without a single step there may be nothing to point to, and nothing is read.
        Packed { start: numbers.unwrap_or_default().as_ptr(), stride }
    }
}

#[cfg(test)]
mod tests;
