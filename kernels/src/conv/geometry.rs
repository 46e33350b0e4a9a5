//! Which pixels the taps of a window read, one axis at a time: all that follows from stride, dilation and padding.
//!
//! A correlation computes each number of its target from the numbers of its source that some taps read. Forward, the
//! source is the image and every output position sees all taps. The gradient in the image has the upstream as its
//! source: tap p carries the output position y to the pixel y · S + p · D − P. So the pixels fall into as many phases
//! as the stride, by the remainder of (pixel + P) / S. The pixels of a phase are reached by the same taps, and each
//! phase is a convolution of the upstream, of stride 1, by some of the weights from the last to the first.

use std::ops::Range;

use super::Convolution;
use crate::window::Window;

/// One axis of a correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Whether the target is the gradient in the image.
    is_input_grad: bool,
    kernel: usize,
    dilation: usize,
    stride: usize,
    padding: usize,
    /// How many numbers the source has along the axis.
    pub source: usize,
    /// How many the target has.
    pub target: usize,
}

/// The numbers of the target, along one axis, that the same taps reach.
#[derive(Debug, Clone)]
pub struct AxisPhase {
    /// The first of them.
    pub first: usize,
    /// Their positions.
    pub positions: Range<usize>,
    /// The taps.
    pub taps: Taps,
}

/// The taps of a phase along one axis, in the order of what they read in the source.
#[derive(Debug, Clone, Copy)]
pub struct Taps {
    /// How many there are.
    pub count: usize,
    /// What the first tap reads, counted from the first number that any tap reads at a position.
    pub offset: usize,
    /// The distance between what two neighbouring taps read.
    pub step: usize,
    /// The first tap, and the step to the next.
    first: usize,
    next: isize,
}

impl Taps {
    /// Which tap of the window the one at `index` is.
    pub fn tap(&self, index: usize) -> usize {
        (self.first as isize + index as isize * self.next) as usize
    }

    /// What the tap at `index` reads, counted from the first number that any tap reads at a position.
    pub fn offset(&self, index: usize) -> usize {
        self.offset + index * self.step
    }
}

impl Axis {
    /// From the image to the output.
    pub fn forward(sizes: &Convolution, axis: usize) -> Self {
        Self::new(sizes, axis, false)
    }

    /// From the upstream to the gradient in the image.
    pub fn input_grad(sizes: &Convolution, axis: usize) -> Self {
        Self::new(sizes, axis, true)
    }

    fn new(sizes: &Convolution, axis: usize, is_input_grad: bool) -> Self {
        let window = sizes.window;
        let (image, output) = (sizes.image[axis], sizes.output[axis]);
        let (source, target) = if is_input_grad { (output, image) } else { (image, output) };
        Self {
            is_input_grad,
            kernel: window.kernel[axis],
            dilation: window.dilation[axis],
            stride: window.stride[axis],
            padding: window.padding[axis],
            source,
            target,
        }
    }

    /// How far apart in the target the numbers of a phase are, which is how many phases there are.
    pub fn target_step(&self) -> usize {
        if self.is_input_grad { self.stride } else { 1 }
    }

    /// How far apart in the source a tap reads at neighbouring positions.
    pub fn source_step(&self) -> usize {
        if self.is_input_grad { 1 } else { self.stride }
    }

    /// From the first number of the source that any tap reads from a position to the last.
    pub fn reach(&self) -> usize {
        let reach = self.dilation * (self.kernel - 1);
        if self.is_input_grad { reach / self.stride } else { reach }
    }

    /// The first number of the source that any tap reads from position 0; in the padding if negative.
    pub fn origin(&self) -> isize {
        let padding = self.padding as isize;
        if self.is_input_grad { padding / self.stride as isize - self.reach() as isize } else { -padding }
    }

    /// How many positions all phases have together: as many as the longest has, or one more.
    pub fn positions(&self) -> usize {
        (self.before() + self.target).div_ceil(self.target_step()) - self.before() / self.target_step()
    }

