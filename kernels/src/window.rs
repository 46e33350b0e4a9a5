//! The window of convolutions and poolings.

use std::ops::Range;

use crate::problem::Problem;

/// A window that slides over the last two axes of an image: `[vertical, horizontal]` throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many rows and columns of pixels the window sees.
    pub kernel: [usize; 2],
    /// How far apart in the image these are: 1 for neighbours.
    pub dilation: [usize; 2],
    /// How far the window moves between two outputs.
    pub stride: [usize; 2],
    /// How many pixels are added before the first one along each axis.
    pub padding: [usize; 2],
    /// How many are added after the last one.
    pub padding_after: [usize; 2],
    /// What becomes of pixels at the end that a stride leaves over.
    pub remainder: Remainder,
}

/// What becomes of pixels at the end that the steps of a window leave over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Remainder {
    /// They are not visited.
    #[default]
    Dropped,
    /// One more window covers them, which reaches beyond the padded image; unless it would see nothing but padding.
    Covered,
    /// They are an error.
    Refused,
}

impl Window {
    /// A window of neighbouring pixels that moves by `stride`, over an image with `padding` on both sides.
    pub const fn new(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Self {
        let remainder = Remainder::Dropped;
        Self { kernel, dilation: [1; 2], stride, padding, padding_after: padding, remainder }
    }

    /// Whether it sees neighbouring pixels and keeps within the padded image.
    pub fn is_plain(&self) -> bool {
        self.dilation == [1; 2] && self.remainder != Remainder::Covered
    }

    /// From the first pixel that the window sees to the last: D · (F − 1) + 1.
    pub fn extent(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let others = self.kernel[axis].saturating_sub(1);
            self.dilation[axis].saturating_mul(others).saturating_add(1)
        })
    }

    /// The part of an image's `size` pixels along `axis` that a window of neighbouring pixels covers at `position`.
    pub fn covered(&self, axis: usize, position: usize, size: usize) -> Range<usize> {
        let start = position * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]);
        start.saturating_sub(self.padding[axis]).min(size)..end.min(size)
    }

    /// Which of some positions along a row see a pixel of an image so wide at `offset` from the window's left.
    #[inline(always)]
    pub(super) fn positions_inside(
        &self,
        offset: usize,
        width: usize,
        positions: &Range<usize>,
    ) -> Range<usize> {
        let (stride, padding) = (self.stride[1], self.padding[1]);
        let start = padding.saturating_sub(offset).div_ceil(stride).clamp(positions.start, positions.end);
        let end = (width + padding).saturating_sub(offset).div_ceil(stride).clamp(start, positions.end);
        start..end
    }

    /// The output size, which is how many positions the window has along each axis:
    /// ⌊(H + P + P' − D · (F − 1) − 1) / S⌋ + 1, with padding P before and P' after.
    ///
    /// # Errors
    /// A window, stride or dilation of 0, a window larger than the padded image, or pixels left over where they are
    /// [refused](Remainder::Refused).
    pub fn output_size(&self, image: [usize; 2]) -> Result<[usize; 2], Problem> {
        Ok([self.size_along(0, image[0])?, self.size_along(1, image[1])?])
    }

    fn size_along(&self, axis: usize, size: usize) -> Result<usize, Problem> {
        let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        let (before, after) = (self.padding[axis], self.padding_after[axis]);
        let name = ["height", "width"][axis];
        for (what, number, hint) in [
            ("the window's", kernel, "a window covers at least one pixel"),
            ("the stride along the", stride, "a stride of 1 visits every pixel"),
            ("the dilation along the", dilation, "a dilation of 1 looks at neighbouring pixels"),
        ] {
            if number == 0 {
                return Err(Problem::new(format!("{what} {name} is 0")).hint(hint));
            }
        }
        let padded = before.checked_add(after).and_then(|both| size.checked_add(both)).ok_or_else(|| {
            let padding = before.max(after);
            Problem::new(format!("a padding of {padding} on a {name} of {size} is beyond any address"))
        })?;
        let extent = self.extent()[axis];
        let room = padded.checked_sub(extent).ok_or_else(|| {
            Problem::new(format!("the window's {name} {extent} is larger than the padded image's {padded}"))
                .hint("add padding, take a smaller window, or pool less before it")
        })?;
        let left_over = room % stride;
        match self.remainder {
            Remainder::Refused if left_over != 0 => Err(Problem::new(format!(
                "a stride of {stride} leaves {left_over} of the {name}'s {padded} pixels over"
            ))
            .hint("change the padding or the stride, or leave out `exact` to drop them")),
            // One more window begins at this pixel. It counts only if it sees some of the image.
            Remainder::Covered if left_over != 0 && (room / stride + 1) * stride < before + size => {
                Ok(room / stride + 2)
            }
            _ => Ok(room / stride + 1),
        }
    }
}
