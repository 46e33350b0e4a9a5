//! How a product is cut into tasks, and the tasks into tiles.

use std::ops::Range;

use super::Gemm;
use crate::tuning::{
    GEMM_IN_PLACE_COLUMNS, GEMM_IN_PLACE_ROWS, GEMM_PACKED_ROWS, GEMM_TASK_PANELS, GEMM_TASK_PRODUCTS,
    GEMM_TASKS,
};
use crate::workers::even_part;

/// The parts of the inner dimension, blocks of rows of the height of a tile, and panels of columns of its width.
pub struct Grid {
    m: usize,
    n: usize,
    /// How many numbers a register holds.
    pub lanes: usize,
    /// How many parts the inner dimension is cut into.
    pub parts: usize,
    row_blocks: usize,
    panels: usize,
    /// Into how many tasks the row blocks of each part are split, and into how many the panels.
    tasks_along: [usize; 2],
    /// Whether panels of B are read in place.
    pub in_place: bool,
}

impl Grid {
    /// Cuts a product for tiles of up to `tile_rows` rows of two registers.
    pub fn new(gemm: &Gemm, tile_rows: usize, lanes: usize) -> Self {
        let Gemm { m, n, k, transpose_b, .. } = *gemm;
        let widest = match m {
            1 => 7.min(tile_rows + 1),
            2 => 4.min(2 * (tile_rows + 1) / 3),
            _ => 2,
        };
        let panels = n.div_ceil(lanes).div_ceil(widest);
        let row_blocks = m.div_ceil(tile_rows);
        let (parts, products) = (gemm.parts(), m.saturating_mul(n).saturating_mul(k));
        let tasks = (products / GEMM_TASK_PRODUCTS).clamp(1, GEMM_TASKS).div_ceil(parts);
        // Rows of B that start at whole registers do not cross cache lines.
        let in_place =
            !transpose_b && (n <= GEMM_IN_PLACE_COLUMNS && n.is_multiple_of(lanes) || row_blocks <= 2);
        let mut tasks_along = [1, if in_place { 1 } else { panels.div_ceil(GEMM_TASK_PANELS) }];
        // What tasks do is halved, on its longer side, until there are enough tasks.
        let rows = if in_place { GEMM_IN_PLACE_ROWS } else { GEMM_PACKED_ROWS };
        let most = [(m / rows).clamp(1, row_blocks), panels];
        while tasks_along[0] * tasks_along[1] < tasks && tasks_along != most {
            let [rows, columns] = [m / tasks_along[0], n / tasks_along[1]];
            let by_rows = tasks_along[1] == most[1] || rows >= columns && tasks_along[0] < most[0];
            let axis = usize::from(!by_rows);
            tasks_along[axis] = (2 * tasks_along[axis]).min(most[axis]);
        }
        Self { m, n, lanes, parts, row_blocks, panels, tasks_along, in_place }
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.parts * self.blocks_of_c()
    }

    /// How many tasks there are in each part of the inner dimension.
    pub fn blocks_of_c(&self) -> usize {
        self.tasks_along[0] * self.tasks_along[1]
    }

    /// The row blocks of a task.
    pub fn row_blocks_of(&self, task: usize) -> Range<usize> {
        even_part(self.row_blocks, self.tasks_along[0], task % self.blocks_of_c() / self.tasks_along[1])
    }

    /// The panels of a task.
    pub fn panels_of(&self, task: usize) -> Range<usize> {
        even_part(self.panels, self.tasks_along[1], task % self.tasks_along[1])
    }

    /// The rows of a block. All blocks are as even as can be, so that none is left with few rows.
    pub fn rows(&self, block: usize) -> Range<usize> {
        even_part(self.m, self.row_blocks, block)
    }

    /// The columns of a panel, which start at a whole register. Panels are even too, as registers go.
    pub fn columns(&self, panel: usize) -> Range<usize> {
        let registers = even_part(self.n.div_ceil(self.lanes), self.panels, panel);
        registers.start * self.lanes..self.n.min(registers.end * self.lanes)
    }

    /// How wide a panel of these columns is in whole registers.
    pub fn width(&self, columns: &Range<usize>) -> usize {
        columns.len().next_multiple_of(self.lanes)
    }

    /// How many numbers a task packs of A and of B at a time if it does so many steps.
    pub fn packed(&self, steps: usize) -> [usize; 2] {
        let widest = self.n.div_ceil(self.lanes).div_ceil(self.panels) * self.lanes;
        let panels = if self.in_place { 0 } else { self.panels.div_ceil(self.tasks_along[1]) };
        [self.m.div_ceil(self.row_blocks) * steps, panels * widest * steps]
    }
}
