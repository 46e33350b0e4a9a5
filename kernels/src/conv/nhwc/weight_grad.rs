//! The gradient in the weights: products of pixels with the upstream, summed over all output positions of some images.
//!
//! A tile is some rows (taps and channels) by one or two registers of filters. Its sums stay in registers while all
//! positions of a band go by, each of which adds one product per row and filter. Then they are added to the sums of the
//! bands before: in one long chain the last products would be lost in rounding. If the channels are [spread](Spread) over
//! lanes, a tile is some rows by one register of filters, and a product one of registers.

use std::ops::Range;

use super::strip::{Fill, Spread, Strip};
use crate::conv::Convolution;
use crate::conv::geometry::Axis;
use crate::gemm::pack::PackRows;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::tuning::{
    CONV_TASKS, GRAD_PACKING_TILES, GRAD_POSITIONS, GRAD_STRIP_BYTES, GRAD_SUMS_BYTES, GRAD_TASK_PRODUCTS,
    SCRATCH_BYTES,
};
use crate::workers::{Local, Parts, Split, Workers, even_part};
pub use batch_sum::finish_weight_grad;
use lanewise::LanewiseTile;
use tile::{DenseTile, MAX_ROWS, Positions};

mod batch_sum;
mod lanewise;
mod tile;

/// Whether at least one row of positions fits a thread's scratch.
pub fn fits(sizes: &Convolution) -> bool {
    fits_strip(sizes, &strip(sizes, 1))
}

fn fits_strip(sizes: &Convolution, strip: &Strip) -> bool {
    let packed = sizes.output[1].saturating_mul(2 * MAX_LANES);
    Split::bytes::<f64>(strip.len()).saturating_add(Split::bytes::<f64>(packed)) <= SCRATCH_BYTES
}

/// The strip of an image's first rows of positions. All channels of a group are one block, unless they are spread.
fn strip(sizes: &Convolution, rows: usize) -> Strip {
    let axes = [Axis::forward(sizes, 0), Axis::forward(sizes, 1)];
    let (pixel, channels) = (sizes.groups * sizes.channels, sizes.channels);
    let spread = Spread::new(sizes.groups, channels, sizes.filters)
        .map(|spread| Strip::spread(axes, spread, pixel, sizes.groups * sizes.filters));
    let spread = spread.filter(|strip| fits_strip(sizes, strip));
    let mut strip = spread.unwrap_or_else(|| Strip::new(axes, channels, channels, pixel));
    strip.rows += (rows - 1) * sizes.window.stride[0];
    strip
}

/// One row of sums [kh, kw, channels, groups · filters] for every `images_per_row` images.
pub fn sums<T: Real>(
    sizes: &Convolution,
    (image, upstream): (&[T], &[T]),
    images_per_row: usize,
    out: &mut [T],
    workers: &Workers,
) {
    let isa = workers.isa();
    let plan = StripWeightPlan::new::<T>(sizes, isa, images_per_row.max(1));
    debug_assert_eq!(out.len(), plan.rows * plan.row());
    if out.is_empty() {
        return;
    }
    let parts = Parts::new(out);
    workers.run(plan.rows * plan.tasks_per_row, &|task, local| {
        let (row, tiles) = (
            task / plan.tasks_per_row,
            even_part(plan.tiles(), plan.tasks_per_row, task % plan.tasks_per_row),
        );
        // SAFETY: the sums of some images are a row, and each tile is one task's.
        let sums = unsafe { parts.start().add(row * plan.row()) };
        StripWeightTask::new(&plan, isa, (image, upstream), sums, tiles, local).run(row);
    });
}

/// How the work is divided.
struct StripWeightPlan {
    sizes: Convolution,
    is_spread: bool,
    images_per_row: usize,
    /// How many rows of sums there are, and into how many tasks each is split.
    rows: usize,
    tasks_per_row: usize,
    /// How many rows of positions are a band, and how many images are done at a time; more than one only if a band is
    /// a whole image.
    band: usize,
    images: usize,
    /// How many strips an image has.
    strips: usize,
    /// Filters of a strip, the last of which may have fewer, and of all strips together.
    filters: usize,
    all_filters: usize,
    /// Rows of a tile that lie together: how many runs of them there are, and how long each is.
    runs: usize,
    run: usize,
    /// How the runs are cut into tiles.
    tiling: RunTiling,
    /// Filters of a tile.
    tile_filters: usize,
}

