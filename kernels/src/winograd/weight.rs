//! The adjoint in the weights: image and upstream meet at the points, where the products are summed over tiles.
//!
//! A task sums over the images of one row of the result, for some channels and some filters, so many that their
//! sums stay in the second-level cache.

use std::ops::Range;

use super::filter_transform::Finish;
use super::input_transform::{Images, InputTransform, lines};
use super::multiply::Weight;
use super::tiles::{Groups, Layout, Tiles};
use super::transforms::{Along, Divide, Evaluate, OUTPUTS};
use crate::conv::Convolution;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::workers::{Local, Parts, Split, Workers, share};

/// How many bytes the sums of a task may take.
const SUMS_BYTES: usize = 5 << 18;
/// How many bytes the points of a block may take for image and upstream together.
const BLOCK_BYTES: usize = 1 << 19;
/// How many tiles of a row make up for transforming upstream again, so that more threads have work.
const MANY_TILES: usize = 512;
/// The most tiles of a block.
const MOST_TILES: usize = 56;

/// Computes one row of sums for every `every` consecutive images.
pub fn sums<T: Real, const R: usize, const N: usize>(
    sizes: &Convolution,
    isa: Isa,
    (image, upstream): (&[T], &[T]),
    every: usize,
    out: &mut [T],
    workers: &Workers,
) where
    Divide: Along<N, N>,
{
    let every = every.clamp(1, sizes.batch.max(1));
    let len = R * R * sizes.channels * sizes.filters;
    let Plan { rows, cuts, block } = Plan::new(sizes, every, N * N * size_of::<T>(), workers.threads());
    let out = Parts::new(out);
    workers.run(rows * cuts[0] * cuts[1], &|task, local| {
        let (row, cut) = (task / (cuts[0] * cuts[1]), task % (cuts[0] * cuts[1]));
        let channels = some(sizes.channels, cuts[0], cut / cuts[1]);
        let filters = some(sizes.filters, cuts[1], cut % cuts[1]);
        if channels.is_empty() || filters.is_empty() {
            return;
        }
        let mut job = Job::<T, R, N>::new(sizes, isa, block, [channels, filters], local);
        let images = row * every..sizes.batch.min((row + 1) * every);
        job.run((image, upstream), images);
        // SAFETY: rows are as long, and each task writes to channels and filters of its own.
        unsafe { job.finish(out.start().add(row * len)) };
    });
}

/// How the work is cut up.
struct Plan {
    /// Rows of the result.
    rows: usize,
    /// Into how many parts channels and filters are cut.
    cuts: [usize; 2],
    /// How many tiles a block has. Blocks decide in which order is summed, so they depend on neither registers
    /// nor threads.
    block: usize,
}

impl Plan {
    /// A plan, where a channel of a tile takes so many bytes at the points.
    fn new(sizes: &Convolution, every: usize, bytes: usize, threads: usize) -> Self {
        let rows = sizes.batch.div_ceil(every);
        let (all, most) = ([sizes.channels, sizes.filters], (SUMS_BYTES / bytes).isqrt());
        let mut cuts = all.map(|all| all.div_ceil(most).max(1));
        let width = |i: usize| all[i].div_ceil(cuts[i]).next_multiple_of(MAX_LANES);
        let block = (BLOCK_BYTES / (bytes * (width(0) + width(1)).max(1))).clamp(1, MOST_TILES);
        let (tasks, tiles) = ((rows * cuts[0] * cuts[1]).max(1), every * Tiles::new(sizes.output).each());
        if tasks < threads && tiles >= MANY_TILES {
            let registers = sizes.channels.div_ceil(MAX_LANES).max(1);
            cuts[0] = (cuts[0] * threads.div_ceil(tasks)).min(registers);
        }
        Self { rows, cuts, block }
    }
}

/// Some of all channels, in whole registers.
fn some(all: usize, cuts: usize, cut: usize) -> Range<usize> {
    let some = share(all.div_ceil(MAX_LANES), cuts, cut);
    some.start * MAX_LANES..all.min(some.end * MAX_LANES)
}

