//! The adjoint in the weights: products of pixels with the upstream, summed over all places of some pictures.
//!
//! A tile is some rows (taps and channels) by one or two registers of filters. Its sums stay in registers while all
//! places of a band go by, each of which adds one product per row and filter. So every sum is one chain over the
//! places in their order, however the pictures are cut into bands.

use std::ops::Range;

use super::SCRATCH_BYTES;
use super::strip::{Fill, Strip};
use crate::conv::Convolution;
use crate::gemm::pack::Copy;
use crate::gemm::share;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::workers::{Local, Parts, Split, Workers};
pub use finish::finish_weight_sums;
use tile::{Places, Tile};

mod finish;
mod tile;

/// How many bytes the strips of a task should take, so that they stay in the second-level cache.
const STRIP_BYTES: usize = 1 << 19;
/// As many places suffice to make up for loading and storing a tile's sums.
const PLACES: usize = 1 << 10;
/// One place more makes up for so many bytes of sums.
const SUMS_BYTES: usize = 1 << 11;
/// How many tasks there should be, if they have enough to do.
const TASKS: usize = 16;
/// How many multiplications make a task worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 18;

/// Whether at least one row of places fits a thread's scratch.
pub fn fits(sizes: &Convolution) -> bool {
    let packed = sizes.output[1].saturating_mul(2 * MAX_LANES);
    Split::bytes::<f64>(strip(sizes, 1).len()).saturating_add(Split::bytes::<f64>(packed)) <= SCRATCH_BYTES
}

/// The strip of a picture's first rows of places. All channels are one block.
fn strip(sizes: &Convolution, rows: usize) -> Strip {
    let Convolution { channels, image, output, window, .. } = *sizes;
    let [tall, wide] = window.stride;
    Strip {
        channels,
        block: channels,
        source: image,
        step: wide,
        phases: wide.min(window.kernel[1]),
        origin: window.padding.map(|padding| -(padding as isize)),
        rows: (rows - 1) * tall + window.kernel[0],
        columns: output[1] + (window.kernel[1] - 1) / wide,
    }
}

/// One row of sums [kh, kw, channels, filters] for every `every` pictures.
pub fn sums<T: Real>(
    sizes: &Convolution,
    isa: Isa,
    (image, upstream): (&[T], &[T]),
    every: usize,
    out: &mut [T],
    workers: &Workers,
) {
    let plan = Plan::new::<T>(sizes, isa, every.max(1));
    debug_assert_eq!(out.len(), plan.groups * plan.row());
    if out.is_empty() {
        return;
    }
    let parts = Parts::new(out);
    workers.run(plan.groups * plan.shares, &|task, local| {
        let (group, units) = (task / plan.shares, share(plan.units(), plan.shares, task % plan.shares));
        // SAFETY: the sums of a group are a row, and each unit is one task's.
        let sums = unsafe { parts.start().add(group * plan.row()) };
        Job::new(&plan, isa, (image, upstream), sums, units, local).run(group);
    });
}

/// How the work is cut up.
struct Plan {
    sizes: Convolution,
    every: usize,
    /// How many rows of sums there are, and how many tasks share one.
    groups: usize,
    shares: usize,
    /// How many rows of places are a band, and how many pictures are done at a time; more than one only if a band is
    /// a whole picture.
    band: usize,
    pictures: usize,
    /// Rows that lie together: how many runs of them there are, and how long each is.
    runs: usize,
    run: usize,
    /// How the runs are cut into tiles.
    cut: Cut,
    /// Filters of a tile.
    filters: usize,
}

/// How runs of rows are cut into tiles: how many runs a tile takes, into how many parts each run is cut, and how many
/// registers of filters a tile has.
#[derive(Debug, Clone, Copy)]
struct Cut {
    runs: usize,
    parts: usize,
    vectors: usize,
}

