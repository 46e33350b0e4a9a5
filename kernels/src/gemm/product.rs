//! The tiles of a task, and where their operands come from.

use std::ops::Range;

use super::grid::Grid;
use super::pack::{PackRows, Transpose};
use super::tile::{Columns, Rows, Tile, TileTarget};
use super::{Epilogue, Gemm};
use crate::real::Real;
use crate::simd::Isa;
use crate::tuning::GEMM_STEPS;
use crate::workers::{Local, Parts, Split, even_part};

/// What all tasks of a product share.
pub struct Product<'a, T> {
    /// The sizes.
    pub gemm: &'a Gemm,
    /// How it is cut up.
    pub grid: &'a Grid,
    /// What computes it.
    pub isa: Isa,
    /// The left operand.
    pub a: &'a [T],
    /// The right operand.
    pub b: &'a [T],
    /// For the last steps of a product that is not cut into parts.
    pub epilogue: Epilogue<'a, T>,
    /// The parts of the product, one after the other.
    pub c: Parts<'a, T>,
}

/// What a task does at a time: some steps of the inner dimension where some rows meet some panels.
struct ProductBlock<'a, T> {
    part: usize,
    steps: Range<usize>,
    /// Whether they are the first or the last ones of their part.
    ends: [bool; 2],
    row_blocks: Range<usize>,
    panels: Range<usize>,
    /// The panels of B, packed one after the other; not there if they are read in place.
    right: &'a [T],
}

impl<T: Real> Product<'_, T> {
    /// Computes the tiles of a task, some steps of all of them before the next steps.
    pub fn task(&self, task: usize, local: &mut Local) {
        let (grid, part) = (self.grid, task / self.grid.blocks_of_c());
        let all = even_part(self.gemm.k, grid.parts, part);
        let blocks = all.len().div_ceil(GEMM_STEPS).max(1);
        let sizes = grid.packed(all.len().div_ceil(blocks));
        local.reserve(sizes.map(Split::bytes::<T>).iter().sum());
        let mut split = local.split();
        let [left, right] = sizes.map(|size| split.take(size));
        let mut tile = Tile::new();
        for index in 0..blocks {
            let steps = even_part(all.len(), blocks, index);
            let steps = all.start + steps.start..all.start + steps.end;
            let (row_blocks, panels) = (grid.row_blocks_of(task), grid.panels_of(task));
            self.pack_right(&panels, &steps, right);
            let ends = [index == 0, index + 1 == blocks];
            self.block(&mut tile, &ProductBlock { part, steps, ends, row_blocks, panels, right }, left);
        }
    }

    /// Packs some steps of panels of B, unless they are read in place.
    fn pack_right(&self, panels: &Range<usize>, steps: &Range<usize>, mut packed: &mut [T]) {
        let Gemm { n, k, transpose_b, .. } = *self.gemm;
        if self.grid.in_place || steps.is_empty() {
            return;
        }
        for columns in panels.clone().map(|panel| self.grid.columns(panel)) {
            let width = self.grid.width(&columns);
            let (to, rest) = packed.split_at_mut(steps.len() * width);
            let (start, columns) = (columns.start, columns.len());
            if transpose_b {
                let from = &self.b[start * k + steps.start..];
                self.isa.dispatch(Transpose { from, stride: k, columns, width, to });
            } else {
                let from = &self.b[steps.start * n + start..];
                self.isa.dispatch(PackRows { from, stride: n, columns, width, to });
            }
            packed = rest;
        }
    }

    /// Computes the tiles of a block. What a row of them reads of A stays in the first-level cache; if A is transposed,
    /// it is packed first, because its steps may evict each other.
    fn block(&self, tile: &mut Tile<T>, block: &ProductBlock<T>, packed: &mut [T]) {
        let Gemm { m, k, transpose_a, .. } = *self.gemm;
        let steps = &block.steps;
        for rows in block.row_blocks.clone().map(|row_block| self.grid.rows(row_block)) {
            let (start, [row, stride]) = if transpose_a && !steps.is_empty() {
                let (from, width) = (&self.a[steps.start * m + rows.start..], rows.len());
                let to = &mut packed[..width * steps.len()];
                self.isa.dispatch(PackRows { from, stride: m, columns: width, width, to });
                (packed.as_ptr(), [1, width])
            } else {
                // Without a single step there may be nothing to point to, and nothing is read.
                (self.a.as_ptr().wrapping_add(rows.start * k + steps.start), [k, 1])
            };
            let left = Rows { rows: std::array::from_fn(|index| start.wrapping_add(index * row)), stride };
            self.panels(tile, &rows, block, left);
        }
    }

    /// Computes the tiles where a block of rows meets panels, and writes them to their part of the product or adds them
    /// there.
    fn panels(&self, tile: &mut Tile<T>, rows: &Range<usize>, block: &ProductBlock<T>, left: Rows<T>) {
        let (Gemm { m, n, .. }, [is_first, is_last]) = (*self.gemm, block.ends);
        let steps = &block.steps;
        let mut packed = block.right.as_ptr();
        for columns in block.panels.clone().map(|panel| self.grid.columns(panel)) {
            let width = self.grid.width(&columns);
            let size = [rows.len(), width / self.grid.lanes];
            let last = self.grid.lanes - (width - columns.len());
            let right = if self.grid.in_place {
                let start = self.b.as_ptr().wrapping_add(steps.start * n + columns.start);
                Columns { start, stride: n, last }
            } else {
                Columns { start: packed, stride: width, last }
            };
            let bias = self.epilogue.bias.filter(|_| is_last).map(|bias| &bias[columns.clone()]);
            // SAFETY: both operands hold these rows, registers and steps; without a step, nothing is read. The part of C
            // has these rows and columns, and they are no other task's.
            unsafe {
                tile.multiply(self.isa, size, left, right, steps.len());
                let target = TileTarget {
                    rows: rows.len(),
                    columns: columns.len(),
                    start: self.c.start().add((block.part * m + rows.start) * n + columns.start),
                    pitch: n,
                    add: !is_first,
                    bias,
                    relu: self.epilogue.relu && is_last,
                };
                tile.store(self.isa, target);
            }
            packed = packed.wrapping_add(steps.len() * width);
        }
    }
}
