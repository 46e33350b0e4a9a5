//! The forward direction, and the adjoint in the picture: both slide weights over a strip of a picture.
//!
//! Tiles have channels of the target as rows and places as columns. Places are counted along the rows of the
//! strip, padding included, so that the columns of a tile lie next to each other at any tap; what falls between
//! the rows of the target is computed in vain and not stored.
//!
//! The adjoint deals the target's pixels out to phases, as many as the stride: the pixels of a phase are reached
//! by the same taps, so that each phase is a convolution of the upstream by some of the weights, flipped.
//!
//! A group of channels is dealt with as a picture of its own.

use std::ops::Range;

use super::Convolution;
use super::strip::{Fill, Strip};
use crate::gemm::tile::{Bias, Finish, Part, Rows, Scattered, Tile};
use crate::gemm::{Epilogue, aligned, share};
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::workers::{Local, Parts, Split, Workers};
use crate::window::Window;

/// How many bytes of a thread's scratch a strip should take, so that it stays in the second-level cache.
const STRIP_BYTES: usize = Local::BYTES / 2;
/// How many tasks there should be, if they have enough to do.
const TASKS: usize = 16;
/// How many multiplications make a task worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 17;

/// How many numbers of scratch a correlation needs in either direction: the weights, packed.
pub fn scratch(convolution: &Convolution) -> usize {
    let Convolution { groups, channels, filters, window: Window { kernel, .. }, .. } = *convolution;
    filters
        .saturating_mul(groups)
        .saturating_mul(channels)
        .saturating_mul(kernel[0])
        .saturating_mul(kernel[1])
        .saturating_add(MAX_LANES)
}

/// The most phases that are gone through one by one. Nobody who cares for speed moves a window this far.
const MAX_PHASES: usize = 1 << 10;

/// A correlation, planned.
#[derive(Debug, Clone, Copy)]
pub struct Correlation {
    convolution: Convolution,
    /// Whether this is the adjoint.
    adjoint: bool,
    /// The strip of a band; its origin is that of the first band.
    strip: Strip,
    /// Channels of the target.
    channels: usize,
    /// Height and width of the target.
    target: [usize; 2],
    /// Rows of places (in each phase) in all bands together, and in one band at most.
    rows: usize,
    band: usize,
}

impl Correlation {
    /// The forward direction: the source is the picture.
    pub fn forward(convolution: &Convolution) -> Self {
        let Convolution { channels, filters, image, output, window, .. } = *convolution;
        let extent = window.extent();
        let reach = |axis: usize| (extent[axis] - 1) / window.stride[axis];
        let strip = Strip {
            channels,
            source: image,
            step: window.stride,
            phases: [0, 1].map(|axis| window.stride[axis].min(extent[axis])),
            origin: window.padding.map(|padding| -(padding as isize)),
            rows: output[0] + reach(0),
            pitch: output[1] + reach(1),
        };
        let rows = output[0];
        let convolution = *convolution;
        Self { convolution, adjoint: false, strip, channels: filters, target: output, rows, band: rows }
    }

    /// The adjoint in the picture: the source is the upstream, which lies as many places before the first pixel
    /// as there are taps in a phase.
    pub fn adjoint(convolution: &Convolution) -> Self {
        let Convolution { channels, filters, image, output, window, .. } = *convolution;
        let Window { stride, padding, .. } = window;
        let reach = [0, 1].map(|axis| (window.extent()[axis] - 1) / stride[axis]);
        let first = [0, 1].map(|axis| padding[axis] / stride[axis]);
        let places = [0, 1].map(|axis| (padding[axis] + image[axis]).div_ceil(stride[axis]) - first[axis]);
        let strip = Strip {
            channels: filters,
            source: output,
            step: [1, 1],
            phases: [1, 1],
            origin: [0, 1].map(|axis| first[axis] as isize - reach[axis] as isize),
            rows: places[0] + reach[0],
            pitch: places[1] + reach[1],
        };
        let (convolution, rows) = (*convolution, places[0]);
        Self { convolution, adjoint: true, strip, channels, target: image, rows, band: rows }
    }