/// One task.
struct Job<'a, T, const R: usize, const N: usize> {
    sizes: &'a Convolution,
    isa: Isa,
    channels: Range<usize>,
    filters: Range<usize>,
    /// The task's filters, counted from 0.
    groups: Groups,
    tiles: Tiles,
    /// How many tiles a block has at most.
    block: usize,
    layout: Layout,
    /// Scratch: transformed columns, a block of image and of upstream at the points, and the sums,
    /// \[register of channels, group of filters, point, channel, filter\].
    lines: &'a mut [T],
    image: &'a mut [T],
    upstream: &'a mut [T],
    sums: &'a mut [T],
}

impl<'a, T: Real, const R: usize, const N: usize> Job<'a, T, R, N> {
    fn new(
        sizes: &'a Convolution,
        isa: Isa,
        block: usize,
        [channels, filters]: [Range<usize>; 2],
        local: &'a mut Local,
    ) -> Self {
        let lanes = isa.lanes::<T>();
        let registers = [&channels, &filters].map(|some| some.len().div_ceil(lanes));
        let layout = Layout::new(N * N, block, lanes);
        let groups = Groups { filters: filters.len(), lanes };
        let sums = registers[0] * registers[1] * Self::unit(lanes);
        let lens = [lines(N), registers[0] * layout.register, registers[1] * layout.register, sums];
        local.reserve(lens.iter().map(|&len| Split::bytes::<T>(len)).sum());
        let mut split = local.split();
        let [lines, image, upstream, sums] = lens.map(|len| split.take(len));
        let tiles = Tiles::new(sizes.output);
        Self { sizes, isa, channels, filters, groups, tiles, block, layout, lines, image, upstream, sums }
    }

    /// How many sums a register of channels and one of filters have; one row more at each point than needed
    /// keeps the points apart in the cache.
    fn unit(lanes: usize) -> usize {
        N * N * (lanes + 1) * lanes
    }

    /// Where the sums of some channels and a group of filters start, and how far it is from point to point.
    fn sums(&self, register: usize, group: usize) -> (usize, usize) {
        let lanes = self.groups.lanes;
        let before = register * self.groups.filters.div_ceil(lanes) + 2 * group;
        (before * Self::unit(lanes), self.groups.registers(group) * lanes * (lanes + 1))
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
                along: Divide,
                channels: self.channels.clone(),
                tiles: self.tiles,
                block: block.clone(),
                layout: self.layout,
                lines: self.lines,
                to: self.image,
            });
            self.isa.dispatch(InputTransform::<T, _, OUTPUTS, N> {
                images: upstream,
                along: Evaluate,
                channels: self.filters.clone(),
                tiles: self.tiles,
                block: block.clone(),
                layout: self.layout,
                lines: self.lines,
                to: self.upstream,
            });
            self.multiply(block.len(), start == all.start);
        }
    }

    /// Adds the products of a block of tiles to the sums, or begins them with these.
    fn multiply(&mut self, tiles: usize, is_first: bool) {
        let registers = self.channels.len().div_ceil(self.layout.lanes);
        for (register, group) in
            (0..registers).flat_map(|register| (0..self.groups.count()).map(move |group| (register, group)))
        {
            let (start, out_point) = self.sums(register, group);
            let weight = Weight {
                left: self.image[register * self.layout.register..].as_ptr(),
                right: self.upstream[2 * group * self.layout.register..].as_ptr(),
                layout: self.layout,
                out: self.sums[start..].as_mut_ptr(),
                out_point,
                points: N * N,
                tiles,
                is_first,
            };
            // SAFETY: image, upstream and sums hold all points of these channels, filters and tiles.
            unsafe { weight.run(self.isa, self.groups.registers(group)) };
        }
    }

    /// Writes the sums, as gradients of the weights, to their places among a row of sums that begins at `to`.
    ///
    /// # Safety
    /// There must be a whole row, and nobody else may use this task's part of it.
    unsafe fn finish(&self, to: *mut T) {
        let Convolution { channels, filters, .. } = *self.sizes;
        let lanes = self.layout.lanes;
        for (register, first) in self.channels.clone().step_by(lanes).enumerate() {
            for group in 0..self.groups.count() {
                let (start, point) = self.sums(register, group);
                let some = self.groups.filters(group);
                // SAFETY: the sums hold all points; the caller vouches for the target.
                unsafe {
                    self.isa.dispatch(Finish::<T, R, N> {
                        from: self.sums.as_ptr().add(start),
                        point,
                        width: self.groups.registers(group) * lanes,
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
