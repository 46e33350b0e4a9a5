//! Tiles: how images are cut up, and how what became of the tiles lies in scratch.

use std::ops::Range;

use super::transforms::OUTPUTS;

/// The most tiles that are carried from images to points at a time, so that their lines stay in the nearest
/// cache.
pub const SEGMENT: usize = 8;

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
    /// The first tile's place in its row.
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
        let [_, wide] = self.grid;
        let (each, mut next) = (self.each(), block.start);
        std::iter::from_fn(move || {
            let column = next.checked_rem(wide)?;
            let tiles = (wide - column).min(block.end - next).min(SEGMENT);
            let (image, row, before) = (next / each, next % each / wide, next - block.start);
            next += tiles;
            (tiles > 0).then_some(Segment { image, row, column, tiles, before })
        })
    }
}

/// How a block of transformed tiles lies in scratch: \[lanes of channels, point, tile, channel in its lane\].
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Lanes of a register.
    pub lanes: usize,
    /// From point to point: an odd number of registers, or else all points would compete for the same few places
    /// of the nearest cache.
    pub point: usize,
    /// From one register of channels to the next.
    pub register: usize,
}

impl Layout {
    /// The layout of up to `tiles` tiles.
    pub fn new(points: usize, tiles: usize, lanes: usize) -> Self {
        let point = (tiles | 1) * lanes;
        Self { lanes, point, register: points * point }
    }
}

/// Filters in groups of two registers; the last may be one register, and not all of its lanes may be filters.
#[derive(Debug, Clone, Copy)]
pub struct Groups {
    /// How many filters there are.
    pub filters: usize,
    /// Lanes of a register.
    pub lanes: usize,
}

impl Groups {
    /// How many groups there are.
    pub fn count(&self) -> usize {
        self.filters.div_ceil(2 * self.lanes)
    }

    /// The filters of a group.
    pub fn filters(&self, group: usize) -> Range<usize> {
        let start = group * 2 * self.lanes;
        start..self.filters.min(start + 2 * self.lanes)
    }

    /// How many registers a group takes: one or two.
    pub fn registers(&self, group: usize) -> usize {
        self.filters(group).len().div_ceil(self.lanes)
    }
}
