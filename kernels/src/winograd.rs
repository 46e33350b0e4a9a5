//! Winograd's minimal filtering: convolutions with small square windows, by fewer multiplications.
//!
//! The output is cut into tiles of 4 × 4, each of which needs (4 + k − 1)² pixels. The pixels (input transform) and the
//! window's taps (filter transform) go to as many points, are multiplied point by point and summed over channels, and
//! the sums go back to outputs (output transform). That takes 36 multiplications instead of 144 for a window of 3 × 3,
//! and 100 instead of 784 for 7 × 7. The transforms are the same few lines for all windows; see `transforms`.
//!
//! Images are NHWC, so that a register holds channels of one pixel and no number ever changes lanes. Each sum is one chain
//! over the channels. In the gradient in the weights it is one over the tiles of a block, and the blocks' sums are added up
//! in order. Neither registers nor threads change that.

use super::conv::Convolution;
use super::gemm::Epilogue;
use super::real::Real;
use super::simd::MAX_LANES;
use super::workers::Workers;
use crate::tuning::{SCRATCH_BYTES, WINOGRAD_LEAST_TILES};
use correlation::{WinogradCorrelation, prepared};
use filter_transform::FilterStrides;
use output_transform::Gate;
use transforms::points;

mod blank;
mod correlation;
mod filter_transform;
mod input_transform;
mod multiply;
mod output_transform;
mod tiles;
mod transforms;
mod weight_grad;

/// Winograd's minimal filtering for one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winograd {
    sizes: Convolution,
}

/// Evaluates an expression in which a constant is the size of the window.
///
/// In double precision there is nothing to evaluate: derivatives are checked in it, by the direct sum.
macro_rules! by_window {
    ($winograd:expr, $window:ident => $value:expr) => {
        by_window!($winograd, $window of 3 5 7 => $value)
    };
    ($winograd:expr, $window:ident of $($size:literal)* => $value:expr) => {
        match $winograd.window() {
            _ if const { size_of::<T>() != size_of::<f32>() } => {
                unreachable!("Winograd's convolutions are in single precision")
            }
            $($size => {
                const $window: usize = $size;
                $value
            })*
            _ => unreachable!("`new` admits windows of 3, 5 and 7"),
        }
    };
}

impl Winograd {
    /// `None` unless the window is a dense square of 3, 5 or 7, moves by one pixel and has less padding than pixels;
    /// and where there are so many channels that a block of tiles is too much for a thread's scratch.
    pub fn new(sizes: &Convolution) -> Option<Self> {
        let window = sizes.window;
        let [size, width] = window.kernel;
        if !matches!(size, 3 | 5 | 7) || size != width {
            return None;
        }
        let is_unit_stride = sizes.is_dense()
            && window.stride == [1, 1]
            && window.padding.iter().all(|&padding| padding < size);
        // Points of a block in double precision, at most a register of channels more than there are.
        let room = SCRATCH_BYTES / (WINOGRAD_LEAST_TILES * size_of::<f64>() * points(size) * points(size));
        let fits = sizes.channels.max(sizes.filters).saturating_add(2 * MAX_LANES) <= room;
        (is_unit_stride && fits).then_some(Self { sizes: *sizes })
    }

    /// How many numbers the transformed weights have.
    pub fn prepared(&self) -> usize {
        prepared(points(self.window()), self.sizes.channels, self.sizes.filters)
    }

