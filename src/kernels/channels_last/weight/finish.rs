//! Adding up the rows of sums, and turning the result to the layout of weights.

use crate::kernels::conv::Convolution;
use crate::kernels::gemm::pack::Transpose;
use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, MAX_LANES, flush, vectorize};
use crate::kernels::workers::{Parts, Split, Workers};

/// How many rows of sums are turned at a time.
const TURNED_ROWS: usize = 1 << 10;

/// Adds rows [kh, kw, channels, filters] up in their order, and turns the sum into [filters, channels, kh, kw].
pub fn finish_weight_sums<T: Real>(
    sizes: &Convolution,
    rows: usize,
    sums: &[T],
    out: &mut [T],
    workers: &Workers,
) {
    let Convolution { channels, filters, window, .. } = *sizes;
    let kernel = window.kernel[0] * window.kernel[1];
    let taps = kernel * channels;
    debug_assert_eq!([sums.len(), out.len()], [rows * taps * filters, taps * filters]);
    let (blocks, chunks) = (filters.div_ceil(MAX_LANES), taps.div_ceil(TURNED_ROWS));
    let parts = Parts::new(out);
    workers.run(blocks * chunks, &|task, local| {
        let filter = task / chunks * MAX_LANES..filters.min((task / chunks + 1) * MAX_LANES);
        let chunk = task % chunks * TURNED_ROWS..taps.min((task % chunks + 1) * TURNED_ROWS);
        local.reserve(2 * Split::bytes::<T>(TURNED_ROWS * MAX_LANES));
        let mut split = local.split();
        let total = split.take::<T>(chunk.len() * filter.len());
        let turned = split.take::<T>(chunk.len() * filter.len());
        total.fill(T::zero());
        vectorize(
            #[inline(always)]
            || {
                // Row `index` of the chunk is channel index / kernel, tap index mod kernel.
                for (total, index) in total.chunks_exact_mut(filter.len()).zip(chunk.clone()) {
                    let start = (index % kernel * channels + index / kernel) * filters + filter.start;
                    for row in 0..rows {
                        let sums = &sums[row * taps * filters + start..][..filter.len()];
                        total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
                    }
                }
                total.iter_mut().for_each(|total| *total = flush(*total));
            },
        );
        Isa::detect().dispatch(Transpose {
            from: total,
            stride: filter.len(),
            columns: chunk.len(),
            width: chunk.len(),
            to: turned,
        });
        for (filter, turned) in filter.zip(turned.chunks_exact(chunk.len())) {
            // SAFETY: the chunk of this filter is no other task's.
            unsafe { parts.slice(filter * taps + chunk.start, chunk.len()) }.copy_from_slice(turned);
        }
    });
}
