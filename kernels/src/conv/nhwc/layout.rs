//! From one layout of images to the other: NCHW, plane after plane, and NHWC, pixel after pixel.

use crate::gemm::pack::Transpose;
use crate::real::Real;
use crate::workers::Workers;

/// Images [channels, pixels] become [pixels, channels].
#[inline(never)]
pub fn nchw_to_nhwc<T: Real>(
    batch: usize,
    channels: usize,
    pixels: usize,
    from: &[T],
    to: &mut [T],
    workers: &Workers,
) {
    transpose([batch, channels, pixels], from, to, workers);
}

/// Images [pixels, channels] become [channels, pixels].
#[inline(never)]
pub fn nhwc_to_nchw<T: Real>(
    batch: usize,
    channels: usize,
    pixels: usize,
    from: &[T],
    to: &mut [T],
    workers: &Workers,
) {
    transpose([batch, pixels, channels], from, to, workers);
}

/// Transposes a batch of matrices. A task is one of them.
fn transpose<T: Real>([batch, rows, columns]: [usize; 3], from: &[T], to: &mut [T], workers: &Workers) {
    debug_assert_eq!([from.len(), to.len()], [batch * rows * columns; 2]);
    workers.chunks(to, rows * columns, &|matrix, to, _| {
        let from = &from[matrix * rows * columns..][..rows * columns];
        if rows == 1 || columns == 1 {
            to.copy_from_slice(from);
        } else {
            workers.isa().dispatch(Transpose { from, stride: columns, columns: rows, width: rows, to });
        }
    });
}