impl Plan {
    fn new<T: Real>(sizes: &Convolution, isa: Isa, every: usize) -> Self {
        let ([tall, wide], channels) = (sizes.window.kernel, sizes.channels);
        let together = sizes.window.stride[1] == 1;
        let (runs, run) = if together { (tall, wide * channels) } else { (tall * wide, channels) };
        let cut = Cut::best::<T>(isa, [runs, run], sizes.filters);
        let groups = sizes.batch.div_ceil(every);
        let line = Split::bytes::<T>(strip(sizes, 1).row()).max(1);
        let sums = runs * run * sizes.filters * size_of::<T>();
        let places = (sums / SUMS_BYTES).clamp(PLACES, 4 * PLACES);
        let most = ((STRIP_BYTES / line).saturating_sub(tall) / sizes.window.stride[0] + 1)
            .min(places.div_ceil(sizes.output[1].max(1)));
        let bands = sizes.output[0].div_ceil(most).max(1);
        let band = sizes.output[0].div_ceil(bands).max(1);
        let bytes = Split::bytes::<T>(strip(sizes, band).len());
        let wanted = places.div_ceil((band * sizes.output[1]).max(1));
        let pictures = if bands > 1 { 1 } else { (STRIP_BYTES / bytes.max(1)).min(wanted).min(every).max(1) };
        let filters = cut.vectors * isa.lanes::<T>();
        let mut plan =
            Self { sizes: *sizes, every, groups, shares: 1, band, pictures, runs, run, cut, filters };
        let places = every.min(sizes.batch).saturating_mul(sizes.output[0]).saturating_mul(sizes.output[1]);
        let tasks = plan.row().saturating_mul(places) / TASK_PRODUCTS;
        plan.shares = TASKS.div_ceil(groups.max(1)).min(tasks).min(plan.units()).max(1);
        plan
    }

    /// How many sums a row has.
    fn row(&self) -> usize {
        self.runs * self.run * self.sizes.filters
    }

    /// How many tiles the rows are cut into, for every group of filters.
    fn tiles(&self) -> usize {
        (self.runs / self.cut.runs + self.runs % self.cut.runs) * self.cut.parts
    }

    /// How many places are done at a time.
    fn places(&self) -> usize {
        self.pictures * self.band * self.sizes.output[1]
    }

    /// How many tiles there are.
    fn units(&self) -> usize {
        self.sizes.filters.div_ceil(self.filters) * self.tiles()
    }

    /// The runs of a tile, and which part of each.
    fn tile(&self, tile: usize) -> (Range<usize>, Range<usize>) {
        let (index, part) = (tile / self.cut.parts, tile % self.cut.parts);
        let full = self.runs / self.cut.runs;
        let start = index.min(full) * self.cut.runs + index.saturating_sub(full);
        let count = if index < full { self.cut.runs } else { 1 };
        (start..start + count, share(self.run, self.cut.parts, part))
    }
}

impl Cut {
    /// The cut that takes the fewest cycles for a place.
    fn best<T: Real>(isa: Isa, [runs, run]: [usize; 2], filters: usize) -> Self {
        let (lanes, registers) = (isa.lanes::<T>(), 2 * isa.tile_rows::<T>());
        let vectors = if filters > lanes { [2, 1] } else { [1, 1] };
        let cuts = vectors.into_iter().flat_map(|vectors| [5, 3, 1].map(|runs| (vectors, runs)));
        let cuts =
            cuts.filter(|&(vectors, at_once)| at_once <= runs.max(1) && vectors * at_once <= registers);
        let cuts = cuts.map(|(vectors, at_once)| {
            let parts = run.div_ceil(registers / vectors / at_once).max(1);
            let cut = Cut { runs: at_once, parts, vectors };
            // A cycle has two multiplications or two loads; a product is ready after four cycles.
            let half_cycles = |runs: usize| {
                let rows = runs * run.div_ceil(parts);
                (rows * vectors).max(rows + vectors).max(8) + 2
            };
            let tiles = runs / at_once * half_cycles(at_once) + runs % at_once * half_cycles(1);
            (tiles * parts * filters.div_ceil(vectors * lanes), cut)
        });
        let best = cuts.min_by_key(|&(half_cycles, _)| half_cycles);
        best.map_or(Cut { runs: 1, parts: 1, vectors: 1 }, |(_, cut)| cut)
    }
}

/// One task: some tiles of one row of sums.
struct Job<'a, T> {
    plan: &'a Plan,
    isa: Isa,
    image: &'a [T],
    upstream: &'a [T],
    sums: *mut T,
    units: Range<usize>,
    /// Scratch: the strips of some pictures one after the other.
    strips: &'a mut [T],
    /// Scratch: the upstream of a tile's filters, if it cannot be read in place.
    packed: &'a mut [T],
}

impl<'a, T: Real> Job<'a, T> {
    fn new(
        plan: &'a Plan,
        isa: Isa,
        (image, upstream): (&'a [T], &'a [T]),
        sums: *mut T,
        units: Range<usize>,
        local: &'a mut Local,
    ) -> Self {
        let len = plan.pictures * strip(&plan.sizes, plan.band).len();
        let packed = plan.places() * plan.filters;
        local.reserve(Split::bytes::<T>(len) + Split::bytes::<T>(packed));
        let mut split = local.split();
        let (strips, packed) = (split.take(len), split.take(packed));
        Self { plan, isa, image, upstream, sums, units, strips, packed }
    }

