//! Convolution through im2col: the product of the weights with a matrix of patches.
//!
//! Row p of the patch matrix is the picture seen through tap p of the window, one number per place of the window.
//! [`Convolution::im2col`] writes that matrix out; the kernels do not. They copy a strip of the picture with its
//! padding, once, and let the matrix multiplication read each row of patches where it lies in the strip: shifted
//! by the tap's offset. All three directions are such products, and none sums over more than one thread.
//!
//! Pictures are stored N C H W and weights O C kh kw. The window slides without being flipped, so in the terms
//! of mathematics these are cross-correlations.

use super::gemm::Epilogue;
use super::real::Real;
use super::simd::Isa;
use super::workers::Workers;
use crate::window::Window;
use correlation::Correlation;

mod columns;
mod correlation;
mod plain;
mod strip;
mod weight;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// How many pictures there are.
    pub batch: usize,
    /// Into how many groups the channels are cut: a filter sees those of its own group only.
    pub groups: usize,
    /// How many channels a group of a picture has.
    pub channels: usize,
    /// How many filters a group has, which is how many channels a group of the output has.
    pub filters: usize,
    /// Height and width of a picture.
    pub image: [usize; 2],
    /// Height and width of the output: how many places the window has.
    pub output: [usize; 2],
    /// The window.
    pub window: Window,
}

impl Convolution {
    /// How many numbers of scratch [`forward`](Self::forward) needs.
    pub fn forward_scratch(&self) -> usize {
        correlation::scratch(self)
    }

    /// out\[n, o, y, x\] = ∑ image\[n, c, y·S + i·D − P, x·S + j·D − P\] · weight\[o, c, i, j\] over the channels c of
    /// the group and the taps (i, j), and the epilogue of it; the bias is per filter. Outside the picture is 0.
    #[inline(never)]
    pub fn forward<T: Real>(
        &self,
        image: &[T],
        weight: &[T],
        epilogue: Epilogue<T>,
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        self.forward_on(Isa::detect(), (image, weight), epilogue, out, scratch, workers);
    }

    fn forward_on<T: Real>(
        &self,
        isa: Isa,
        (image, weight): (&[T], &[T]),
        epilogue: Epilogue<T>,
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(
            [image.len(), weight.len(), out.len()],
            [self.images(), self.weights(), self.outputs()]
        );
        debug_assert!(epilogue.bias.is_none_or(|bias| bias.len() == self.groups * self.filters));
        match Correlation::forward(self).fit::<T>() {
            Some(plan) => plan.run(isa, (image, weight), epilogue, out, scratch, workers),
            None => plain::forward(self, (image, weight), epilogue, out, workers),
        }
    }

    /// How many numbers of scratch [`image_adjoint`](Self::image_adjoint) needs.
    pub fn image_adjoint_scratch(&self) -> usize {
        correlation::scratch(self)
    }

    /// The adjoint of [`forward`](Self::forward) in the picture: each number of `upstream` goes back to the pixels
    /// it came from, by the weights it came by. Pixels that no window reached become 0.
    #[inline(never)]
    pub fn image_adjoint<T: Real>(
        &self,
        weight: &[T],
        upstream: &[T],
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        self.image_adjoint_on(Isa::detect(), (weight, upstream), out, scratch, workers);
    }

    fn image_adjoint_on<T: Real>(
        &self,
        isa: Isa,
        (weight, upstream): (&[T], &[T]),
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(
            [out.len(), weight.len(), upstream.len()],
            [self.images(), self.weights(), self.outputs()]
        );
        match Correlation::adjoint(self).fit::<T>() {
            Some(plan) => plan.run(isa, (upstream, weight), Epilogue::default(), out, scratch, workers),
            None => plain::image_adjoint(self, (weight, upstream), out, workers),
        }
    }

    /// How many numbers of scratch [`weight_adjoint`](Self::weight_adjoint) needs.
    pub fn weight_adjoint_scratch(&self) -> usize {
        weight::scratch(self)
    }

    /// The adjoint of [`forward`](Self::forward) in the weights:
    /// out\[o, c, i, j\] = ∑ upstream\[n, o, y, x\] · image\[n, c, y·S + i·D − P, x·S + j·D − P\] over n, y and x.
    #[inline(never)]
    pub fn weight_adjoint<T: Real>(
        &self,
        image: &[T],
        upstream: &[T],
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        self.weight_adjoint_on(Isa::detect(), (image, upstream), out, scratch, workers);
    }

    fn weight_adjoint_on<T: Real>(
        &self,
        isa: Isa,
        (image, upstream): (&[T], &[T]),
        out: &mut [T],
        scratch: &mut [T],
        workers: &Workers,
    ) {
        debug_assert_eq!(
            [image.len(), out.len(), upstream.len()],
            [self.images(), self.weights(), self.outputs()]
        );
        match weight::Plan::new::<T>(self) {
            Some(plan) => plan.run(isa, (image, upstream), out, scratch, workers),
            None => plain::weight_adjoint(self, (image, upstream), out, workers),
        }
    }

    /// How many numbers a filter has, which is how many a patch has.
    fn taps(&self) -> usize {
        self.channels * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Whether all filters see all channels, and neighbouring pixels of them.
    pub fn is_dense(&self) -> bool {
        self.groups == 1 && self.window.dilation == [1; 2]
    }

    fn images(&self) -> usize {
        self.batch * self.groups * self.channels * self.image[0] * self.image[1]
    }

    fn weights(&self) -> usize {
        self.groups * self.filters * self.taps()
    }

    fn outputs(&self) -> usize {
        self.batch * self.groups * self.filters * self.output[0] * self.output[1]
    }
}

#[cfg(test)]
mod tests;
