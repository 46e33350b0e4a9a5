//! The gradient in the weights: image and upstream are transformed, and their products at the points summed over tiles.
//!
//! A task sums over the images of one row of the result, for some channels and some filters, so many that their
//! sums stay in the second-level cache.

use std::ops::Range;

use super::filter_transform::WeightGradTransform;
use super::input_transform::{Images, InputTransform, lines};
use super::multiply::WeightGradProducts;
use super::tiles::{FilterPanels, TileBuffer, Tiles};
use super::transforms::{FilterAxis, InputAxis, OUTPUTS};
use crate::conv::Convolution;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::tuning::{
    WINOGRAD_GRAD_BLOCK_BYTES, WINOGRAD_GRAD_MANY_TILES, WINOGRAD_GRAD_MOST_TILES, WINOGRAD_GRAD_SUMS_BYTES,
};
use crate::window::Window;
use crate::workers::{Local, Parts, Split, Workers, even_part};

/// Computes one row of sums for every `images_per_row` consecutive images.
pub fn sums<T: Real, const R: usize, const N: usize>(
    sizes: &Convolution,
    (image, upstream): (&[T], &[T]),
    images_per_row: usize,
    out: &mut [T],
    workers: &Workers,
) {
    let images_per_row = images_per_row.clamp(1, sizes.batch.max(1));
    let rows = sizes.batch.div_ceil(images_per_row);
    let (parts, block) = plan(sizes, [rows, images_per_row], N * N * size_of::<T>(), workers.threads());
    let Convolution { channels, filters, window: Window { padding, .. }, .. } = *sizes;
    let images = [
        Images { numbers: image, size: sizes.image, channels, padding },
        Images { numbers: upstream, size: sizes.output, channels: filters, padding: [0; 2] },
    ];
    let (out, each) = (Parts::new(out), Tiles::new(sizes.output).each());
    workers.run(rows * parts[0] * parts[1], &|index, local| {
        let (row, part) = (index / (parts[0] * parts[1]), index % (parts[0] * parts[1]));
        let some =
            [part_of(channels, parts[0], part / parts[1]), part_of(filters, parts[1], part % parts[1])];
        if some.iter().any(Range::is_empty) {
            return;
        }
        let end = sizes.batch.min((row + 1) * images_per_row);
        let tiles = row * images_per_row * each..end * each;
        // SAFETY: rows are as long, and each task writes to channels and filters of its own.
        unsafe {
            let to = out.start().add(row * R * R * channels * filters);
            task::<T, R, N>(workers.isa(), images, some, tiles, block, to, local);
        }
    });
}

/// Into how many parts channels and filters are cut, and how many tiles a block has, where a channel of a tile takes so
/// many bytes at the points. The blocks decide the order of each sum, so they depend on neither registers nor threads.
fn plan(
    sizes: &Convolution,
    [rows, images_per_row]: [usize; 2],
    bytes: usize,
    threads: usize,
) -> ([usize; 2], usize) {
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
    (parts, block)
}

/// A part of all channels, in whole registers.
fn part_of(all: usize, parts: usize, part: usize) -> Range<usize> {
    let registers = even_part(all.div_ceil(MAX_LANES), parts, part);
    registers.start * MAX_LANES..all.min(registers.end * MAX_LANES)
}

/// Sums over some tiles, at most `most` at a time, for some channels and filters. Writes the gradients in the weights into
/// a row of them that begins at `to`.
///
/// # Safety
/// There must be a whole row, and nobody else may use this task's part of it.
unsafe fn task<T: Real, const R: usize, const N: usize>(
    isa: Isa,
    [image, upstream]: [Images<T>; 2],
    [channels, filters]: [Range<usize>; 2],
    all: Range<usize>,
    most: usize,
    to: *mut T,
    local: &mut Local,
) {
    let (tiles, lanes) = (Tiles::new(upstream.size), isa.lanes::<T>());
    let (buffer, panels) =
        (TileBuffer::new(N * N, most, lanes), FilterPanels { filters: filters.len(), lanes });
    let registers = [&channels, &filters].map(|some| some.len().div_ceil(lanes));
    // How many sums a register of channels and one of filters have; one row more at each point than needed keeps the
    // points apart in the cache.
    let sums_per_pair = N * N * (lanes + 1) * lanes;
    // Transformed columns, a block of image and of upstream at the points, and the sums, [register of channels, panel of
    // filters, point, channel, filter].
    let [image_points, upstream_points] = registers.map(|count| count * buffer.register);
    let lens = [lines(N), image_points, upstream_points, registers[0] * registers[1] * sums_per_pair];
    local.reserve(lens.iter().map(|&len| Split::bytes::<T>(len)).sum());
    let mut split = local.split();
    let [lines, image_points, upstream_points, sums] = lens.map(|len| split.take(len));
    let pairs =
        || (0..registers[0]).flat_map(|register| (0..panels.count()).map(move |panel| (register, panel)));
    // Where the sums of a pair start, and how far it is from point to point.
    let sums_of = |register: usize, panel: usize| {
        let before = register * registers[1] + 2 * panel;
        (before * sums_per_pair, panels.registers(panel) * lanes * (lanes + 1))
    };
    if all.is_empty() {
        sums.fill(T::zero());
    }
    for first in all.clone().step_by(most) {
        let block = first..all.end.min(first + most);
        isa.dispatch(InputTransform::<T, _, N, N> {
            images: image,
            axis: InputAxis,
            channels: channels.clone(),
            tiles,
            block: block.clone(),
            buffer,
            lines,
            to: image_points,
        });
        isa.dispatch(InputTransform::<T, _, OUTPUTS, N> {
            images: upstream,
            axis: FilterAxis,
            channels: filters.clone(),
            tiles,
            block: block.clone(),
            buffer,
            lines,
            to: upstream_points,
        });
        for (register, panel) in pairs() {
            let (start, out_point) = sums_of(register, panel);
            let products = WeightGradProducts {
                left: image_points[register * buffer.register..].as_ptr(),
                right: upstream_points[2 * panel * buffer.register..].as_ptr(),
                buffer,
                out: sums[start..].as_mut_ptr(),
                out_point,
                points: N * N,
                tiles: block.len(),
                is_first: first == all.start,
            };
            // SAFETY: image, upstream and sums hold all points of these channels, filters and tiles.
            unsafe { products.run(isa, panels.registers(panel)) };
        }
    }
    for (register, panel) in pairs() {
        let (start, point) = sums_of(register, panel);
        let (channel, some) = (channels.start + register * lanes, panels.filters(panel));
        // SAFETY: the sums hold all points; the caller vouches for the target.
        unsafe {
            isa.dispatch(WeightGradTransform::<T, R, N> {
                from: sums.as_ptr().add(start),
                point,
                width: panels.registers(panel) * lanes,
                filters: some.len(),
                channels: lanes.min(channels.end - channel),
                to: to.add(channel * upstream.channels + filters.start + some.start),
                channel: upstream.channels,
                tap: image.channels * upstream.channels,
            });
        }
    }
}