    /// Sums over the pictures of a group, a few at a time, band after band.
    fn run(&mut self, group: usize) {
        let plan = self.plan;
        let pictures = group * plan.every..plan.sizes.batch.min((group + 1).saturating_mul(plan.every));
        for first in pictures.clone().step_by(plan.pictures) {
            let some = first..pictures.end.min(first + plan.pictures);
            for row in (0..plan.sizes.output[0]).step_by(plan.band) {
                let rows = row..plan.sizes.output[0].min(row + plan.band);
                let mut strip = strip(&plan.sizes, rows.len());
                strip.origin[0] += (row * plan.sizes.window.stride[0]) as isize;
                let plane = self.image.len() / plan.sizes.batch;
                for (picture, to) in some.clone().zip(self.strips.chunks_exact_mut(strip.len().max(1))) {
                    self.isa.dispatch(Fill { strip, image: &self.image[picture * plane..][..plane], to });
                }
                let ends = [
                    some.start == pictures.start && rows.start == 0,
                    some.end == pictures.end && rows.end == plan.sizes.output[0],
                ];
                self.multiply(&strip, some.clone(), rows, ends);
            }
        }
    }
}

impl<T: Real> Job<'_, T> {
    /// Multiplies the strips of some pictures with their upstream; `ends` says whether they are the first of the
    /// group, and whether the last.
    fn multiply(&mut self, strip: &Strip, pictures: Range<usize>, rows: Range<usize>, ends: [bool; 2]) {
        let Plan { sizes, runs, run, filters, .. } = *self.plan;
        let line = sizes.window.stride[0] * strip.row();
        let (mut packed, mut upstream) = (None, (std::ptr::null(), [0; 3]));
        for unit in self.units.clone() {
            let first = unit / self.plan.tiles() * filters;
            let (tile_runs, part) = self.plan.tile(unit % self.plan.tiles());
            if packed.replace(first) != Some(first) {
                upstream = self.upstream(first, pictures.clone(), rows.clone());
            }
            let source = |index: usize| {
                let index = (tile_runs.start + index).min(tile_runs.end - 1);
                let taps = runs / sizes.window.kernel[0];
                std::ptr::from_ref(&self.strips[strip.offset(0, [index / taps, index % taps]) + part.start])
            };
            let tile = Tile {
                places: Places {
                    count: [pictures.len(), rows.len(), sizes.output[1]],
                    source: [strip.len(), line, strip.block],
                    upstream: upstream.1,
                },
                source: std::array::from_fn(source),
                upstream: upstream.0,
                filters: filters.min(sizes.filters - first),
                // SAFETY: inside the row of sums.
                sums: unsafe { self.sums.add((tile_runs.start * run + part.start) * sizes.filters + first) },
                pitch: [run * sizes.filters, sizes.filters],
                ends,
            };
            // SAFETY: the strips hold what every tap sees from every place, and the tile is no other task's.
            unsafe { tile.add(self.isa, [tile_runs.len(), part.len()]) };
        }
    }

    /// The upstream of a tile's filters at some places, and the steps from picture to picture, row to row, and place
    /// to place. It is read in whole registers, and in place unless the last would reach beyond its end.
    fn upstream(
        &mut self,
        first: usize,
        pictures: Range<usize>,
        rows: Range<usize>,
    ) -> (*const T, [usize; 3]) {
        let Plan { sizes, filters: width, .. } = *self.plan;
        let row = sizes.output[1];
        let (picture, places) = (sizes.output[0] * row * sizes.filters, rows.len() * row);
        let start = pictures.start * picture + rows.start * row * sizes.filters + first;
        let last = start + (pictures.len() - 1) * picture + (places - 1) * sizes.filters;
        if last + width <= self.upstream.len() {
            return (self.upstream[start..].as_ptr(), [picture, row * sizes.filters, sizes.filters]);
        }
        for (index, to) in self.packed.chunks_exact_mut(places * width).take(pictures.len()).enumerate() {
            let from = &self.upstream[start + index * picture..];
            let columns = width.min(sizes.filters - first);
            self.isa.dispatch(Copy { from, stride: sizes.filters, columns, width, to });
        }
        (self.packed.as_ptr(), [places * width, row * width, width])
    }
}