    /// The numbers of the target that have some positions, in whichever phase.
    pub fn targets(&self, positions: &Range<usize>) -> Range<usize> {
        let step = self.target_step();
        let start = |position: usize| {
            ((self.before() / step + position) * step).saturating_sub(self.before()).min(self.target)
        };
        start(positions.start)..start(positions.end)
    }

    /// All phases, even those that no tap reaches.
    pub fn phases(self) -> impl Iterator<Item = AxisPhase> + Clone {
        (0..self.target_step().min(self.target)).map(move |first| self.phase(first))
    }

    /// The phase of the target's number `first`.
    fn phase(&self, first: usize) -> AxisPhase {
        let (before, step) = (self.before(), self.target_step());
        let start = (first + before) / step - before / step;
        let positions = start..start + (self.target - first).div_ceil(step);
        AxisPhase { first, positions, taps: self.taps((first + before) % step) }
    }

    /// The taps whose offset in the window leaves `remainder` if divided by the stride.
    fn taps(&self, remainder: usize) -> Taps {
        if !self.is_input_grad {
            return Taps { count: self.kernel, offset: 0, step: self.dilation, first: 0, next: 1 };
        }
        // Of so many taps one is in the phase.
        let common = common_divisor(self.dilation, self.stride);
        let one_of = self.stride / common;
        let first = (0..self.kernel.min(one_of)).find(|tap| tap * self.dilation % self.stride == remainder);
        let Some(first) = first else {
            return Taps { count: 0, offset: 0, step: 1, first: 0, next: 1 };
        };
        // From the last tap to the first, so that they move forward in the source.
        let count = (self.kernel - first).div_ceil(one_of);
        let last = first + (count - 1) * one_of;
        Taps {
            count,
            offset: self.reach() - last * self.dilation / self.stride,
            step: self.dilation / common,
            first: last,
            next: -(one_of as isize),
        }
    }

    /// How many positions of the target's grid lie before its first number.
    fn before(&self) -> usize {
        if self.is_input_grad { self.padding } else { 0 }
    }
}

fn common_divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Convolution {
    /// The taps along an axis that read a pixel of the image at an output position. For none, 0..0.
    pub(super) fn taps_inside(&self, axis: usize, position: usize) -> Range<usize> {
        let Window { kernel, dilation, stride, padding, .. } = self.window;
        let tap = |pixel: usize| pixel.saturating_sub(position * stride[axis]).div_ceil(dilation[axis]);
        let (start, end) = (tap(padding[axis]), tap(padding[axis] + self.image[axis]).min(kernel[axis]));
        if start < end { start..end } else { 0..0 }
    }

    /// The output positions along an axis from which a tap reads a pixel of the image. For none, 0..0.
    pub(super) fn positions_inside(&self, axis: usize, tap: usize) -> Range<usize> {
        let Window { dilation, stride, padding, .. } = self.window;
        let position = |pixel: usize| {
            pixel.saturating_sub(tap * dilation[axis]).div_ceil(stride[axis]).min(self.output[axis])
        };
        let (start, end) = (position(padding[axis]), position(padding[axis] + self.image[axis]));
        if start < end { start..end } else { 0..0 }
    }

    /// The pixel along an axis that a tap reads. If it reads the padding, any valid pixel.
    pub(super) fn pixel_along(&self, axis: usize, position: usize, tap: usize) -> usize {
        let padded = position * self.window.stride[axis] + tap * self.window.dilation[axis];
        padded.saturating_sub(self.window.padding[axis]).min(self.image[axis])
    }

    /// Where in a plane of a channel the pixel lies that a tap reads.
    pub(super) fn pixel(&self, channel: usize, position: [usize; 2], tap: [usize; 2]) -> usize {
        let [row, column] = [0, 1].map(|axis| self.pixel_along(axis, position[axis], tap[axis]));
        (channel * self.image[0] + row) * self.image[1] + column
    }
}
