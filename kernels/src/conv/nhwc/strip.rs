//! Strips: some rows of an image with their padding, laid out for reading at any tap.

use std::ops::Range;

use crate::conv::geometry::Axis;
use crate::real::Real;
use crate::simd::{Kernel, MAX_LANES, Vector};
use crate::tuning::{SPREAD_FILTERS, STRIP_BYTES};

/// The layout of a strip: block of channels, row, phase, column, channel within the block.
///
/// Where the window moves by more than one column, the columns are dealt out to as many phases (column x to phase
/// x mod S), so that what one tap sees at successive positions is always one block apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    /// How many channels.
    pub channels: usize,
    /// How many channels a pixel of the image has.
    pub pixel: usize,
    /// How many numbers lie from column to column: the channels of a block, and room for those it lacks.
    pub block: usize,
    /// How the channels are spread over lanes, if a register of them meets a register of weights.
    pub spread: Option<Spread>,
    /// Height and width of the image it is taken from.
    pub source: [usize; 2],
    /// How many columns of the image lie between neighbours in a phase.
    pub step: usize,
    /// How many phases are kept; at most `step`.
    pub phases: usize,
    /// The pixel at row 0, column 0; outside the image if negative.
    pub origin: [isize; 2],
    /// How many rows.
    pub rows: usize,
    /// Columns of each phase.
    pub columns: usize,
}

/// Each register of filters has a block for each channel of a group. In block j, lane t holds what filter t sees in it:
/// channel t / `filters` · `channels` + j of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many channels a group of the image has.
    pub channels: usize,
    /// How many neighbouring lanes see the same group.
    pub filters: usize,
}

impl Spread {
    /// `None` if the filters of a group are enough for a register of their own, or all groups together fill none.
    pub fn new(groups: usize, channels: usize, filters: usize) -> Option<Self> {
        let is_thin = filters <= SPREAD_FILTERS && groups * filters >= MAX_LANES;
        let is_depthwise = channels == 1 && filters == 1;
        (groups > 1 && (is_thin || is_depthwise)).then_some(Self { channels, filters })
    }
}

impl Strip {
    /// The strip of the first row of positions of a correlation. A pixel of the source has `pixel` channels.
    pub fn new([rows, columns]: [Axis; 2], channels: usize, block: usize, pixel: usize) -> Self {
        let step = columns.source_step();
        Self {
            channels,
            pixel,
            block,
            spread: None,
            source: [rows.source, columns.source],
            step,
            phases: step.min(1 + columns.reach()),
            origin: [rows.origin(), columns.origin()],
            rows: 1 + rows.reach(),
            columns: columns.positions() + columns.reach() / step,
        }
    }

    /// The strip of what each of some filters sees: of as many registers of them as an image may fill the second-level cache
    /// with.
    pub fn spread(axes: [Axis; 2], spread: Spread, pixel: usize, filters: usize) -> Self {
        let strip = Self { spread: Some(spread), ..Self::new(axes, MAX_LANES, MAX_LANES, pixel) };
        let rows = axes[0].source.saturating_mul(spread.channels);
        let image = strip.line().saturating_mul(rows).saturating_mul(size_of::<f32>());
        let registers = (STRIP_BYTES / image.max(1)).clamp(1, filters.div_ceil(MAX_LANES));
        Self { channels: registers * MAX_LANES, ..strip }
    }

    /// The strip of number `index` of an image, and its first channel; or its first filter of `filters`, if the channels are
    /// spread.
    pub fn number(&self, index: usize, filters: usize) -> (Self, usize) {
        let first = index * self.channels;
        let channels = self.spread.map_or(self.channels, |_| self.channels.min(filters - first));
        (Self { channels, ..*self }, first)
    }

    /// The same in blocks of whole registers.
    pub fn padded(&self) -> Self {
        Self { block: self.block.next_multiple_of(MAX_LANES), ..*self }
    }

    /// From row to row.
    pub fn row(&self) -> usize {
        self.phases.saturating_mul(self.columns).saturating_mul(self.block)
    }

    /// Into how many blocks the channels are cut.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(self.block.max(1)) * self.layers()
    }

    /// How many blocks have the same lanes.
    pub fn layers(&self) -> usize {
        self.spread.map_or(1, |spread| spread.channels)
    }

    /// The channels of a block, or the lanes over which they are spread; there may be fewer in the last.
    pub fn channels_of(&self, block: usize) -> Range<usize> {
        let block = block / self.layers().max(1);
        block * self.block..self.channels.min((block + 1) * self.block)
    }

    /// How many numbers one row takes in all blocks together.
    pub fn line(&self) -> usize {
        self.blocks().saturating_mul(self.row())
    }

    /// How many numbers the strip takes.
    pub fn len(&self) -> usize {
        self.line().saturating_mul(self.rows)
    }

    /// Where a block's pixel lies that is `distance` rows and columns of the image from the one at the origin.
    pub fn offset(&self, block: usize, distance: [usize; 2]) -> usize {
        let column = distance[1] % self.step * self.columns + distance[1] / self.step;
        (block * self.rows + distance[0]) * self.row() + column * self.block
    }

    /// The columns of a phase that lie in the image.
    fn inside(&self, phase: usize) -> Range<usize> {
        let first = self.origin[1] + phase as isize;
        let reach = |pixels: isize| (pixels.max(0) as usize).div_ceil(self.step).min(self.columns);
        let start = reach(-first);
        start..reach(self.source[1] as isize - first).max(start)
    }
}

