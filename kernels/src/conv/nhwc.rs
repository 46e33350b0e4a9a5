//! Kernels on images NHWC, whose pixels lie one after the other, each with all its channels.
//!
//! So a register holds channels of one pixel, whatever the size of the image; a border or a stride costs no
//! lanes. [`Direct`] convolves such images by the definition: it copies a strip of the image with its padding,
//! once, and slides the weights over it in tiles that stay in registers. No sum depends on how many lanes a
//! register has, on how the work is cut into tasks, or on the number of threads.

use super::Convolution;
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::simd::MAX_LANES;
use crate::workers::Workers;
use correlation::StripCorrelation;
pub use layout::{nchw_to_nhwc, nhwc_to_nchw};
pub use weight_grad::finish_weight_grad;

mod correlation;
mod layout;
mod strip;
mod sweep;
mod weight_grad;

/// How many filters are prepared together.
const PANEL: usize = 2 * MAX_LANES;

/// Direct convolution of NHWC images, with any groups, stride, dilation and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct {
    sizes: Convolution,
    forward: StripCorrelation,
    input_grad: StripCorrelation,
}

impl Direct {
    /// `None` if not even one row of output positions, with all pixels that its windows cover, fits a thread's scratch.
    pub fn new(sizes: &Convolution) -> Option<Self> {
        let (forward, input_grad) = (StripCorrelation::forward(sizes), StripCorrelation::input_grad(sizes));
        let fits = forward.fits() && input_grad.fits() && weight_grad::fits(sizes);
        fits.then_some(Self { sizes: *sizes, forward, input_grad })
    }

    /// How many numbers the weights have as [`forward`](Self::forward) reads them.
    pub fn prepared(&self) -> usize {
        self.forward.prepared()
    }

    /// Arranges weights [groups · filters, channels, kh, kw] for [`forward`](Self::forward).
    #[inline(never)]
    pub fn prepare<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        self.forward.prepare(weight, out, workers);
    }

    /// How many numbers the weights have as [`input_grad`](Self::input_grad) reads them.
    pub fn prepared_input_grad(&self) -> usize {
        self.input_grad.prepared()
    }

    /// Arranges weights [groups · filters, channels, kh, kw] for [`input_grad`](Self::input_grad).
    #[inline(never)]
    pub fn prepare_input_grad<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        self.input_grad.prepare(weight, out, workers);
    }

    /// Images [N, H, W, C] to [N, H', W', F], and the epilogue of it; the bias is per filter.
    #[inline(never)]
    pub fn forward<T: Real>(
        &self,
        image: &[T],
        prepared: &[T],
        epilogue: Epilogue<T>,
        out: &mut [T],
        workers: &Workers,
    ) {
        self.forward.run((image, prepared), epilogue, None, out, workers);
    }

    /// Whether [`forward_pooled`](Self::forward_pooled) knows these sizes: not if few filters see many channels.
    pub fn pools(&self) -> bool {
        self.forward.pools()
    }

    /// As [`forward`](Self::forward), followed by a max pool of window 2×2 and stride 2: [N, ⌊H'/2⌋, ⌊W'/2⌋, F]. `indices`
    /// take the index y · W' + x of each maximum in its plane. Ties and NaN as in [`Pooling`](crate::pool::Pooling).
    #[inline(never)]
    pub fn forward_pooled<T: Real>(
        &self,
        image: &[T],
        prepared: &[T],
        epilogue: Epilogue<T>,
        out: &mut [T],
        indices: Option<&mut [u32]>,
        workers: &Workers,
    ) {
        self.forward.run_pooled((image, prepared), epilogue, out, indices, workers);
    }

    /// The adjoint of [`forward`](Self::forward) in the image: upstream [N, H', W', F] to [N, H, W, C]. Numbers
    /// whose `gate` is ≤ 0 become 0; a NaN lets them pass.
    #[inline(never)]
    pub fn input_grad<T: Real>(
        &self,
        prepared: &[T],
        upstream: &[T],
        gate: Option<&[T]>,
        out: &mut [T],
        workers: &Workers,
    ) {
        self.input_grad.run((upstream, prepared), Epilogue::default(), gate, out, workers);
    }

    /// The adjoint of [`forward`](Self::forward) in the weights, but for the sum over the batch: a row
    /// [kh, kw, channels, groups · filters] for every `images_per_row` consecutive images; the last row may have fewer.
    /// [`finish_weight_grad`] adds the rows up.
    #[inline(never)]
    pub fn weight_grad_sums<T: Real>(
        &self,
        image: &[T],
        upstream: &[T],
        images_per_row: usize,
        out: &mut [T],
        workers: &Workers,
    ) {
        weight_grad::sums(&self.sizes, (image, upstream), images_per_row, out, workers);
    }
}
