//! Forward, and the adjoint in the image, which is a forward with channels and filters exchanged and the window
//! rotated by half a turn. A task takes a block of tiles through the input transform, the products and the output
//! transform.

use std::ops::Range;

use super::blank::Blank;
use super::filter_transform::{FilterStrides, FilterTransform, taps};
use super::input_transform::{Images, InputTransform, lines};
use super::multiply::ForwardProducts;
use super::output_transform::{OutputEpilogue, OutputTransform};
use super::tiles::{FilterPanels, TileBuffer, Tiles};
use super::transforms::InputAxis;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::tuning::{
    WINOGRAD_BLOCK_BYTES, WINOGRAD_LEAST_TILES, WINOGRAD_MOST_TILES, WINOGRAD_TASK_CHANNELS,
};
use crate::workers::{Local, Parts, Split, Workers, even_part};

/// One direction of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct WinogradCorrelation {
    /// How many images there are.
    pub batch: usize,
    /// Channels of the source.
    pub channels: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Height and width of the source.
    pub from: [usize; 2],
    /// Height and width of the output.
    pub to: [usize; 2],
    /// The padding of the source.
    pub padding: [usize; 2],
}

/// How many numbers the weights take at `points` points along each axis. There is room for one channel more, so that
/// different points do not compete for the same sets of a cache.
pub fn prepared(points: usize, channels: usize, filters: usize) -> usize {
    points * points * (channels + 1) * filters.next_multiple_of(MAX_LANES)
}

impl WinogradCorrelation {
    /// Where in the prepared weights a panel starts, and how far it is from point to point.
    fn panel(&self, panels: &FilterPanels, panel: usize, points: usize) -> (usize, usize) {
        let width = panels.registers(panel) * panels.lanes;
        (panels.filters(panel).start * points * (self.channels + 1), width * (self.channels + 1))
    }

    /// Transforms the weights.
    pub fn prepare<T: Real, const R: usize, const N: usize>(
        &self,
        (weight, source): (&[T], FilterStrides),
        out: &mut [T],
        workers: &Workers,
    ) {
        let isa = workers.isa();
        let (panels, out) =
            (FilterPanels { filters: self.filters, lanes: isa.lanes::<T>() }, Parts::new(out));
        let parts = self.channels.div_ceil(WINOGRAD_TASK_CHANNELS);
        workers.run(panels.count() * parts, &|task, local| {
            let (panel, part) = (task / parts, task % parts);
            let (start, point) = self.panel(&panels, panel, N * N);
            local.reserve(Split::bytes::<T>(taps(R)));
            let prepare = FilterTransform::<T, R, N> {
                from: weight,
                source,
                filters: panels.filters(panel),
                channels: even_part(self.channels, parts, part),
                width: panels.registers(panel) * panels.lanes,
                // SAFETY: panels take at most what `prepared` counts.
                to: unsafe { out.start().add(start) },
                point,
            };
            // SAFETY: every task writes channels and filters of its own.
            unsafe { prepare.run(isa, local.slice(taps(R))) };
        });
    }

    /// Computes the correlation.
    pub fn run<T: Real, const N: usize>(
        &self,
        (from, weights): (&[T], &[T]),
        epilogue: impl OutputEpilogue<T>,
        out: &mut [T],
        workers: &Workers,
    ) {
        let (isa, tiles) = (workers.isa(), Tiles::new(self.to));
        let (total, lanes) = (self.batch * tiles.each(), isa.lanes::<T>());
        let channels = self.channels.next_multiple_of(lanes);
        let room = WINOGRAD_BLOCK_BYTES / (N * N * channels * size_of::<T>()).max(1);
        let blocks = total.div_ceil(room.clamp(WINOGRAD_LEAST_TILES, WINOGRAD_MOST_TILES));
        let buffer = TileBuffer::new(N * N, total.div_ceil(blocks.max(1)), lanes);
        let out = Parts::new(out);
        workers.run(blocks, &|block, local| {
            let block = even_part(total, blocks, block);
            self.block::<T, N>(isa, (tiles, block, buffer), (from, weights), epilogue, out.start(), local);
        });
    }

    /// Computes the outputs of a block of tiles.
    fn block<T: Real, const N: usize>(
        &self,
        isa: Isa,
        (tiles, block, buffer): (Tiles, Range<usize>, TileBuffer),
        (from, weights): (&[T], &[T]),
        epilogue: impl OutputEpilogue<T>,
        to: *mut T,
        local: &mut Local,
    ) {
        let WinogradCorrelation { channels, filters, from: size, padding, .. } = *self;
        let panels = FilterPanels { filters: self.filters, lanes: isa.lanes::<T>() };
        // Transformed columns, the points of the image, and those of one panel of filters.
        let lens = [lines(N), channels.div_ceil(buffer.lanes) * buffer.register, 2 * buffer.register];
        let numbers: usize = lens.iter().map(|&len| Split::bytes::<T>(len)).sum();
        local.reserve(numbers + Split::bytes::<u32>(block.len()));
        let mut split = local.split();
        let [lines, image, sums] = lens.map(|len| split.take(len));
        // For each tile the outputs whose windows see only zeros, a bit for each.
        let blank = split.take(block.len());
        let images = Images { numbers: from, size, channels, padding };
        isa.dispatch(InputTransform::<T, _, N, N> {
            images,
            axis: InputAxis,
            channels: 0..channels,
            tiles,
            block: block.clone(),
            buffer,
            lines,
            to: image,
        });
        isa.dispatch(Blank::<T, N> { images, tiles, block: block.clone(), to: blank });
        for panel in 0..panels.count() {
            let (start, right_point) = self.panel(&panels, panel, N * N);
            let products = ForwardProducts {
                left: image.as_ptr(),
                right: weights[start..start + N * N * right_point].as_ptr(),
                right_point,
                out: sums.as_mut_ptr(),
                buffer,
                points: N * N,
                channels,
                tiles: block.len(),
            };
            // SAFETY: image, weights and sums hold all points of these channels, filters and tiles.
            unsafe { products.run(isa, panels.registers(panel)) };
            isa.dispatch(OutputTransform::<T, _, N> {
                from: sums,
                buffer,
                channels: panels.filters(panel),
                tiles,
                block: block.clone(),
                blank,
                epilogue,
                to,
                size: self.to,
                pitch: filters,
            });
        }
    }
}
