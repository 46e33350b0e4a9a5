//! Tiles: how images are cut up, and how transformed tiles lie in scratch.

use std::ops::Range;

use super::transforms::OUTPUTS;
use crate::tuning::WINOGRAD_SEGMENT;

/// The tiles of all images of a batch, numbered along rows, then down, then from image to image.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
    /// Tiles of an image: down and along.
    pub grid: [usize; 2],
}

/// Tiles next to each other in a row of an image.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The image.
    pub image: usize,
    /// The row of tiles.
    pub row: usize,
    /// The first tile, counted along its row.
    pub column: usize,
    /// How many there are.
    pub tiles: usize,
    /// How many tiles of the block came before.
    pub before: usize,
}

impl Tiles {
    /// The tiles of images of `size` pixels.
    pub fn new(size: [usize; 2]) -> Self {
        Self { grid: size.map(|pixels| pixels.div_ceil(OUTPUTS)) }
    }

    /// How many tiles an image has.
    pub fn each(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// The segments that a block of tiles consists of.
    pub fn segments(self, block: Range<usize>) -> impl Iterator<Item = Segment> {
        let [_, columns] = self.grid;
        let (each, mut next) = (self.each(), block.start);
        std::iter::from_fn(move || {
            let column = next.checked_rem(columns)?;
            let tiles = (columns - column).min(block.end - next).min(WINOGRAD_SEGMENT);
            let (image, row, before) = (next / each, next % each / columns, next - block.start);
            next += tiles;
            (tiles > 0).then_some(Segment { image, row, column, tiles, before })
        })
    }
}

/// How a block of transformed tiles lies in scratch: \[lanes of channels, point, tile, channel in its lane\].
#[derive(Debug, Clone, Copy)]
pub struct TileBuffer {
    /// Lanes of a register.
    pub lanes: usize,
    /// From point to point: an odd number of registers, or else all points would compete for the same few sets
    /// of the first-level cache.
    pub point: usize,
    /// From one register of channels to the next.
    pub register: usize,
}

impl TileBuffer {
    /// The buffer of up to `tiles` tiles.
    pub fn new(points: usize, tiles: usize, lanes: usize) -> Self {
        let point = (tiles | 1) * lanes;
        Self { lanes, point, register: points * point }
    }
}

/// Filters in panels of two registers. The last panel may be one register, and may have lanes without filters.
#[derive(Debug, Clone, Copy)]
pub struct FilterPanels {
    /// How many filters there are.
    pub filters: usize,
    /// Lanes of a register.
    pub lanes: usize,
}

impl FilterPanels {
    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.filters.div_ceil(2 * self.lanes)
    }

    /// The filters of a panel.
    pub fn filters(&self, panel: usize) -> Range<usize> {
        let start = panel * 2 * self.lanes;
        start..self.filters.min(start + 2 * self.lanes)
    }

    /// How many registers a panel takes: one or two.
    pub fn registers(&self, panel: usize) -> usize {
        self.filters(panel).len().div_ceil(self.lanes)
    }
}