/// How runs of rows are cut into tiles: how many runs a tile takes, into how many parts each run is cut, and how many
/// registers of filters a tile has.
#[derive(Debug, Clone, Copy)]
struct RunTiling {
    runs: usize,
    parts: usize,
    vectors: usize,
}

impl StripWeightPlan {
    fn new<T: Real>(sizes: &Convolution, isa: Isa, images_per_row: usize) -> Self {
        let ([kernel_h, kernel_w], channels, window) = (sizes.window.kernel, sizes.channels, sizes.window);
        let first = strip(sizes, 1);
        let is_spread = first.spread.is_some();
        let all_filters = sizes.groups * sizes.filters;
        let filters = if is_spread { first.channels } else { sizes.filters };
        let strips = all_filters.div_ceil(filters.max(1));
        let (runs, run) = if is_spread {
            (kernel_h * kernel_w * channels, 1)
        } else if window.stride[1] == 1 && window.dilation[1] == 1 {
            (kernel_h, kernel_w * channels)
        } else {
            (kernel_h * kernel_w, channels)
        };
        let tiling = if is_spread {
            RunTiling { runs: lanewise::MAX_ROWS, parts: 1, vectors: 1 }
        } else {
            RunTiling::best::<T>(isa, [runs, run], filters)
        };
        let rows = sizes.batch.div_ceil(images_per_row);
        let line = Split::bytes::<T>(first.line()).max(1);
        let sums = runs * run * filters * size_of::<T>();
        let positions = (sums / GRAD_SUMS_BYTES).clamp(GRAD_POSITIONS, 4 * GRAD_POSITIONS);
        let most = ((GRAD_STRIP_BYTES / line).saturating_sub(first.rows) / window.stride[0] + 1)
            .min(positions.div_ceil(sizes.output[1].max(1)));
        let bands = sizes.output[0].div_ceil(most).max(1);
        let band = sizes.output[0].div_ceil(bands).max(1);
        let bytes = Split::bytes::<T>(strip(sizes, band).len());
        let wanted = positions.div_ceil((band * sizes.output[1]).max(1));
        let images = if bands > 1 {
            1
        } else {
            (GRAD_STRIP_BYTES / bytes.max(1)).min(wanted).min(images_per_row).max(1)
        };
        let tile_filters = tiling.vectors * isa.lanes::<T>();
        let mut plan = Self {
            sizes: *sizes,
            is_spread,
            images_per_row,
            rows,
            tasks_per_row: 1,
            band,
            images,
            strips,
            filters,
            all_filters,
            runs,
            run,
            tiling,
            tile_filters,
        };
        let positions =
            images_per_row.min(sizes.batch).saturating_mul(sizes.output[0]).saturating_mul(sizes.output[1]);
        let tasks = plan.row().saturating_mul(positions) / GRAD_TASK_PRODUCTS;
        plan.tasks_per_row = CONV_TASKS.div_ceil(rows.max(1)).min(tasks).min(plan.tiles()).max(1);
        plan
    }

    /// How many sums a row has.
    fn row(&self) -> usize {
        self.runs * self.run * self.all_filters
    }

    /// How many tiles the rows are cut into, for every group of filters.
    fn run_tiles(&self) -> usize {
        if self.is_spread {
            return self.runs.div_ceil(self.tiling.runs);
        }
        (self.runs / self.tiling.runs + self.runs % self.tiling.runs) * self.tiling.parts
    }

    /// How many positions are done at a time.
    fn positions(&self) -> usize {
        self.images * self.band * self.sizes.output[1]
    }

    /// How many tiles a strip has. Some of the last one's may have no filters.
    fn strip_tiles(&self) -> usize {
        self.filters.div_ceil(self.tile_filters) * self.run_tiles()
    }

    /// How many tiles all strips have.
    fn tiles(&self) -> usize {
        self.strips * self.strip_tiles()
    }

    /// The runs of a tile, and which part of each.
    fn tile(&self, tile: usize) -> (Range<usize>, Range<usize>) {
        if self.is_spread {
            return (even_part(self.runs, self.run_tiles(), tile), 0..1);
        }
        let (index, part) = (tile / self.tiling.parts, tile % self.tiling.parts);
        let full = self.runs / self.tiling.runs;
        let start = index.min(full) * self.tiling.runs + index.saturating_sub(full);
        let count = if index < full { self.tiling.runs } else { 1 };
        (start..start + count, even_part(self.run, self.tiling.parts, part))
    }

