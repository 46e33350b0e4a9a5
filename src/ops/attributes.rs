//! The attributes that convolutions and poolings share.

use crate::shape::{Pair, Remainder, Window};

/// Zeros around the image that a convolution sees.
///
/// One number stands for all sides, a pair for `[vertical, horizontal]`, and a pair of pairs for
/// `[[top, bottom], [left, right]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// None: the window stays within the image.
    Valid,
    /// As much as makes an output of ⌈H / S⌉. What cannot be halved goes to the bottom and the right.
    Same,
    /// `[[top, bottom], [left, right]]`.
    Explicit([[usize; 2]; 2]),
}

impl From<usize> for Padding {
    fn from(all: usize) -> Self {
        Self::Explicit([[all; 2]; 2])
    }
}

impl From<[usize; 2]> for Padding {
    fn from(pair: [usize; 2]) -> Self {
        Self::Explicit(pair.map(|both| [both; 2]))
    }
}

impl From<[[usize; 2]; 2]> for Padding {
    fn from(sides: [[usize; 2]; 2]) -> Self {
        Self::Explicit(sides)
    }
}

/// How a convolution's window moves: stride 1, neighbouring pixels, one group and no padding unless said otherwise.
///
/// Pairs are `[vertical, horizontal]`; one number stands for both.
///
/// ```
/// use dagrad::{Conv2dOptions, Padding};
/// let options = Conv2dOptions::new().stride([2, 1]).padding(1);
/// let dilated = Conv2dOptions::new().dilation(2).padding(Padding::Same);
/// let depthwise = Conv2dOptions::new().groups(32).padding([[0, 1], [0, 1]]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    pub(crate) groups: usize,
    remainder: Remainder,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        let remainder = Remainder::Dropped;
        Self { stride: [1; 2], padding: Padding::Valid, dilation: [1; 2], groups: 1, remainder }
    }
}

impl Conv2dOptions {
    /// Stride 1, no padding, dilation 1, one group.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pixels the window moves at a time.
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// How many zeros are added on each side.
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// How far apart in the image the pixels that the window sees are: 1 for neighbours.
    pub fn dilation(self, dilation: impl Into<Pair>) -> Self {
        Self { dilation: dilation.into().0, ..self }
    }

    /// Into how many groups channels and filters are cut. The filters of a group see the channels of that group only.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Makes it an error if the stride leaves pixels over (by default they are not visited).
    pub fn exact(self) -> Self {
        Self { remainder: Remainder::Refused, ..self }
    }

    /// The window of a given size that moves so over an image of a given size.
    pub fn window(self, kernel: [usize; 2], image: [usize; 2]) -> Window {
        let (dilation, remainder) = (self.dilation, self.remainder);
        let window = Window { dilation, remainder, ..Window::new(kernel, self.stride, [0; 2]) };
        let sides = match self.padding {
            Padding::Valid => [[0; 2]; 2],
            Padding::Same => [0, 1].map(|axis| same(&window, axis, image[axis])),
            Padding::Explicit(sides) => sides,
        };
        Window {
            padding: sides.map(|[before, _]| before),
            padding_after: sides.map(|[_, after]| after),
            ..window
        }
    }

    /// The same along rows, for images of one row: what is said of the vertical axis does not count.
    pub(super) fn of_one_row(self) -> Self {
        let padding = match self.padding {
            Padding::Explicit(sides) => Padding::Explicit([[0; 2], sides[1]]),
            other => other,
        };
        Self { stride: [1, self.stride[1]], padding, dilation: [1, self.dilation[1]], ..self }
    }

    /// The image of which a window, so moved, makes an output of this size, with `more` rows and columns at the end that no window
    /// covers. `None` if it would be beyond any address, or all of it padding.
    pub(super) fn image_size(
        self,
        kernel: [usize; 2],
        output: [usize; 2],
        more: [usize; 2],
    ) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            if self.padding == Padding::Same {
                return output[axis].checked_mul(self.stride[axis]);
            }
            let window = self.window(kernel, [0; 2]);
            let last = output[axis].checked_sub(1)?.checked_mul(self.stride[axis])?;
            let padded = last.checked_add(window.extent()[axis])?.checked_add(more[axis])?;
            padded.checked_sub(window.padding[axis].checked_add(window.padding_after[axis])?)
        };
        Some([along(0)?, along(1)?])
    }
}

/// The padding before and after with which a window has ⌈H / S⌉ positions along an axis. (A stride of 0 is refused
/// where the window is used.)
fn same(window: &Window, axis: usize, size: usize) -> [usize; 2] {
    let stride = window.stride[axis].max(1);
    let last = size.div_ceil(stride).saturating_sub(1) * stride;
    let total = last.saturating_add(window.extent()[axis]).saturating_sub(size);
    [total / 2, total - total / 2]
}

/// A pooling's window: its size, and how it moves (by its own size unless said otherwise).
///
/// Pairs are `[vertical, horizontal]`; one number stands for both. A size alone converts:
/// `x.max_pool2d(2)` is `x.max_pool2d(Pool2dOptions::new(2))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dOptions {
    window: Window,
    pub(super) count_include_pad: bool,
}

impl Pool2dOptions {
    /// A window of this size, moving by its size, without padding.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        let kernel = kernel.into().0;
        Self { window: Window::new(kernel, kernel, [0; 2]), count_include_pad: true }
    }

    /// How many pixels the window moves at a time.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.window.stride = stride.into().0;
        self
    }

    /// How many pixels are added on each side, at most half the window's extent: −∞ for a maximum, 0 for a mean.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.window.padding = padding.into().0;
        self.window.padding_after = self.window.padding;
        self
    }

    /// How far apart in the image the pixels that the window sees are: 1 for neighbours.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.window.dilation = dilation.into().0;
        self
    }

    /// Covers pixels that the stride leaves over at the end with one more window, as far as there are any (by default
    /// they are not visited).
    pub fn ceil_mode(mut self) -> Self {
        self.window.remainder = Remainder::Covered;
        self
    }

    /// Whether padding counts as zeros of which a mean is taken too (the default), or a mean is of true pixels only.
    pub fn count_include_pad(self, count_include_pad: bool) -> Self {
        Self { count_include_pad, ..self }
    }

    /// Makes it an error if the stride leaves pixels over (by default they are not visited).
    pub fn exact(mut self) -> Self {
        self.window.remainder = Remainder::Refused;
        self
    }

    /// The window.
    pub fn window(self) -> Window {
        self.window
    }
}

impl<P: Into<Pair>> From<P> for Pool2dOptions {
    fn from(kernel: P) -> Self {
        Self::new(kernel)
    }
}
