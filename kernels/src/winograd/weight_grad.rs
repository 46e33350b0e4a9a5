//! The gradient in the weights: image and upstream are transformed, and their products at the points summed over tiles.
//!
//! A task sums over the images of one row of the result, for some channels and some filters, so many that their
//! sums stay in the second-level cache.

use std::ops::Range;

use super::filter_transform::WeightGradTransform;
use super::input_transform::{Images, InputTransform, lines};
use super::multiply::WeightGradProducts;
use super::tiles::{FilterPanels, TileBuffer, Tiles};
use super::transforms::{AxisTransform, FilterAxis, InputAxis, OUTPUTS};
use crate::conv::Convolution;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::tuning::{
    WINOGRAD_GRAD_BLOCK_BYTES, WINOGRAD_GRAD_MANY_TILES, WINOGRAD_GRAD_MOST_TILES, WINOGRAD_GRAD_SUMS_BYTES,
};
use crate::workers::{Local, Parts, Split, Workers, even_part};

/// Computes one row of sums for every `images_per_row` consecutive images.
pub fn sums<T: Real, const R: usize, const N: usize>(
    sizes: &Convolution,
    isa: Isa,
    (image, upstream): (&[T], &[T]),
    images_per_row: usize,
    out: &mut [T],
    workers: &Workers,
) where
    InputAxis: AxisTransform<N, N>,
{
    let images_per_row = images_per_row.clamp(1, sizes.batch.max(1));
    let len = R * R * sizes.channels * sizes.filters;
    let WinogradWeightPlan { rows, parts, block } =
        WinogradWeightPlan::new(sizes, images_per_row, N * N * size_of::<T>(), workers.threads());
    let out = Parts::new(out);
    workers.run(rows * parts[0] * parts[1], &|index, local| {
        let (row, part) = (index / (parts[0] * parts[1]), index % (parts[0] * parts[1]));
        let channels = part_of(sizes.channels, parts[0], part / parts[1]);
        let filters = part_of(sizes.filters, parts[1], part % parts[1]);
        if channels.is_empty() || filters.is_empty() {
            return;
        }
        let mut task = WinogradWeightTask::<T, R, N>::new(sizes, isa, block, [channels, filters], local);
        let images = row * images_per_row..sizes.batch.min((row + 1) * images_per_row);
        task.run((image, upstream), images);
        // SAFETY: rows are as long, and each task writes to channels and filters of its own.
        unsafe { task.finish(out.start().add(row * len)) };
    });
}

/// How the work is divided.
struct WinogradWeightPlan {
    /// Rows of the result.
    rows: usize,
    /// Into how many parts channels and filters are cut.
    parts: [usize; 2],
    /// How many tiles a block has. The blocks decide the order of each sum, so they depend on neither registers nor
    /// threads.
    block: usize,
}

impl WinogradWeightPlan {
    /// A plan, where a channel of a tile takes so many bytes at the points.
    fn new(sizes: &Convolution, images_per_row: usize, bytes: usize, threads: usize) -> Self {
        let rows = sizes.batch.div_ceil(images_per_row);
        let (all, most) = ([sizes.channels, sizes.filters], (WINOGRAD_GRAD_SUMS_BYTES / bytes).isqrt());
        let mut parts = all.map(|all| all.div_ceil(most).max(1));
        let width = |i: usize| all[i].div_ceil(parts[i]).next_multiple_of(MAX_LANES);
        let block = (WINOGRAD_GRAD_BLOCK_BYTES / (bytes * (width(0) + width(1)).max(1)))
            .clamp(1, WINOGRAD_GRAD_MOST_TILES);
        let (tasks, tiles) =
            ((rows * parts[0] * parts[1]).max(1), images_per_row * Tiles::new(sizes.output).each());
        if tasks < threads && tiles >= WINOGRAD_GRAD_MANY_TILES {
            let registers = sizes.channels.div_ceil(MAX_LANES).max(1);
            parts[0] = (parts[0] * threads.div_ceil(tasks)).min(registers);
        }
        Self { rows, parts, block }
    }
}

/// A part of all channels, in whole registers.
fn part_of(all: usize, parts: usize, part: usize) -> Range<usize> {
    let registers = even_part(all.div_ceil(MAX_LANES), parts, part);
    registers.start * MAX_LANES..all.min(registers.end * MAX_LANES)
}

/// One task.
struct WinogradWeightTask<'a, T, const R: usize, const N: usize> {
    sizes: &'a Convolution,
    isa: Isa,
    channels: Range<usize>,
    filters: Range<usize>,
    /// The task's filters, counted from 0.
    panels: FilterPanels,
    tiles: Tiles,
    /// How many tiles a block has at most.
    block: usize,
    buffer: TileBuffer,
    /// Scratch: transformed columns, a block of image and of upstream at the points, and the sums,
    /// \[register of channels, panel of filters, point, channel, filter\].
    lines: &'a mut [T],
    image: &'a mut [T],
    upstream: &'a mut [T],
    sums: &'a mut [T],
}

