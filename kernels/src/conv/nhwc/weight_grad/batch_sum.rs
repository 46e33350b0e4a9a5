//! Adds up the rows of sums, and transposes the result to the layout of weights.

use std::ops::Range;

use crate::conv::Convolution;
use crate::gemm::pack::Transpose;
use crate::real::Real;
use crate::simd::{flush, vectorize};
use crate::tuning::{GRAD_TASK_FILTERS, GRAD_TASK_NUMBERS};
use crate::workers::{Parts, Split, Workers};

/// Adds rows [kh, kw, channels, filters] up in their order, and transposes the sum to [filters, channels, kh, kw]. The
/// filters are those of all groups.
#[inline(never)]
pub fn finish_weight_grad<T: Real>(
    sizes: &Convolution,
    rows: usize,
    sums: &[T],
    out: &mut [T],
    workers: &Workers,
) {
    let all_filters = sizes.groups * sizes.filters;
    let taps = sizes.channels * sizes.window.kernel[0] * sizes.window.kernel[1];
    debug_assert_eq!([sums.len(), out.len()], [rows * taps * all_filters, taps * all_filters]);
    let chunk = GRAD_TASK_NUMBERS / all_filters.clamp(1, GRAD_TASK_FILTERS);
    let (blocks, chunks) = (all_filters.div_ceil(GRAD_TASK_FILTERS), taps.div_ceil(chunk));
    let parts = Parts::new(out);
    workers.run(blocks * chunks, &|task, local| {
        let filters =
            task / chunks * GRAD_TASK_FILTERS..all_filters.min((task / chunks + 1) * GRAD_TASK_FILTERS);
        let chunk = task % chunks * chunk..taps.min((task % chunks + 1) * chunk);
        let (width, height) = (filters.len(), chunk.len());
        local.reserve(2 * Split::bytes::<T>(width * height));
        let mut split = local.split();
        let (total, transposed) = (split.take::<T>(width * height), split.take::<T>(width * height));
        vectorize(
            #[inline(always)]
            || add_up(sizes, rows, sums, [filters.clone(), chunk.clone()], total),
        );
        let from = Transpose { from: total, stride: width, columns: height, width: height, to: transposed };
        workers.isa().dispatch(from);
        for (filter, transposed) in filters.zip(transposed.chunks_exact(height)) {
            // SAFETY: the chunk of this filter is no other task's.
            unsafe { parts.slice(filter * taps + chunk.start, height) }.copy_from_slice(transposed);
        }
    });
}

/// Adds up some filters of a chunk of the numbers that a filter has, [channels, kh, kw]. They are gone through tap by
/// tap, as they lie in memory.
#[inline(always)]
fn add_up<T: Real>(
    sizes: &Convolution,
    rows: usize,
    sums: &[T],
    [filters, chunk]: [Range<usize>; 2],
    total: &mut [T],
) {
    let kernel = sizes.window.kernel[0] * sizes.window.kernel[1];
    let width = filters.len();
    total.fill(T::zero());
    for row in 0..rows {
        for first in chunk.start..chunk.end.min(chunk.start + kernel) {
            for index in (first..chunk.end).step_by(kernel) {
                let line = (row * kernel + index % kernel) * sizes.channels + index / kernel;
                let sums = &sums[line * sizes.groups * sizes.filters + filters.start..][..width];
                let total = &mut total[(index - chunk.start) * width..][..width];
                total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
            }
        }
    }
    total.iter_mut().for_each(|total| *total = flush(*total));
}