    /// The same in bands small enough for a thread's scratch and numerous enough for several threads, if possible.
    pub fn fit<T: Real>(mut self) -> Option<Self> {
        let [tall, wide] = self.convolution.window.stride;
        if self.adjoint && tall.saturating_mul(wide) > MAX_PHASES {
            return None;
        }
        let reach = self.strip.rows - self.rows;
        let products = self.convolution.weights().saturating_mul(self.rows).saturating_mul(self.strip.pitch);
        let wanted = TASKS.div_ceil(self.pictures().max(1)).min(products / TASK_PRODUCTS).max(1);
        let table = Split::bytes::<usize>(self.table());
        self.band = self.rows.div_ceil(wanted).max(1);
        loop {
            self.strip.rows = self.band + reach;
            let strip = Split::bytes::<T>(self.strip.len());
            if strip <= STRIP_BYTES || self.band == 1 {
                return (strip.saturating_add(table) <= Local::BYTES).then_some(self);
            }
            self.band = self.band.div_ceil(2);
        }
    }

    /// Correlates all pictures.
    pub fn run<T: Real>(
        &self,
        isa: Isa,
        (source, weight): (&[T], &[T]),
        epilogue: Epilogue<T>,
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert!(scratch.len() >= self::scratch(&self.convolution));
        if out.is_empty() {
            return;
        }
        let packed = &mut aligned(scratch)[..weight.len()];
        let (groups, size) = (self.convolution.groups, weight.len() / self.convolution.groups);
        for start in (0..groups).map(|group| group * size) {
            self.pack(isa, &weight[start..][..size], &mut packed[start..][..size], workers);
        }
        let bands = self.bands();
        let out = Parts::new(out);
        let packed = &*packed;
        workers.run(self.pictures() * bands, &|task, local| {
            let (picture, band) = (task / bands, task % bands);
            let rows = band * self.band..self.rows.min((band + 1) * self.band);
            let mut split = local.split();
            let (strip, table) = (split.take(self.strip.len()), split.take(self.table()));
            self.fill(isa, source, picture, rows.start, strip);
            // SAFETY: inside the target. Pictures have targets of their own, and bands rows of their own in them.
            let target =
                unsafe { out.start().add(picture * self.channels * self.target[0] * self.target[1]) };
            let group = picture % groups;
            let packed = &packed[group * size..][..size];
            let bias = epilogue.bias.map(|bias| &bias[group * self.channels..][..self.channels]);
            let band = Band {
                plan: self,
                isa,
                rows,
                strip,
                packed,
                epilogue: Epilogue { bias, ..epilogue },
                target,
            };
            self.phases().for_each(|phase| band.phase(&phase, table));
        });
    }

    /// How many pictures there are, if each group of channels is one.
    fn pictures(&self) -> usize {
        self.convolution.batch * self.convolution.groups
    }

    /// In how many bands the places of a picture are done.
    pub fn bands(&self) -> usize {
        self.rows.div_ceil(self.band)
    }

    /// Fills the strip of the band that starts at a row of places.
    fn fill<T: Real>(&self, isa: Isa, source: &[T], picture: usize, row: usize, to: &mut [T]) {
        let mut strip = self.strip;
        strip.origin[0] += (row * strip.step[0]) as isize;
        let size = strip.channels * strip.source[0] * strip.source[1];
        isa.dispatch(Fill { strip, image: &source[picture * size..][..size], to });
    }

    /// How many offsets there are at most: one for every tap of every channel of the source.
    fn table(&self) -> usize {
        let [tall, wide] = self.convolution.window.kernel;
        self.strip.channels * tall * wide
    }

    /// Packs the weights of all phases, in blocks of as many of the target's channels as a tile has rows.
    fn pack<T: Real>(&self, isa: Isa, weight: &[T], packed: &mut [T], workers: &Workers) {
        let blocks = self.channels.div_ceil(isa.tile_rows::<T>());
        let packed = Parts::new(packed);
        let tasks = (weight.len() >> 14).clamp(1, blocks);
        workers.run(tasks, &|task, _| {
            for block in share(blocks, tasks, task) {
                let channels = share(self.channels, blocks, block);
                for phase in self.phases() {
                    let steps = phase.steps(self);
                    // SAFETY: every block of every phase has a place of its own and is packed once.
                    let to =
                        unsafe { packed.slice(phase.start + channels.start * steps, channels.len() * steps) };
                    phase.visit_taps(self, |step, tap| {
                        let from =
                            weight[tap.weight + channels.start * tap.stride..].iter().step_by(tap.stride);
                        to[step * channels.len()..]
                            .iter_mut()
                            .take(channels.len())
                            .zip(from)
                            .for_each(|(to, &from)| *to = from);
                    });
                }
            }
        });
    }

