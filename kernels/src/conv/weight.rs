//! The adjoint in the weights: the product of the patches with the upstream, summed over all places.
//!
//! Tiles have taps as rows and filters as columns; their steps are the places of the window, in as many pictures
//! as fit a thread's scratch. The patches are read where they lie in a strip, and the upstream is transposed.
//! The batch is cut into fixed chunks, whose sums are added in the order of the chunks. Groups of channels are dealt
//! with one by one.

use std::ops::Range;

use super::Convolution;
use super::strip::{Fill, Strip};
use crate::gemm::pack::Transpose;
use crate::gemm::tile::{Columns, Finish, Gathered, MAX_ROWS, Part, Tile};
use crate::gemm::{aligned, share};
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES, vectorize};
use crate::workers::{Local, Parts, Split, Workers};
use crate::window::Window;

/// Into how many chunks the batch is cut at most.
const CHUNKS: usize = 8;
/// How many numbers the sums of all chunks may take together.
const PARTIAL_SUMS: usize = 1 << 22;
/// How many tasks there should be.
const TASKS: usize = 16;
/// How many bytes of a thread's scratch should be used, so that they stay in the second-level cache.
const USED_BYTES: usize = Local::BYTES / 4 * 3;
/// As many places suffice as steps of a tile to make up for loading and storing its sums.
const STEPS: usize = 512;
/// Rows of a tile. With more, the compiler no longer keeps the sums of a gathered tile in registers.
const TILE_ROWS: usize = 10;

/// How many chunks the batch is cut into.
fn chunks(sizes: &Convolution) -> usize {
    (PARTIAL_SUMS / sizes.weights().max(1)).min(CHUNKS).min(sizes.batch).max(1)
}

/// How many numbers of scratch are needed: the sums of each chunk.
pub fn scratch(sizes: &Convolution) -> usize {
    let Convolution { groups, filters, channels, window, .. } = *sizes;
    let counts = [filters, channels, window.kernel[0], window.kernel[1]];
    let weights = counts.into_iter().fold(groups, usize::saturating_mul);
    // Where the weights are beyond counting, so is the batch of one chunk.
    let chunks = if weights < PARTIAL_SUMS { chunks(sizes) } else { 1 };
    weights.saturating_mul(chunks).saturating_add(MAX_LANES)
}

/// How the work is cut up.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    sizes: Convolution,
    chunks: usize,
    /// How many tasks share the channels of a group in a chunk.
    shares: usize,
    /// The strip of one picture's band, for as many channels as a task has at most.
    strip: Strip,
    /// Rows of places in a band.
    band: usize,
    /// How many pictures are done at a time; more than one only if a band is a whole picture.
    pictures: usize,
    /// Filters, rounded up to whole registers.
    pitch: usize,
}

impl Plan {
    /// A plan, unless even one row of places is too much for a thread's scratch.
    pub fn new<T: Real>(sizes: &Convolution) -> Option<Self> {
        let chunks = chunks(sizes);
        let shares = TASKS.div_ceil(chunks * sizes.groups.max(1)).min(sizes.channels).max(1);
        let window = sizes.window;
        let strip = Strip {
            channels: sizes.channels.div_ceil(shares),
            source: sizes.image,
            step: [1, 1],
            phases: [1, 1],
            origin: window.padding.map(|padding| -(padding as isize)),
            rows: 0,
            pitch: (sizes.output[1].max(1) - 1) * window.stride[1] + window.extent()[1],
        };
        let pitch = sizes.filters.next_multiple_of(MAX_LANES);
        let (sizes, band) = (*sizes, sizes.output[0].max(1));
        let mut plan = Self { sizes, chunks, shares, strip, band, pictures: 1, pitch };
        loop {
            plan.strip.rows = (plan.band - 1) * window.stride[0] + window.extent()[0];
            let bytes = plan.bytes::<T>();
            if bytes <= USED_BYTES || plan.band == 1 {
                let room = if plan.band < sizes.output[0] { 1 } else { USED_BYTES / bytes.max(1) };
                let wanted = STEPS.div_ceil(plan.places().max(1));
                plan.pictures = room.min(wanted).max(1);
                return (bytes <= Local::BYTES).then_some(plan);
            }
            plan.band = plan.band.div_ceil(2);
        }
    }

