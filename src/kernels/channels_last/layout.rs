//! Between the two orders of a picture: plane after plane, and pixel after pixel.

use crate::kernels::gemm::pack::Transpose;
use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, flush, vectorize};
use crate::kernels::workers::{Split, Workers};

/// Pictures [channels, pixels] become [pixels, channels].
pub fn to_channels_last<T: Real>(
    batch: usize,
    channels: usize,
    pixels: usize,
    from: &[T],
    to: &mut [T],
    workers: &Workers,
) {
    transpose([batch, channels, pixels], from, to, workers);
}

/// Pictures [pixels, channels] become [channels, pixels].
pub fn to_channels_first<T: Real>(
    batch: usize,
    channels: usize,
    pixels: usize,
    from: &[T],
    to: &mut [T],
    workers: &Workers,
) {
    transpose([batch, pixels, channels], from, to, workers);
}

/// Turns a batch of matrices the other way round. A task is one of them.
fn transpose<T: Real>([batch, rows, columns]: [usize; 3], from: &[T], to: &mut [T], workers: &Workers) {
    debug_assert_eq!([from.len(), to.len()], [batch * rows * columns; 2]);
    workers.chunks(to, rows * columns, &|matrix, to, _| {
        let from = &from[matrix * rows * columns..][..rows * columns];
        if rows == 1 || columns == 1 {
            to.copy_from_slice(from);
        } else {
            Isa::detect().dispatch(Transpose { from, stride: columns, columns: rows, width: rows, to });
        }
    });
}

/// As many numbers are added up side by side, at least.
const SIDE_BY_SIDE: usize = 64;

/// The sum of each channel over the pixels of each picture: [batch, pixels, channels] becomes [batch, channels].
/// Every so many pixels are a partial sum, and these are added in their order.
pub fn channel_sums<T: Real>(
    batch: usize,
    pixels: usize,
    channels: usize,
    from: &[T],
    out: &mut [T],
    workers: &Workers,
) {
    debug_assert_eq!([from.len(), out.len()], [batch * pixels * channels, batch * channels]);
    let side = channels * SIDE_BY_SIDE.div_ceil(channels.max(1));
    workers.chunks(out, channels, &|picture, out, local| {
        let from = &from[picture * pixels * channels..][..pixels * channels];
        local.reserve(Split::bytes::<T>(side));
        let sums = local.slice::<T>(side);
        sums.fill(T::zero());
        vectorize(
            #[inline(always)]
            || {
                for from in from.chunks(side) {
                    sums.iter_mut().zip(from).for_each(|(sum, &number)| *sum += number);
                }
                out.fill(T::zero());
                for sums in sums.chunks_exact(channels) {
                    out.iter_mut().zip(sums).for_each(|(out, &sum)| *out += sum);
                }
                out.iter_mut().for_each(|out| *out = flush(*out));
            },
        );
    });
}
