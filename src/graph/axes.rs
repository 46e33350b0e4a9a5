//! What the axes of a result have to do with those of the operands. From this one fact follow batch tiling, the layout of
//! images, and receptive fields.

use std::ops::Range;

use smallvec::SmallVec;

use super::op::{AnyOp, TensorType};
use crate::error::Problem;
use crate::shape::Window;

/// What an element of a result reads along one axis of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisRead {
    /// The position that it has itself.
    Same,
    /// The positions under a window, which begins at its own position times `stride` less `padding`.
    Window {
        /// How far the window reaches.
        extent: usize,
        /// How far apart the windows of neighbours are.
        stride: usize,
        /// Where the first window begins, in positions before the operand.
        padding: isize,
    },
    /// Any of them.
    All,
}

impl AxisRead {
    /// What is read along height and width under a window.
    pub fn under(window: Window) -> [Self; 2] {
        let extent = window.extent();
        [0, 1].map(|axis| Self::Window {
            extent: extent[axis],
            stride: window.stride[axis],
            padding: isize::try_from(window.padding[axis]).unwrap_or(isize::MAX),
        })
    }

    /// Which of `size` positions of the operand the result reads at its own `position`.
    pub fn positions(self, position: usize, size: usize) -> Range<usize> {
        match self {
            Self::Same => position..position.saturating_add(1),
            Self::Window { extent, stride, padding } => {
                let [start, end] = [0, extent].map(|reach| {
                    position
                        .saturating_mul(stride)
                        .saturating_add(reach)
                        .saturating_add_signed(padding.saturating_neg())
                });
                start.min(size)..end.min(size)
            }
            Self::All => 0..size,
        }
    }
}

/// What an element of a result reads along each axis of an operand. Axes keep their order: where axis 0 is read at the
/// same position, that position is one along axis 0 of the result.
///
/// ```
/// use dagrad::graph::{AxisMap, AxisRead};
///
/// // A softmax over the channels of [N, C, H, W].
/// let map = AxisMap::same(4).with(1, AxisRead::All);
/// assert!(map.keeps_samples() && !map.is_whole());
/// assert_eq!(map.plane(4), Some([AxisRead::Same; 2]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisMap(SmallVec<[AxisRead; 4]>);

impl AxisMap {
    /// An operand that is read as a whole.
    pub fn whole() -> Self {
        Self(SmallVec::new())
    }

    /// An operand of so many axes of which the element at the same position is read.
    pub fn same(rank: usize) -> Self {
        Self(SmallVec::from_elem(AxisRead::Same, rank))
    }

    /// An operand of which the same sample is read, that is, the same position along axis 0.
    pub fn sample() -> Self {
        Self::whole().with(0, AxisRead::Same)
    }

    /// The same with another rule for one axis. Along axes that are not named any position is read.
    pub fn with(mut self, axis: usize, read: AxisRead) -> Self {
        let rank = self.0.len().max(axis + 1);
        self.0.resize(rank, AxisRead::All);
        self.0[axis] = read;
        self
    }

    /// What is read along an axis.
    pub fn along(&self, axis: usize) -> AxisRead {
        self.0.get(axis).copied().unwrap_or(AxisRead::All)
    }

    /// Whether the operand is read as a whole.
    pub fn is_whole(&self) -> bool {
        self.0.iter().all(|&read| read == AxisRead::All)
    }

    /// Whether samples, along axis 0, meet only themselves.
    pub fn keeps_samples(&self) -> bool {
        self.along(0) == AxisRead::Same
    }

    /// Whether a window of several positions slides over an axis.
    pub fn has_window(&self) -> bool {
        self.0.iter().any(|read| matches!(read, AxisRead::Window { extent: 2.., .. }))
    }

    /// What is read along the last two of so many axes, height and width, if each is read in order.
    pub fn plane(&self, rank: usize) -> Option<[AxisRead; 2]> {
        let plane = [self.along(rank.checked_sub(2)?), self.along(rank - 1)];
        (!plane.contains(&AxisRead::All)).then_some(plane)
    }
}

impl From<[AxisRead; 4]> for AxisMap {
    fn from(reads: [AxisRead; 4]) -> Self {
        Self(reads.into())
    }
}

impl FromIterator<AxisRead> for AxisMap {
    fn from_iter<I: IntoIterator<Item = AxisRead>>(reads: I) -> Self {
        Self(reads.into_iter().collect())
    }
}

/// Refuses an operation that says that it keeps samples apart if the sizes show that it is not so. Running rests on it.
pub(super) fn check(op: &dyn AnyOp, operands: &[&TensorType], output: &TensorType) -> Result<(), Problem> {
    let maps = op.axes(operands);
    let mut kept = operands.iter().zip(&maps).filter(|(_, map)| map.keeps_samples());
    match kept.find(|(operand, _)| operand.shape.first() != output.shape.first()) {
        Some((TensorType { shape, .. }, _)) => Err(Problem::new(format!(
            "its `axes` keep positions along axis 0 of {shape}, but its result is {}",
            output.shape
        ))),
        None => Ok(()),
    }
}