    /// Transforms weights, \[filters, channels, k, k\], for [`forward`](Self::forward).
    #[inline(never)]
    pub fn prepare<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!([weight.len(), out.len()], [self.sizes.weights(), self.prepared()]);
        let taps = self.window() * self.window();
        let source = FilterStrides { filter: self.sizes.channels * taps, channel: taps, is_rotated: false };
        by_window!(self, R => self.forward_sizes().prepare::<T, R, { points(R) }>((weight, source), out, workers));
    }

    /// How many numbers the weights transformed for [`input_grad`](Self::input_grad) have.
    pub fn prepared_input_grad(&self) -> usize {
        prepared(points(self.window()), self.sizes.filters, self.sizes.channels)
    }

    /// Transforms weights, \[filters, channels, k, k\], for [`input_grad`](Self::input_grad).
    #[inline(never)]
    pub fn prepare_input_grad<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!([weight.len(), out.len()], [self.sizes.weights(), self.prepared_input_grad()]);
        let taps = self.window() * self.window();
        let source = FilterStrides { filter: taps, channel: self.sizes.channels * taps, is_rotated: true };
        by_window!(self, R => self.input_grad_sizes().prepare::<T, R, { points(R) }>((weight, source), out, workers));
    }

    /// out\[n, y, x, o\] = ∑ image\[n, y + i − P, x + j − P, c\] · weight\[o, c, i, j\] over the channels c and the
    /// taps (i, j), and the epilogue of it; the bias is per filter.
    #[inline(never)]
    pub fn forward<T: Real>(
        &self,
        image: &[T],
        prepared: &[T],
        epilogue: Epilogue<T>,
        out: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(
            [image.len(), prepared.len(), out.len()],
            [self.sizes.images(), self.prepared(), self.sizes.outputs()]
        );
        debug_assert!(epilogue.bias.is_none_or(|bias| bias.len() == self.sizes.filters));
        let operands = (image, prepared);
        by_window!(self, R => self.forward_sizes().run::<T, { points(R) }>(operands, epilogue, out, workers));
    }

    /// The adjoint of [`forward`](Self::forward) in the image, which has the shape of `out`. Where there is a gate,
    /// also of that shape, numbers become 0 whose gate is ≤ 0.
    #[inline(never)]
    pub fn input_grad<T: Real>(
        &self,
        prepared: &[T],
        upstream: &[T],
        gate: Option<&[T]>,
        out: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(
            [upstream.len(), prepared.len(), out.len()],
            [self.sizes.outputs(), self.prepared_input_grad(), self.sizes.images()]
        );
        debug_assert!(gate.is_none_or(|gate| gate.len() == out.len()));
        let operands = (upstream, prepared);
        by_window!(self, R => self.input_grad_sizes().run::<T, { points(R) }>(operands, Gate(gate), out, workers));
    }

    /// The adjoint of [`forward`](Self::forward) in the weights, one row of sums for every `images_per_row` consecutive
    /// images: \[⌈batch / images_per_row⌉, k, k, channels, filters\]. The last row may have fewer images.
    #[inline(never)]
    pub fn weight_grad_sums<T: Real>(
        &self,
        image: &[T],
        upstream: &[T],
        images_per_row: usize,
        out: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!([image.len(), upstream.len()], [self.sizes.images(), self.sizes.outputs()]);
        debug_assert!(
            images_per_row > 0
                && out.len() == self.sizes.batch.div_ceil(images_per_row) * self.sizes.weights()
        );
        by_window!(self, R =>
            weight_grad::sums::<T, R, { points(R) }>(&self.sizes, (image, upstream), images_per_row, out, workers));
    }

    /// Forward.
    fn forward_sizes(&self) -> WinogradCorrelation {
        let Convolution { batch, channels, filters, image, output, window, .. } = self.sizes;
        WinogradCorrelation { batch, channels, filters, from: image, to: output, padding: window.padding }
    }

    /// The adjoint in the image. The window reaches beyond the upstream by what it was not padded by.
    fn input_grad_sizes(&self) -> WinogradCorrelation {
        let Convolution { batch, channels, filters, image, output, window, .. } = self.sizes;
        let padding = window.padding.map(|padding| self.window() - 1 - padding);
        WinogradCorrelation { batch, channels: filters, filters: channels, from: output, to: image, padding }
    }

    /// Height and width of the window.
    fn window(&self) -> usize {
        self.sizes.window.kernel[0]
    }
}
