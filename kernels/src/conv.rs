//! Convolution, by case.
//!
//! | case | kernel |
//! |---|---|
//! | dense, stride 1, square window of 3, 5 or 7, at least 8 channels and filters, at least 4,096 output positions in the batch, `f32` | [`Winograd`]: NHWC, fewer multiplications |
//! | any other: 1×1, strides, dilation, groups, few channels, an empty batch | [`Direct`]: NHWC; a 2×2 max pool may be part of the epilogue |
//! | at most 4 filters that see 16 channels or more | [`Direct`], whose sums are dot products |
//! | groups of at most 4 filters, depthwise ones too | [`Direct`], which multiplies registers of filters by registers of what they see |
//! | one row of output positions sees more than a thread's scratch holds | [`Convolution::forward`] and its adjoints: NCHW, loops by the definition, the reference for the others |
//!
//! [`select`] is this table. The three directions (forward, the gradient in the image, the gradient in the weights) of a
//! convolution have the same kernel. [`Convolution::im2col`] writes the matrix of patches out, for those who want it.
//!
//! Images are stored N C H W, or N H W C where that is said, and weights O C kh kw. The window slides without being
//! flipped, so in the terms of mathematics these are cross-correlations.

use crate::tuning::{WINOGRAD_CHANNELS, WINOGRAD_POSITIONS};
use crate::window::Window;
use crate::winograd::Winograd;
use nhwc::Direct;

mod geometry;
mod im2col;
pub mod nhwc;
mod reference;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// How many images there are.
    pub batch: usize,
    /// Into how many groups the channels are cut: a filter sees those of its own group only.
    pub groups: usize,
    /// How many channels a group of an image has.
    pub channels: usize,
    /// How many filters a group has, which is how many channels a group of the output has.
    pub filters: usize,
    /// Height and width of an image.
    pub image: [usize; 2],
    /// Height and width of the output: how many positions the window has.
    pub output: [usize; 2],
    /// The window.
    pub window: Window,
}

/// When Winograd's algorithm may be chosen. It rounds more coarsely than a direct sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WinogradUse {
    /// Where it pays.
    #[default]
    WherePaying,
    /// Wherever it applies and has channels enough.
    WherePossible,
    /// Nowhere.
    Never,
}

/// The kernel of a convolution. Of other batches than that it was chosen for the kernel is the same, made for their size.
#[allow(clippy::large_enum_variant)] // a plan has few of them
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// NHWC, by Winograd's minimal filtering, in single precision.
    Winograd(Winograd),
    /// NHWC, by the definition in registers.
    Direct(Direct),
    /// NCHW, by the definition in loops: [`Convolution::forward`] and its adjoints.
    Reference,
}

/// Which kernel a convolution gets; see the [table](self).
pub fn select(sizes: &Convolution, winograd: WinogradUse) -> Choice {
    let positions = sizes.batch.saturating_mul(sizes.output[0]).saturating_mul(sizes.output[1]);
    let is_wide = sizes.channels.min(sizes.filters) >= WINOGRAD_CHANNELS;
    let pays = match winograd {
        WinogradUse::WherePaying => is_wide && positions >= WINOGRAD_POSITIONS,
        WinogradUse::WherePossible => is_wide,
        WinogradUse::Never => false,
    };
    match Winograd::new(sizes).filter(|_| pays) {
        Some(winograd) => Choice::Winograd(winograd),
        None => Direct::new(sizes).map_or(Choice::Reference, Choice::Direct),
    }
}

impl Convolution {
    /// How many numbers a filter has, which is how many a patch has.
    fn taps(&self) -> usize {
        self.channels * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Whether all filters see all channels, and neighbouring pixels of them.
    pub fn is_dense(&self) -> bool {
        self.groups == 1 && self.window.dilation == [1; 2]
    }

    pub(crate) fn images(&self) -> usize {
        self.batch * self.groups * self.channels * self.image[0] * self.image[1]
    }

    pub(crate) fn weights(&self) -> usize {
        self.groups * self.filters * self.taps()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.batch * self.groups * self.filters * self.output[0] * self.output[1]
    }
}
