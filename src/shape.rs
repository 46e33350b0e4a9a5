//! Shapes of arrays, and the arithmetic of windows that slide over a picture.

use std::fmt;
use std::ops::{Deref, Range};

use smallvec::SmallVec;

use crate::error::Problem;

/// Where a batch of pictures has its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// `[N, C, H, W]`, as everybody sees them.
    #[default]
    First,
    /// `[N, H, W, C]`, as a plan may lay them.
    Last,
}

impl Order {
    /// Batch, channels, height and width of pictures of a shape.
    pub fn sizes(self, shape: &Shape) -> [usize; 4] {
        let axes = if self == Self::First { [0, 1, 2, 3] } else { [0, 3, 1, 2] };
        axes.map(|axis| shape[axis])
    }

    /// The shape of pictures of a batch, channels, height and width.
    pub fn shape(self, sizes: [usize; 4]) -> Shape {
        let axes = if self == Self::First { [0, 1, 2, 3] } else { [0, 2, 3, 1] };
        axes.map(|axis| sizes[axis]).into()
    }

    /// The axes of height and width.
    pub fn plane(self) -> [usize; 2] {
        if self == Self::First { [2, 3] } else { [1, 2] }
    }
}

/// The sizes of an array's axes, outermost first. Rows are contiguous: the last axis runs fastest.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 6]>);

impl Shape {
    /// The shape of a single number: no axes, one element.
    pub fn scalar() -> Self {
        Self::default()
    }

    /// How many elements the shape holds, or `None` if no array of it could be addressed.
    ///
    /// The bound is that 16 bytes for every element fit the address space.
    pub fn checked_count(&self) -> Option<usize> {
        let nonzero =
            self.iter().filter(|&&size| size != 0).try_fold(16usize, |n, &size| n.checked_mul(size))?;
        (nonzero <= isize::MAX as usize).then(|| self.iter().product())
    }

    /// How many elements the shape holds. Shapes in a graph are known to be addressable.
    pub fn count(&self) -> usize {
        self.iter().product()
    }

    /// The axes as indices from 0, given indices that may count from the end (−1 is the last).
    pub fn axes(&self, axes: &[isize]) -> Result<SmallVec<[usize; 6]>, Problem> {
        let rank = self.len();
        let mut found = SmallVec::new();
        for &axis in axes {
            let index = if axis < 0 { axis.checked_add_unsigned(rank) } else { Some(axis) };
            match index.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < rank) {
                Some(index) if found.contains(&index) => {
                    return Err(Problem::new(format!("axis {axis} is named twice")));
                }
                Some(index) => found.push(index),
                None => {
                    return Err(Problem::new(format!(
                        "axis {axis} does not exist in an array of {rank} axes"
                    ))
                    .hint("axes count from 0; negative ones count from the end"));
                }
            }
        }
        Ok(found)
    }

    /// The shape with size 1 at `axes`, which may count from the end.
    pub(crate) fn keeping(&self, axes: &[isize]) -> Option<Shape> {
        let axes = self.axes(axes).ok()?;
        let kept = |(axis, &size): (usize, &usize)| if axes.contains(&axis) { 1 } else { size };
        Some(self.iter().enumerate().map(kept).collect())
    }

    /// The shape that both shapes broadcast to by NumPy's rule: aligned at the last axis, sizes equal or 1.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.len().max(other.len());
        let size =
            |shape: &Shape, axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
        (0..rank)
            .map(|axis| match (size(self, axis), size(other, axis)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<SmallVec<_>>>()
            .map(Shape)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0[..])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Self(SmallVec::from_slice(&sizes))
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Self(SmallVec::from_slice(sizes))
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Self(SmallVec::from_vec(sizes))
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Self {
        Self(sizes.into_iter().collect())
    }
}

/// A pair `[vertical, horizontal]`; one number stands for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self([both; 2])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

/// A window that slides over the last two axes of a picture: `[vertical, horizontal]` throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many rows and columns of pixels the window sees.
    pub kernel: [usize; 2],
    /// How far apart in the picture these are: 1 for neighbours.
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
    /// One more window covers them, which reaches beyond the padded picture; unless it would see nothing but padding.
    Covered,
    /// They are an error.
    Refused,
}

impl Window {
    /// A window of neighbouring pixels that moves by `stride`, over a picture with `padding` on both sides.
    pub const fn new(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Self {
        let remainder = Remainder::Dropped;
        Self { kernel, dilation: [1; 2], stride, padding, padding_after: padding, remainder }
    }

    /// Whether it sees neighbouring pixels and keeps within the padded picture.
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

    /// The part of a picture's `size` pixels along `axis` that a window of neighbouring pixels covers at `place`.
    pub fn covered(&self, axis: usize, place: usize, size: usize) -> Range<usize> {
        let start = place * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]);
        start.saturating_sub(self.padding[axis]).min(size)..end.min(size)
    }

    /// How many places the window has along each axis: ⌊(H + P + P' − D · (F − 1) − 1) / S⌋ + 1, with padding P before
    /// and P' after.
    ///
    /// # Errors
    /// A window, stride or dilation of 0, a window larger than the padded picture, or pixels left over where they are
    /// [refused](Remainder::Refused).
    pub fn places(&self, picture: [usize; 2]) -> Result<[usize; 2], Problem> {
        Ok([self.places_along(0, picture[0])?, self.places_along(1, picture[1])?])
    }

    fn places_along(&self, axis: usize, size: usize) -> Result<usize, Problem> {
        let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        let (before, after) = (self.padding[axis], self.padding_after[axis]);
        let name = ["height", "width"][axis];
        if kernel == 0 {
            return Err(
                Problem::new(format!("the window's {name} is 0")).hint("a window covers at least one pixel")
            );
        }
        if stride == 0 {
            return Err(Problem::new(format!("the stride along the {name} is 0"))
                .hint("a stride of 1 visits every pixel"));
        }
        if dilation == 0 {
            return Err(Problem::new(format!("the dilation along the {name} is 0"))
                .hint("a dilation of 1 looks at neighbouring pixels"));
        }
        let padded = before.checked_add(after).and_then(|both| size.checked_add(both)).ok_or_else(|| {
            Problem::new(format!(
                "a padding of {} on a {name} of {size} is beyond any address",
                before.max(after)
            ))
        })?;
        let extent = self.extent()[axis];
        let room = padded.checked_sub(extent).ok_or_else(|| {
            Problem::new(format!("the window's {name} {extent} is larger than the padded picture's {padded}"))
                .hint("add padding, take a smaller window, or pool less before it")
        })?;
        match self.remainder {
            Remainder::Refused if room % stride != 0 => Err(Problem::new(format!(
                "a stride of {stride} leaves {} of the {name}'s {padded} pixels over",
                room % stride
            ))
            .hint("change the padding or the stride, or leave out `exact` to drop them")),
            // A window more would begin here; beyond the picture it would see nothing of it.
            Remainder::Covered if room % stride != 0 && (room / stride + 1) * stride < before + size => {
                Ok(room / stride + 2)
            }
            _ => Ok(room / stride + 1),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |[tall, wide]: [usize; 2]| format!("{tall}×{wide}");
        write!(f, "window {}, stride {}, ", pair(self.kernel), pair(self.stride))?;
        write!(f, "padding {}", pair(self.padding))?;
        if self.padding_after != self.padding {
            write!(f, " before and {} after", pair(self.padding_after))?;
        }
        if self.dilation != [1; 2] {
            write!(f, ", dilation {}", pair(self.dilation))?;
        }
        if self.remainder == Remainder::Covered {
            write!(f, ", ceil")?;
        }
        Ok(())
    }
}