    /// Where a run starts in the strip, as the filters from `first` on see it.
    fn offset(&self, strip: &Strip, run: usize, first: usize) -> usize {
        let layers = strip.layers();
        let (run, block, lane) = if self.is_spread {
            (run / layers, first / strip.block * layers + run % layers, first % strip.block)
        } else {
            (run, 0, 0)
        };
        let taps = self.runs / self.sizes.window.kernel[0] / layers;
        let [down, across] = self.sizes.window.dilation;
        strip.offset(block, [run / taps * down, run % taps * across]) + lane
    }
}

impl RunTiling {
    /// The tiling that takes the fewest cycles for a position.
    fn best<T: Real>(isa: Isa, [runs, run]: [usize; 2], filters: usize) -> Self {
        let (lanes, registers) = (isa.lanes::<T>(), 2 * isa.tile_rows::<T>());
        let vectors = if filters > lanes { [2, 1] } else { [1, 1] };
        let tilings = vectors.into_iter().flat_map(|vectors| [5, 3, 1].map(|runs| (vectors, runs)));
        let tilings =
            tilings.filter(|&(vectors, at_once)| at_once <= runs.max(1) && vectors * at_once <= registers);
        let tilings = tilings.map(|(vectors, at_once)| {
            let most = if vectors == 1 { registers.min(MAX_ROWS) } else { registers / vectors };
            let parts = run.div_ceil(most / at_once).max(1);
            let tiling = RunTiling { runs: at_once, parts, vectors };
            // A cycle has two multiplications or two loads; a product is ready after four cycles.
            let half_cycles = |runs: usize| {
                let rows = runs * run.div_ceil(parts);
                (rows * vectors).max(rows + vectors).max(8) + 2
            };
            let tiles = runs / at_once * half_cycles(at_once) + runs % at_once * half_cycles(1);
            (tiles * parts * filters.div_ceil(vectors * lanes), tiling)
        });
        let best = tilings.min_by_key(|&(half_cycles, _)| half_cycles);
        best.map(|(_, tiling)| tiling).unwrap_or_else(|| unreachable!("a single run and register always fit"))
    }
}

/// One task: some tiles of one row of sums.
struct StripWeightTask<'a, T> {
    plan: &'a StripWeightPlan,
    isa: Isa,
    image: &'a [T],
    upstream: &'a [T],
    sums: *mut T,
    tiles: Range<usize>,
    /// Scratch: the strips of some images one after the other.
    strips: &'a mut [T],
    /// Scratch: the upstream of a tile's filters, if it cannot be read in place.
    packed: &'a mut [T],
}

impl<'a, T: Real> StripWeightTask<'a, T> {
    fn new(
        plan: &'a StripWeightPlan,
        isa: Isa,
        (image, upstream): (&'a [T], &'a [T]),
        sums: *mut T,
        tiles: Range<usize>,
        local: &'a mut Local,
    ) -> Self {
        let len = plan.images * strip(&plan.sizes, plan.band).len();
        let packed = plan.positions() * plan.tile_filters;
        local.reserve(Split::bytes::<T>(len) + Split::bytes::<T>(packed));
        let mut split = local.split();
        let (strips, packed) = (split.take(len), split.take(packed));
        Self { plan, isa, image, upstream, sums, tiles, strips, packed }
    }

    /// Sums over the images of a row of sums, a few at a time, band after band and strip after strip.
    fn run(&mut self, row: usize) {
        let plan = self.plan;
        let first = row * plan.images_per_row;
        let images = first..plan.sizes.batch.min(first.saturating_add(plan.images_per_row));
        let (per_strip, plane) = (plan.strip_tiles(), self.image.len() / plan.sizes.batch);
        for first in images.clone().step_by(plan.images) {
            let some = first..images.end.min(first + plan.images);
            for row in (0..plan.sizes.output[0]).step_by(plan.band) {
                let rows = row..plan.sizes.output[0].min(row + plan.band);
                let mut band = strip(&plan.sizes, rows.len());
                band.origin[0] += (row * plan.sizes.window.stride[0]) as isize;
                let ends = [
                    some.start == images.start && rows.start == 0,
                    some.end == images.end && rows.end == plan.sizes.output[0],
                ];
                for index in self.tiles.start / per_strip..self.tiles.end.div_ceil(per_strip) {
                    let (strip, channel) = band.number(index, plan.all_filters);
                    for (image, to) in some.clone().zip(self.strips.chunks_exact_mut(strip.len().max(1))) {
                        let image = &self.image[image * plane..][..plane];
                        self.isa.dispatch(Fill { strip, image, channel, to });
                    }
                    let start = index * per_strip;
                    let tiles =
                        self.tiles.start.max(start) - start..self.tiles.end.min(start + per_strip) - start;
                    self.multiply(&strip, [some.clone(), rows.clone(), tiles], index, ends);
                }
            }
        }
    }