    /// The phases of the target's pixels.
    fn phases(&self) -> impl Iterator<Item = Phase> {
        let [tall, wide] = if self.adjoint { self.convolution.window.stride } else { [1, 1] };
        let mut start = 0;
        (0..tall * wide).map(move |index| {
            let phase = self.phase([index / wide, index % wide], start);
            start += phase.steps(self) * self.channels;
            phase
        })
    }

    fn phase(&self, phase: [usize; 2], start: usize) -> Phase {
        let Window { kernel, dilation, stride, padding, .. } = self.convolution.window;
        if !self.adjoint {
            let (places, one) = (self.target.map(|size| 0..size), [1, 1]);
            return Phase {
                phase,
                taps: kernel,
                tap: [0, 0],
                every: one,
                start,
                places,
                step: one,
                first: [0, 0],
            };
        }
        // After so many taps the window comes to a pixel of the same phase again, and the first such tap.
        let every = [0, 1].map(|axis| stride[axis] / divisor(stride[axis], dilation[axis]));
        let is_tap = |axis: usize, tap: usize| tap * dilation[axis] % stride[axis] == phase[axis];
        let tap = [0, 1].map(|axis| (0..every[axis].min(kernel[axis])).find(|&tap| is_tap(axis, tap)));
        let taps = [0, 1].map(|axis| tap[axis].map_or(0, |tap| (kernel[axis] - tap).div_ceil(every[axis])));
        let tap = tap.map(Option::unwrap_or_default);
        let origin = [0, 1].map(|axis| padding[axis] / stride[axis]);
        let place = |axis: usize, pixel: usize| {
            pixel.saturating_sub(phase[axis]).div_ceil(stride[axis]).saturating_sub(origin[axis])
        };
        let places =
            [0, 1].map(|axis| place(axis, padding[axis])..place(axis, padding[axis] + self.target[axis]));
        let first =
            [0, 1].map(|axis| (origin[axis] * stride[axis] + phase[axis]) as isize - padding[axis] as isize);
        Phase { phase, taps, tap, every, start, places, step: stride, first }
    }
}

/// Pixels of the target that are reached by the same taps: all of them, but for the adjoint of a stride.
struct Phase {
    /// Which phase: the pixel of the padded target that comes first, modulo the stride.
    phase: [usize; 2],
    /// How many taps reach it, vertically and horizontally.
    taps: [usize; 2],
    /// The first of them, and from one to the next.
    tap: [usize; 2],
    every: [usize; 2],
    /// Where its packed weights start.
    start: usize,
    /// The rows and columns of places, counted from the start of the (first) strip, that are in the target.
    places: [Range<usize>; 2],
    /// From place to place in the target.
    step: [usize; 2],
    /// The pixel at place 0, if there is one.
    first: [isize; 2],
}

/// The greatest common divisor.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// One step of the inner dimension.
struct Tap {
    /// Where in the strip the step's row of patches starts.
    offset: usize,
    /// Where the step's weight for the target's channel 0 is, and how far it is from there to the next channel's.
    weight: usize,
    stride: usize,
}

impl Phase {
    /// How many steps the inner dimension has.
    fn steps(&self, plan: &Correlation) -> usize {
        plan.strip.channels * self.taps[0] * self.taps[1]
    }

    /// Calls `visit(step, tap)` for all steps of the inner dimension: channel of the source, then taps, row by row.
    fn visit_taps(&self, plan: &Correlation, mut visit: impl FnMut(usize, Tap)) {
        let Convolution { channels, window, .. } = plan.convolution;
        let Window { kernel, dilation, stride, .. } = window;
        let (size, [tall, wide]) = (kernel[0] * kernel[1], self.taps);
        for tap in (0..tall).flat_map(|row| (0..wide).map(move |column| [row, column])) {
            let mut step = tap[0] * wide + tap[1];
            let (away, weight, spacing, stride) = if plan.adjoint {
                // A later tap sees an earlier place of the upstream.
                let taps = [0, 1].map(|axis| self.tap[axis] + tap[axis] * self.every[axis]);
                let back = |axis: usize| (taps[axis] * dilation[axis] - self.phase[axis]) / stride[axis];
                let away = [0, 1].map(|axis| (window.extent()[axis] - 1) / stride[axis] - back(axis));
                (away, taps[0] * kernel[1] + taps[1], channels * size, size)
            } else {
                ([0, 1].map(|axis| tap[axis] * dilation[axis]), step, size, channels * size)
            };
            let (mut offset, mut weight) = (plan.strip.offset(0, away), weight);
            for _ in 0..plan.strip.channels {
                visit(step, Tap { offset, weight, stride });
                (step, offset, weight) =
                    (step + tall * wide, offset + plan.strip.channel(), weight + spacing);
            }
        }
    }
}