impl<'a, T: Real, const R: usize, const N: usize> WinogradWeightTask<'a, T, R, N> {
    fn new(
        sizes: &'a Convolution,
        isa: Isa,
        block: usize,
        [channels, filters]: [Range<usize>; 2],
        local: &'a mut Local,
    ) -> Self {
        let lanes = isa.lanes::<T>();
        let registers = [&channels, &filters].map(|some| some.len().div_ceil(lanes));
        let buffer = TileBuffer::new(N * N, block, lanes);
        let panels = FilterPanels { filters: filters.len(), lanes };
        let sums = registers[0] * registers[1] * Self::sums_per_pair(lanes);
        let lens = [lines(N), registers[0] * buffer.register, registers[1] * buffer.register, sums];
        local.reserve(lens.iter().map(|&len| Split::bytes::<T>(len)).sum());
        let mut split = local.split();
        let [lines, image, upstream, sums] = lens.map(|len| split.take(len));
        let tiles = Tiles::new(sizes.output);
        Self { sizes, isa, channels, filters, panels, tiles, block, buffer, lines, image, upstream, sums }
    }

    /// How many sums a register of channels and one of filters have; one row more at each point than needed
    /// keeps the points apart in the cache.
    fn sums_per_pair(lanes: usize) -> usize {
        N * N * (lanes + 1) * lanes
    }

    /// Where the sums of some channels and a panel of filters start, and how far it is from point to point.
    fn sums(&self, register: usize, panel: usize) -> (usize, usize) {
        let lanes = self.panels.lanes;
        let before = register * self.panels.filters.div_ceil(lanes) + 2 * panel;
        (before * Self::sums_per_pair(lanes), self.panels.registers(panel) * lanes * (lanes + 1))
    }

    /// Sums over some images.
    fn run(&mut self, (image, upstream): (&[T], &[T]), images: Range<usize>) {
        let Convolution { channels, filters, .. } = *self.sizes;
        let image =
            Images { numbers: image, size: self.sizes.image, channels, padding: self.sizes.window.padding };
        let upstream =
            Images { numbers: upstream, size: self.sizes.output, channels: filters, padding: [0; 2] };
        let all = images.start * self.tiles.each()..images.end * self.tiles.each();
        if all.is_empty() {
            self.sums.fill(T::zero());
        }
        for start in all.clone().step_by(self.block) {
            let block = start..all.end.min(start + self.block);
            self.isa.dispatch(InputTransform::<T, _, N, N> {
                images: image,
                axis: InputAxis,
                channels: self.channels.clone(),
                tiles: self.tiles,
                block: block.clone(),
                buffer: self.buffer,
                lines: self.lines,
                to: self.image,
            });
            self.isa.dispatch(InputTransform::<T, _, OUTPUTS, N> {
                images: upstream,
                axis: FilterAxis,
                channels: self.filters.clone(),
                tiles: self.tiles,
                block: block.clone(),
                buffer: self.buffer,
                lines: self.lines,
                to: self.upstream,
            });
            self.multiply(block.len(), start == all.start);
        }
    }

    /// Adds the products of a block of tiles to the sums, or begins them with these.
    fn multiply(&mut self, tiles: usize, is_first: bool) {
        let registers = self.channels.len().div_ceil(self.buffer.lanes);
        for (register, panel) in
            (0..registers).flat_map(|register| (0..self.panels.count()).map(move |panel| (register, panel)))
        {
            let (start, out_point) = self.sums(register, panel);
            let products = WeightGradProducts {
                left: self.image[register * self.buffer.register..].as_ptr(),
                right: self.upstream[2 * panel * self.buffer.register..].as_ptr(),
                buffer: self.buffer,
                out: self.sums[start..].as_mut_ptr(),
                out_point,
                points: N * N,
                tiles,
                is_first,
            };
            // SAFETY: image, upstream and sums hold all points of these channels, filters and tiles.
            unsafe { products.run(self.isa, self.panels.registers(panel)) };
        }
    }

    /// Transforms the sums to gradients in the weights, and writes them into a row of sums that begins at `to`.
    ///
    /// # Safety
    /// There must be a whole row, and nobody else may use this task's part of it.
    unsafe fn finish(&self, to: *mut T) {
        let Convolution { channels, filters, .. } = *self.sizes;
        let lanes = self.buffer.lanes;
        for (register, first) in self.channels.clone().step_by(lanes).enumerate() {
            for panel in 0..self.panels.count() {
                let (start, point) = self.sums(register, panel);
                let some = self.panels.filters(panel);
                // SAFETY: the sums hold all points; the caller vouches for the target.
                unsafe {
                    self.isa.dispatch(WeightGradTransform::<T, R, N> {
                        from: self.sums.as_ptr().add(start),
                        point,
                        width: self.panels.registers(panel) * lanes,
                        filters: some.len(),
                        channels: lanes.min(self.channels.end - first),
                        to: to.add(first * filters + self.filters.start + some.start),
                        channel: filters,
                        tap: channels * filters,
                    });
                }
            }
        }
    }
}