/// Fills a strip from an image.
pub struct Fill<'a, T> {
    /// The layout.
    pub strip: Strip,
    /// The image, row after row of pixels.
    pub image: &'a [T],
    /// The first of the channels, or the first of the filters over which they are spread.
    pub channel: usize,
    /// The strip's memory.
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Fill<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Self { strip, image, channel, to } = self;
        let [height, width] = strip.source;
        for row in 0..strip.rows {
            let line = strip.origin[0] + row as isize;
            let inside = (0..height as isize).contains(&line);
            for phase in 0..strip.phases {
                let columns = if inside { strip.inside(phase) } else { 0..0 };
                let pixel = (strip.origin[1] + (phase + columns.start * strip.step) as isize).max(0) as usize;
                let from = if columns.is_empty() {
                    &[]
                } else {
                    &image[(line as usize * width + pixel) * strip.pixel..]
                };
                for block in 0..strip.blocks() {
                    let start =
                        (block * strip.rows + row) * strip.row() + phase * strip.columns * strip.block;
                    let to = &mut to[start..][..strip.columns * strip.block];
                    to[..columns.start * strip.block].fill(T::zero());
                    to[columns.end * strip.block..].fill(T::zero());
                    let to = &mut to[columns.start * strip.block..columns.end * strip.block];
                    match strip.spread {
                        Some(Spread { channels, filters }) if channels * filters > 1 => {
                            let lanes = strip.channels_of(block);
                            let sources = sources(channel + lanes.start, lanes.len(), filters)
                                .map(|group| group * channels + block % channels);
                            let step = strip.step * strip.pixel;
                            match filters {
                                1 | 3 => spread::<T, 1>(&sources, step, from, to),
                                2 => spread::<T, 2>(&sources, step, from, to),
                                4 => spread::<T, 4>(&sources, step, from, to),
                                _ => unreachable!("groups with more filters are not spread"),
                            }
                        }
                        _ => {
                            let channels = strip.channels_of(block);
                            let channels = channel + channels.start..channel + channels.end;
                            // SAFETY: `dispatch` vouches for the instruction set.
                            unsafe { copy::<T, V>(&strip, channels, from, to) }
                        }
                    }
                }
            }
        }
    }
}

/// The group that each of some filters belongs to, from filter `first` on. Lanes beyond the last have its group.
#[inline(always)]
fn sources(first: usize, count: usize, filters: usize) -> [usize; MAX_LANES] {
    let (mut group, mut next) = (first / filters, first % filters);
    let mut groups = [0; MAX_LANES];
    for lane in 0..MAX_LANES {
        groups[lane] = group;
        if lane + 1 < count {
            next += 1;
            (group, next) = if next == filters { (group + 1, 0) } else { (group, next) };
        }
    }
    groups
}

/// Spreads channels over lanes, for successive pixels `step` numbers apart. `LANES` neighbours hold the same.
#[inline(always)]
fn spread<T: Real, const LANES: usize>(sources: &[usize; MAX_LANES], step: usize, from: &[T], to: &mut [T]) {
    for (column, to) in to.chunks_exact_mut(MAX_LANES).enumerate() {
        let pixel = &from[column * step..];
        for (to, sources) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(sources.as_chunks::<LANES>().0) {
            *to = [pixel[sources[0]]; LANES];
        }
    }
}

/// Copies some channels of successive pixels of a phase, and 0 for those that a block lacks.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
unsafe fn copy<T: Real, V: Vector<T>>(strip: &Strip, channels: Range<usize>, from: &[T], to: &mut [T]) {
    if to.is_empty() {
        return;
    }
    if strip.pixel == strip.block && strip.channels == strip.block && strip.step == 1 {
        return to.copy_from_slice(&from[..to.len()]);
    }
    let step = strip.step * strip.pixel;
    assert!((to.len() / strip.block - 1) * step + channels.end <= from.len());
    for start in (0..strip.block).step_by(V::LANES) {
        let count = channels.len().saturating_sub(start).min(V::LANES);
        let room = V::LANES.min(strip.block - start);
        for column in 0..to.len() / strip.block {
            let pixel = from.as_ptr().wrapping_add(column * step + channels.start + start);
            // SAFETY: `count` channels are left in the pixel, which is inside, and `room` numbers in its block.
            unsafe {
                V::load_first(pixel, count)
                    .store_first(to.as_mut_ptr().add(column * strip.block + start), room);
            }
        }
    }
}
