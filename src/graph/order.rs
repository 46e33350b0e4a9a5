//! In which order the compiler may do things: how pictures lie, and how samples follow each other.

use std::sync::Arc;

use smallvec::SmallVec;

use super::op::AnyOp;

/// How convolutions are computed on pictures whose channels lie last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// [`Winograd`](Self::Winograd) in single precision where it pays, from 4096 outputs of the batch on; else
    /// [`Direct`](Self::Direct).
    #[default]
    Auto,
    /// Every product of the definition, summed in a fixed order.
    Direct,
    /// By Winograd's minimal filtering where it applies: windows 3×3, 5×5 and 7×7 of stride 1, from 8 channels and
    /// filters on. Two to four times fewer multiplications, at the price of an error some times larger, up to 4e-5 of
    /// the largest result. Elsewhere, and in double precision, as [`Direct`](Self::Direct).
    Winograd,
}

/// How an operation is done on pictures `[N, H, W, C]` instead of `[N, C, H, W]`.
pub struct ChannelsLast {
    /// The operation on such pictures.
    pub op: Arc<dyn AnyOp>,
    /// What happens to each operand before.
    pub operands: SmallVec<[Adapt; 4]>,
    /// What happens to the result after.
    pub output: Adapt,
    /// Whether it is the faster way even if pictures must be brought into that order first. Other operations
    /// follow where a picture comes in that order.
    pub is_faster: bool,
}

/// How a value passes between the two orders.
#[derive(Debug, Clone)]
pub enum Adapt {
    /// It is no picture and stays as it is.
    Keep,
    /// It is a picture: its channels go last before, and come first after.
    Picture,
    /// It goes through an operation.
    Through(Arc<dyn AnyOp>),
}

/// How an operation reads and writes samples, which lie along axis 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// How many samples there are.
    pub count: usize,
    /// Which operands hold the samples; the others are read as a whole for each of them.
    pub split: SmallVec<[bool; 8]>,
    /// How many samples make one row of the result (the last row may be made of fewer): 1 unless it sums.
    pub every: usize,
}

impl Samples {
    /// One row of the result for each sample of those operands that are `split`.
    pub fn each(count: usize, split: &[bool]) -> Self {
        Self { count, split: split.into(), every: 1 }
    }
}
