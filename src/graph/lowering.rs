//! From operations to kernels: what an operation may say about how it is computed.

use std::sync::Arc;

use super::kernel::AnyKernel;

/// How convolutions are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// [`Winograd`](Self::Winograd) in single precision where it pays, from 4096 outputs of the batch on; else
    /// [`Direct`](Self::Direct).
    #[default]
    Auto,
    /// Every product of the definition, summed in a fixed order.
    Direct,
    /// By Winograd's minimal filtering where it applies: windows 3×3, 5×5 and 7×7 of stride 1, from 8 channels and
    /// filters on. Two to four times fewer multiplications, at the price of a larger error: within 1e-5 of the largest
    /// result for windows of 3 and 5, within 2e-4 for 7. Elsewhere, and in double precision, as
    /// [`Direct`](Self::Direct).
    Winograd,
}

/// What a graph is lowered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// How convolutions are computed.
    pub algorithm: Algorithm,
}

/// The kernel for an operation, and how images pass to it and from it.
pub struct Lowered {
    /// The kernel.
    pub kernel: Arc<dyn AnyKernel>,
    /// Its operands: which of the operation's each is, and in which layout.
    pub operands: Vec<(usize, OperandLayout)>,
    /// Which of its outputs is the operation's result.
    pub output: usize,
    /// In which layout that is.
    pub layout: OperandLayout,
    /// Whether it is faster even if images must be transposed for it first. Otherwise it is chosen where an image already
    /// has its layout.
    pub is_faster: bool,
}

/// The layout in which a kernel reads an operand or writes its output.
#[derive(Debug, Clone)]
pub enum OperandLayout {
    /// It is no image, or an image `[N, C, H, W]`.
    Keep,
    /// It is an image `[N, H, W, C]`.
    Nhwc,
    /// Another kernel converts it.
    Through(Arc<dyn AnyKernel>),
}

impl Lowered {
    /// A kernel that takes all of the operation's operands in order, in these layouts.
    pub fn new(kernel: Arc<dyn AnyKernel>, operands: impl IntoIterator<Item = OperandLayout>) -> Self {
        let operands = operands.into_iter().enumerate().collect();
        Self { kernel, operands, output: 0, layout: OperandLayout::Nhwc, is_faster: false }
    }
}
