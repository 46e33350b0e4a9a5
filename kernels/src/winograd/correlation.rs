//! Forward, and the adjoint in the image, which is a forward with channels and filters exchanged and the window
//! is_rotated: a block of tiles at a time goes to points, through the multiplications, and back.

use std::ops::Range;

use super::blank::Blank;
use super::filter_transform::{CHANNELS, FilterTransform, Source, taps};
use super::input_transform::{Images, InputTransform, lines};
use super::multiply::Forward;
use super::output_transform::{Finish, OutputTransform};
use super::tiles::{Groups, Layout, Tiles};
use super::transforms::Divide;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::workers::{Local, Parts, Split, Workers, share};

/// How many bytes the points of a block's image may take, so that they stay in the second-level cache.
const BLOCK_BYTES: usize = 1 << 18;
/// The least tiles of a block, unless there are no more: fewer do not make up for reading the weights.
pub const LEAST_TILES: usize = 28;
/// The most tiles of a block.
const MOST_TILES: usize = 56;

/// One direction of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Correlation {
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

/// How many numbers the weights take at `points` points along each axis. There is room for one channel more, so that what lies at
/// different points does not compete for the same places of a cache.
pub fn prepared(points: usize, channels: usize, filters: usize) -> usize {
    points * points * (channels + 1) * filters.next_multiple_of(MAX_LANES)
}

impl Correlation {
    fn groups<T: Real>(&self, isa: Isa) -> Groups {
        Groups { filters: self.filters, lanes: isa.lanes::<T>() }
    }

    /// Where in the prepared weights a group starts, and how far it is from point to point.
    fn group(&self, groups: &Groups, group: usize, points: usize) -> (usize, usize) {
        let width = groups.registers(group) * groups.lanes;
        (groups.filters(group).start * points * (self.channels + 1), width * (self.channels + 1))
    }

    /// Transforms the weights.
    pub fn prepare<T: Real, const R: usize, const N: usize>(
        &self,
        isa: Isa,
        (weight, source): (&[T], Source),
        out: &mut [T],
        workers: &Workers,
    ) {
        let groups = self.groups::<T>(isa);
        let out = Parts::new(out);
        let parts = self.channels.div_ceil(CHANNELS);
        workers.run(groups.count() * parts, &|task, local| {
            let (group, part) = (task / parts, task % parts);
            let (start, point) = self.group(&groups, group, N * N);
            local.reserve(Split::bytes::<T>(taps(R)));
            let prepare = FilterTransform::<T, R, N> {
                from: weight,
                source,
                filters: groups.filters(group),
                channels: share(self.channels, parts, part),
                width: groups.registers(group) * groups.lanes,
                // SAFETY: groups take what `prepared` says, at most.
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
        isa: Isa,
        (from, weights): (&[T], &[T]),
        finish: impl Finish<T>,
        out: &mut [T],
        workers: &Workers,
    ) {
        let tiles = Tiles::new(self.to);
        let (total, lanes) = (self.batch * tiles.each(), isa.lanes::<T>());
        let channels = self.channels.next_multiple_of(lanes);
        let room = BLOCK_BYTES / (N * N * channels * size_of::<T>()).max(1);
        let blocks = total.div_ceil(room.clamp(LEAST_TILES, MOST_TILES));
        let layout = Layout::new(N * N, total.div_ceil(blocks.max(1)), lanes);
        let out = Parts::new(out);
        workers.run(blocks, &|block, local| {
            let block = share(total, blocks, block);
            let mut job = Job::<T, N>::new(self, isa, tiles, block, layout, local);
            job.input_transform(from);
            job.find_blank(from);
            for group in 0..job.groups.count() {
                job.multiply(weights, group);
                job.output_transform(group, finish, &out);
            }
        });
    }
}

/// A block of tiles on its way.
struct Job<'a, T, const N: usize> {
    sizes: &'a Correlation,
    isa: Isa,
    groups: Groups,
    tiles: Tiles,
    block: Range<usize>,
    layout: Layout,
    /// Scratch: transformed columns, the points of the image, and those of one group of filters.
    lines: &'a mut [T],
    image: &'a mut [T],
    sums: &'a mut [T],
    /// For each tile the outputs whose windows see only zeros, a bit for each.
    blank: &'a mut [u32],
}

impl<'a, T: Real, const N: usize> Job<'a, T, N> {
    fn new(
        sizes: &'a Correlation,
        isa: Isa,
        tiles: Tiles,
        block: Range<usize>,
        layout: Layout,
        local: &'a mut Local,
    ) -> Self {
        let groups = sizes.groups::<T>(isa);
        let lens = [lines(N), sizes.channels.div_ceil(layout.lanes) * layout.register, 2 * layout.register];
        let numbers: usize = lens.iter().map(|&len| Split::bytes::<T>(len)).sum();
        local.reserve(numbers + Split::bytes::<u32>(block.len()));
        let mut split = local.split();
        let [lines, image, sums] = lens.map(|len| split.take(len));
        let blank = split.take(block.len());
        Self { sizes, isa, groups, tiles, block, layout, lines, image, sums, blank }
    }

    /// Brings the image to the points.
    fn input_transform(&mut self, from: &[T]) {
        let Correlation { from: size, channels, padding, .. } = *self.sizes;
        self.isa.dispatch(InputTransform::<T, _, N, N> {
            images: Images { numbers: from, size, channels, padding },
            along: Divide,
            channels: 0..channels,
            tiles: self.tiles,
            block: self.block.clone(),
            layout: self.layout,
            lines: self.lines,
            to: self.image,
        });
    }

    /// Finds windows that see only zeros.
    fn find_blank(&mut self, from: &[T]) {
        let Correlation { from: size, channels, padding, .. } = *self.sizes;
        let images = Images { numbers: from, size, channels, padding };
        let (tiles, block) = (self.tiles, self.block.clone());
        self.isa.dispatch(Blank::<T, N> { images, tiles, block, to: self.blank });
    }

    /// Multiplies at every point with the weights of a group of filters.
    fn multiply(&mut self, weights: &[T], group: usize) {
        let (start, right_point) = self.sizes.group(&self.groups, group, N * N);
        let weights = &weights[start..start + N * N * right_point];
        let forward = Forward {
            left: self.image.as_ptr(),
            right: weights.as_ptr(),
            right_point,
            out: self.sums.as_mut_ptr(),
            layout: self.layout,
            points: N * N,
            channels: self.sizes.channels,
            tiles: self.block.len(),
        };
        // SAFETY: image, weights and sums hold all points of these channels, filters and tiles.
        unsafe { forward.run(self.isa, self.groups.registers(group)) };
    }

    /// Brings the sums of a group of filters back from the points.
    fn output_transform(&self, group: usize, finish: impl Finish<T>, out: &Parts<T>) {
        self.isa.dispatch(OutputTransform::<T, _, N> {
            from: self.sums,
            layout: self.layout,
            channels: self.groups.filters(group),
            tiles: self.tiles,
            block: self.block.clone(),
            blank: self.blank,
            finish,
            to: out.start(),
            size: self.sizes.to,
            pitch: self.sizes.filters,
        });
    }
}