    /// How many bands a picture is cut into.
    #[cfg(test)]
    pub fn bands(&self) -> usize {
        self.sizes.output[0].div_ceil(self.band)
    }

    /// Places of a band.
    fn places(&self) -> usize {
        self.band * self.sizes.output[1]
    }

    /// How much scratch one picture's band takes: the strip, the upstream, and the offset of each place.
    fn bytes<T: Real>(&self) -> usize {
        Split::bytes::<T>(self.strip.len())
            .saturating_add(Split::bytes::<T>(self.places().saturating_mul(self.pitch)))
            .saturating_add(Split::bytes::<usize>(self.places()))
    }

    /// Computes the adjoint.
    pub fn run<T: Real>(
        &self,
        isa: Isa,
        (image, upstream): (&[T], &[T]),
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert!(scratch.len() >= self::scratch(&self.sizes));
        if self.sizes.batch * self.places() == 0 {
            return out.fill(T::zero());
        }
        if out.is_empty() {
            return;
        }
        let sums = &mut aligned(scratch)[..self.chunks * out.len()];
        let parts = Parts::new(sums);
        let groups = self.sizes.groups;
        workers.run(self.chunks * groups * self.shares, &|task, local| {
            let channels = share(self.sizes.channels, self.shares, task % self.shares);
            let (chunk, group) = (task / self.shares / groups, task / self.shares % groups);
            let mut job = Job::new(self, isa, (image, upstream), &parts, [chunk, group], channels, local);
            job.run(share(self.sizes.batch, self.chunks, chunk));
        });
        self.reduce(isa, sums, out, workers);
    }

    /// Adds up the chunks in their order, and turns the sums from [taps, filters] to [filters, taps].
    fn reduce<T: Real>(&self, isa: Isa, sums: &mut [T], out: &mut [T], workers: &Workers) {
        let (taps, filters, weights) = (self.sizes.taps(), self.sizes.filters, out.len());
        let (total, others) = sums.split_at_mut(weights);
        workers.chunks(total, 1 << 14, &|index, total, _| {
            for chunk in others.chunks_exact(weights) {
                let others = &chunk[index << 14..][..total.len()];
                vectorize(|| total.iter_mut().zip(others).for_each(|(total, &other)| *total += other));
            }
        });
        let filters_at_once = (1usize << 14).div_ceil(taps).next_multiple_of(MAX_LANES);
        for (out, total) in out.chunks_exact_mut(taps * filters).zip(total.chunks_exact(taps * filters)) {
            workers.chunks(out, filters_at_once * taps, &|index, to, _| {
                let from = &total[index * filters_at_once..];
                isa.dispatch(Transpose { from, stride: filters, columns: taps, width: taps, to });
            });
        }
    }
}

/// One task: some channels of one chunk of the batch.
struct Job<'a, T> {
    plan: &'a Plan,
    isa: Isa,
    image: &'a [T],
    upstream: &'a [T],
    group: usize,
    channels: Range<usize>,
    /// The sums of this chunk and group, [taps, filters], of which this task writes the rows of its channels.
    sums: *mut T,
    /// Scratch: the strips of some pictures one after the other, their upstream as [place, filter], and where
    /// each place lies in the strips.
    strips: &'a mut [T],
    transposed: &'a mut [T],
    offsets: &'a mut [usize],
}

impl<'a, T: Real> Job<'a, T> {
    fn new(
        plan: &'a Plan,
        isa: Isa,
        (image, upstream): (&'a [T], &'a [T]),
        sums: &Parts<T>,
        [chunk, group]: [usize; 2],
        channels: Range<usize>,
        local: &'a mut Local,
    ) -> Self {
        let mut split = local.split();
        let strips = split.take(plan.pictures * plan.strip.len());
        let transposed = split.take(plan.pictures * plan.places() * plan.pitch);
        let offsets = split.take(plan.pictures * plan.places());
        let weights = plan.sizes.weights();
        // SAFETY: the sums of a chunk are as many as the weights.
        let sums = unsafe { sums.start().add(chunk * weights + group * (weights / plan.sizes.groups)) };
        Self { plan, isa, image, upstream, group, channels, sums, strips, transposed, offsets }
    }