/// One task: the places of one band of one picture.
struct Band<'a, T> {
    plan: &'a Correlation,
    isa: Isa,
    /// The rows of places.
    rows: Range<usize>,
    /// The strip, filled.
    strip: &'a [T],
    packed: &'a [T],
    epilogue: Epilogue<'a, T>,
    /// The picture's target. Only the pixels of this band's places are written.
    target: *mut T,
}

impl<T: Real> Band<'_, T> {
    /// Computes all of the band's pixels in a phase. `table` is memory for the offsets of the taps.
    fn phase(&self, phase: &Phase, table: &mut [usize]) {
        let [tall, wide] = &phase.places;
        let rows = tall.start.max(self.rows.start)..tall.end.min(self.rows.end);
        if rows.is_empty() || wide.is_empty() {
            return;
        }
        phase.visit_taps(self.plan, |step, tap| table[step] = tap.offset);
        let pitch = self.plan.strip.pitch;
        let rows = rows.start - self.rows.start..rows.end - self.rows.start;
        let (first, end) = (rows.start * pitch + wide.start, (rows.end - 1) * pitch + wide.end);
        let mut tile = Tile::new();
        for start in (first..end).step_by(2 * self.isa.lanes::<T>()) {
            self.panel(phase, table, start..end, &mut tile);
        }
    }

    /// Computes the places of one panel, two registers wide or until the end.
    fn panel(&self, phase: &Phase, table: &[usize], places: Range<usize>, tile: &mut Tile<T>) {
        let plan = self.plan;
        let (lanes, steps) = (self.isa.lanes::<T>(), phase.steps(plan));
        let vectors = places.len().div_ceil(lanes).min(2);
        let places = places.start..places.end.min(places.start + vectors * lanes);
        let blocks = plan.channels.div_ceil(self.isa.tile_rows::<T>());
        for block in 0..blocks {
            let channels = share(plan.channels, blocks, block);
            let weights = &self.packed[phase.start + channels.start * steps..][..channels.len() * steps];
            let row = |row| weights.as_ptr().wrapping_add(row);
            let left = Rows { rows: std::array::from_fn(row), stride: channels.len() };
            let right = Scattered { start: self.strip[places.start..].as_ptr(), offsets: table.as_ptr() };
            // SAFETY: the table has an offset into the strip for every step; a strip has room for a tile at its end.
            unsafe { tile.multiply(self.isa, [channels.len(), vectors], left, right, steps) };
            self.store(phase, tile, places.clone(), channels);
        }
    }

    /// Writes a tile out, as far as its places are in the target: one piece per row of places.
    fn store(&self, phase: &Phase, tile: &Tile<T>, places: Range<usize>, channels: Range<usize>) {
        let (pitch, [height, width]) = (self.plan.strip.pitch, self.plan.target);
        let bias = self.epilogue.bias.map_or(Bias::None, |bias| Bias::Rows(&bias[channels.clone()]));
        let finish = Finish { add: false, bias, relu: self.epilogue.relu };
        for row in places.start / pitch..=(places.end - 1) / pitch {
            let columns = &phase.places[1];
            let start = (row * pitch + columns.start).max(places.start);
            let end = (row * pitch + columns.end).min(places.end);
            if start >= end {
                continue;
            }
            let place = [self.rows.start + row, start - row * pitch];
            let pixel =
                [0, 1].map(|axis| (phase.first[axis] + (place[axis] * phase.step[axis]) as isize) as usize);
            // SAFETY: the places are in the target, and no other task's.
            unsafe {
                let target = self.target.add((channels.start * height + pixel[0]) * width + pixel[1]);
                let (column, columns) = (start - places.start, end - start);
                let (pitch, spacing) = (height * width, phase.step[1]);
                let part = Part { rows: channels.len(), column, columns, target, pitch, spacing };
                tile.store(self.isa, part, finish);
            }
        }
    }
}
