//! Shapes of arrays, and the arithmetic of windows that slide over an image.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::error::Problem;
pub use dagrad_kernels::window::{Remainder, Window};

/// The data format of a batch of images: where the channels lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `[N, C, H, W]`, as everybody sees them.
    #[default]
    Nchw,
    /// `[N, H, W, C]`, as a plan may lay them.
    Nhwc,
}

impl Layout {
    /// Batch, channels, height and width of images of a shape.
    pub fn sizes(self, shape: &Shape) -> [usize; 4] {
        [0, 1, 2, 3].map(|axis| shape[self.axis(axis)])
    }

    /// The shape of images of a batch, channels, height and width.
    pub fn shape(self, sizes: [usize; 4]) -> Shape {
        self.permute(sizes).into()
    }

    /// Where axis `axis` of `[N, C, H, W]` is.
    pub fn axis(self, axis: usize) -> usize {
        if self == Self::Nchw { axis } else { [0, 3, 1, 2][axis] }
    }

    /// What belongs to the axes of `[N, C, H, W]`, in this layout.
    pub fn permute<E: Copy>(self, axes: [E; 4]) -> [E; 4] {
        if self == Self::Nchw { axes } else { [axes[0], axes[2], axes[3], axes[1]] }
    }

    /// The axes of height and width.
    pub fn plane(self) -> [usize; 2] {
        [self.axis(2), self.axis(3)]
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
    pub fn axes(&self, axes: &[isize]) -> Result<Vec<usize>, Problem> {
        let rank = self.len();
        let mut found = Vec::new();
        for &axis in axes {
            let index = if axis < 0 { axis.checked_add_unsigned(rank) } else { Some(axis) };
            let Some(index) = index.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < rank) else {
                let problem = format!("axis {axis} does not exist in an array of {rank} axes");
                return Err(Problem::new(problem).hint("axes count from 0; negative ones count from the end"));
            };
            if found.contains(&index) {
                return Err(Problem::new(format!("axis {axis} is named twice")));
            }
            found.push(index);
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
            .collect()
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