    /// Sums over some pictures, a few at a time, band after band.
    fn run(&mut self, pictures: Range<usize>) {
        let plan = self.plan;
        let mut add = false;
        for first in pictures.clone().step_by(plan.pictures) {
            let some = first..pictures.end.min(first + plan.pictures);
            for row in (0..plan.sizes.output[0]).step_by(plan.band) {
                let rows = row..plan.sizes.output[0].min(row + plan.band);
                let mut steps = 0;
                for (index, picture) in some.clone().enumerate() {
                    steps = self.load(index, picture, rows.clone(), steps);
                }
                self.multiply(steps, add);
                add = true;
            }
        }
    }

    /// Brings a band of a picture into scratch, after `steps` places of others. Returns how many there are then.
    fn load(&mut self, index: usize, picture: usize, rows: Range<usize>, steps: usize) -> usize {
        let Plan { sizes, strip, pitch, .. } = *self.plan;
        let ([height, width], stride) = (sizes.output, sizes.window.stride);
        let strip_start = index * strip.len();
        let mut strip = Strip { channels: self.channels.len(), ..strip };
        strip.origin[0] += (rows.start * stride[0]) as isize;
        let plane = sizes.image[0] * sizes.image[1];
        let picture = picture * sizes.groups + self.group;
        let image = &self.image[(picture * sizes.channels + self.channels.start) * plane..];
        self.isa.dispatch(Fill { strip, image, to: &mut self.strips[strip_start..] });

        let places = rows.len() * width;
        let from = &self.upstream[picture * sizes.filters * height * width + rows.start * width..];
        let to = &mut self.transposed[steps * pitch..][..places * pitch];
        self.isa.dispatch(Transpose {
            from,
            stride: height * width,
            columns: sizes.filters,
            width: pitch,
            to,
        });

        for (row, offsets) in self.offsets[steps..][..places].chunks_exact_mut(width).enumerate() {
            let start = strip_start + row * stride[0] * strip.pitch;
            offsets.iter_mut().enumerate().for_each(|(column, offset)| *offset = start + column * stride[1]);
        }
        steps + places
    }

    /// Multiplies what was loaded, in tiles.
    fn multiply(&self, steps: usize, add: bool) {
        let Plan { sizes, pitch, .. } = *self.plan;
        let kernel = sizes.window.kernel[0] * sizes.window.kernel[1];
        let (lanes, taps) = (self.isa.lanes::<T>(), self.channels.len() * kernel);
        let blocks = taps.div_ceil(self.isa.tile_rows::<T>().min(TILE_ROWS));
        let mut tile = Tile::new();
        for filter in (0..sizes.filters).step_by(2 * lanes) {
            let columns = (sizes.filters - filter).min(2 * lanes);
            let last = columns - (columns - 1) / lanes * lanes;
            let right = Columns { start: self.transposed[filter..].as_ptr(), stride: pitch, last };
            for block in 0..blocks {
                let rows = share(taps, blocks, block);
                let left = Gathered { rows: self.starts(&rows), offsets: self.offsets.as_ptr() };
                // SAFETY: strips, upstream and offsets hold as many steps; the sums of these channels and this
                // chunk are no other task's.
                unsafe {
                    tile.multiply(self.isa, [rows.len(), columns.div_ceil(lanes)], left, right, steps);
                    let row = self.channels.start * kernel + rows.start;
                    let target = self.sums.add(row * sizes.filters + filter);
                    let pitch = sizes.filters;
                    let part = Part { rows: rows.len(), column: 0, columns, target, pitch, spacing: 1 };
                    tile.store(self.isa, part, Finish { add, ..Finish::PLAIN });
                }
            }
        }
    }

    /// Where in the first strip each of some taps starts.
    fn starts(&self, taps: &Range<usize>) -> [*const T; MAX_ROWS] {
        let Window { kernel: [tall, wide], dilation, .. } = self.plan.sizes.window;
        std::array::from_fn(|row| {
            let tap = (taps.start + row).min(taps.end - 1);
            let away = [tap / wide % tall * dilation[0], tap % wide * dilation[1]];
            let offset = self.plan.strip.offset(tap / (tall * wide), away);
            self.strips[offset..].as_ptr()
        })
    }
}