    /// Multiplies the strips of some images with their upstream, for some tiles of the strip `index`; `ends` says whether they are
    /// the first images of the row of sums, and whether the last.
    fn multiply(
        &mut self,
        strip: &Strip,
        [images, rows, tiles]: [Range<usize>; 3],
        index: usize,
        ends: [bool; 2],
    ) {
        let plan = self.plan;
        let (run, pitch) = (plan.run, plan.all_filters);
        let (mut packed, mut upstream) = (None, (std::ptr::null(), [0; 3]));
        for tile in tiles {
            let first = tile / plan.run_tiles() * plan.tile_filters;
            let (runs, part) = plan.tile(tile % plan.run_tiles());
            let all_first = index * plan.filters + first;
            let filters =
                plan.tile_filters.min(plan.filters - first).min(plan.all_filters.saturating_sub(all_first));
            if filters == 0 {
                continue;
            }
            if packed.replace(first) != Some(first) {
                upstream = self.upstream(all_first, filters, images.clone(), rows.clone());
            }
            let positions = Positions {
                count: [images.len(), rows.len(), plan.sizes.output[1]],
                source: [strip.len(), plan.sizes.window.stride[0] * strip.row(), strip.block],
                upstream: upstream.1,
            };
            let sum = (runs.start * run + part.start) * pitch + all_first;
            // SAFETY: inside the row of sums.
            let sums = unsafe { self.sums.add(sum) };
            let source = |index: usize| {
                let run = (runs.start + index).min(runs.end - 1);
                std::ptr::from_ref(&self.strips[plan.offset(strip, run, first) + part.start])
            };
            if plan.is_spread {
                let (source, upstream) = (std::array::from_fn(source), upstream.0);
                let tile = LanewiseTile { positions, source, upstream, filters, sums, pitch, ends };
                // SAFETY: the strips hold what every tap sees from every position, and the tile is no other task's.
                unsafe { tile.add(self.isa, runs.len()) };
            } else {
                let (source, upstream, pitch) =
                    (std::array::from_fn(source), upstream.0, [run * pitch, pitch]);
                let tile = DenseTile { positions, source, upstream, filters, sums, pitch, ends };
                // SAFETY: as above.
                unsafe { tile.add(self.isa, [runs.len(), part.len()]) };
            }
        }
    }

    /// The upstream of a tile's filters at some positions, and the steps from image to image, row to row, and position
    /// to position. It is read in whole registers, and in place, with two exceptions: the last register would reach beyond
    /// its end, or many tiles read a few filters among many. Those lie so far apart that they evict each other from the
    /// first-level cache.
    fn upstream(
        &mut self,
        first: usize,
        filters: usize,
        images: Range<usize>,
        rows: Range<usize>,
    ) -> (*const T, [usize; 3]) {
        let StripWeightPlan { sizes, tile_filters: width, all_filters, .. } = *self.plan;
        let row = sizes.output[1];
        let (image, positions) = (sizes.output[0] * row * all_filters, rows.len() * row);
        let start = images.start * image + rows.start * row * all_filters + first;
        let last = start + (images.len() - 1) * image + (positions - 1) * all_filters;
        let is_scattered = all_filters > width && self.plan.run_tiles() >= GRAD_PACKING_TILES;
        if !is_scattered && last + width <= self.upstream.len() {
            return (self.upstream[start..].as_ptr(), [image, row * all_filters, all_filters]);
        }
        for (index, to) in self.packed.chunks_exact_mut(positions * width).take(images.len()).enumerate() {
            let from = &self.upstream[start + index * image..];
            self.isa.dispatch(PackRows { from, stride: all_filters, columns: filters, width, to });
        }
        (self.packed.as_ptr(), [positions * width, row * width, width])
    }
}
