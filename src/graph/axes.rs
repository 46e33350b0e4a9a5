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
        /// How far apart the windows of neighbours are; below 0 the axis is gone through backwards.
        stride: isize,
        /// How far apart the positions under a window are.
        dilation: usize,
        /// Where the first window begins, in positions before the operand.
        padding: isize,
    },
    /// The positions whose windows lie over its own: the other way round, as a transposed convolution reads.
    Spread {
        /// How far the windows reach.
        extent: usize,
        /// How far apart the windows of neighbours are.
        stride: usize,
        /// How far apart the positions under a window are.
        dilation: usize,
        /// Where the first window begins, in positions before the result.
        padding: isize,
    },
    /// Its share of the axis, when `of` positions are divided into `parts`: from ⌊i · of / parts⌋ to ⌈(i + 1) · of / parts⌉.
    Share {
        /// The operand's positions.
        of: usize,
        /// The result's.
        parts: usize,
    },
    /// Its own position less `start`, where the operand has it, and nothing elsewhere: the operand is one piece of the axis.
    Piece {
        /// The position of the result that the operand's first becomes.
        start: usize,
    },
    /// The position that another operand, a list of indices, holds at its own.
    Listed {
        /// Which of the operands it is.
        by: usize,
    },
    /// Any of them.
    All,
}

/// Positions at equal distances. Some of them may be no positions of the operand, but of its padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taps {
    pub first: isize,
    pub count: usize,
    pub distance: usize,
}

impl AxisRead {
    /// What is read along height and width under a window.
    pub fn under(window: Window) -> [Self; 2] {
        [0, 1].map(|axis| Self::Window {
            extent: window.extent()[axis],
            stride: signed(window.stride[axis]),
            dilation: window.dilation[axis],
            padding: signed(window.padding[axis]),
        })
    }

    /// What is read along height and width by whatever spreads pixels under a window.
    pub fn spread(window: Window) -> [Self; 2] {
        [0, 1].map(|axis| Self::Spread {
            extent: window.extent()[axis],
            stride: window.stride[axis],
            dilation: window.dilation[axis],
            padding: signed(window.padding[axis]),
        })
    }

    /// Which of `size` positions of the operand the result reads at its own `position`: from the first to the last.
    pub fn positions(self, position: usize, size: usize) -> Range<usize> {
        let Some(taps) = self.taps(position) else { return 0..size };
        let inside = |position: isize| usize::try_from(position).unwrap_or(0).min(size);
        let reach = signed(taps.count.saturating_sub(1).saturating_mul(taps.distance));
        let end = taps.first.saturating_add(reach).saturating_add(isize::from(taps.count > 0));
        inside(taps.first)..inside(end)
    }

    /// What the result reads at its own `position`, where that follows from it alone.
    pub(crate) fn taps(self, position: usize) -> Option<Taps> {
        let own = signed(position);
        let single = |first| Taps { first, count: 1, distance: 1 };
        Some(match self {
            Self::Same => single(own),
            Self::Piece { start } => single(own.saturating_sub(signed(start))),
            Self::Window { extent, stride, dilation, padding } => Taps {
                first: own.saturating_mul(stride).saturating_sub(padding),
                count: extent.div_ceil(dilation.max(1)),
                distance: dilation.max(1),
            },
            Self::Spread { extent, stride, dilation, padding } => {
                let (stride, dilation) = (signed(stride.max(1)), signed(dilation.max(1)));
                let own = own.saturating_add(padding);
                let last = own.div_euclid(stride);
                // Of the window at i this position is number (own − i · stride) / dilation, if that is a whole number.
                let is_under = |i: &isize| (own - i * stride).rem_euclid(dilation) == 0;
                let least = own.saturating_sub(signed(extent)).div_euclid(stride) + 1;
                let nearest = (least..=last).rev().take(dilation as usize).find(is_under);
                let Some(nearest) = nearest else { return Some(Taps { count: 0, ..single(own) }) };
                let distance = dilation / gcd(dilation, stride);
                let more = (nearest - least) / distance;
                Taps {
                    first: nearest - more * distance,
                    count: more as usize + 1,
                    distance: distance as usize,
                }
            }
            Self::Share { of, parts } => {
                let [of, parts, i] = [of, parts.max(1), position].map(|size| size as u128);
                let (first, end) = (i * of / parts, ((i + 1) * of).div_ceil(parts));
                Taps { first: signed(first as usize), count: (end - first) as usize, distance: 1 }
            }
            Self::Listed { .. } | Self::All => return None,
        })
    }
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

fn gcd(a: isize, b: isize) -> isize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What an element of a result reads along each axis of an operand. Axes keep their order: where axis 0 is read at the
/// same position, that position is one along axis 0 of the result. A result of fewer axes lacks those that are read as
/// a whole.
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

    /// What is read along the last two of so many axes, height and width, if that is not all of one.
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
