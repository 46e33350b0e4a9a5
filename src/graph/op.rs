//! What an operation is: the one door through which the crate's own operations and a user's enter.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::attributes::Attributes;
use super::axes::AxisMap;
use super::call::Call;
use super::dag::NodeId;
use super::kernel::AnyKernel;
use super::lowering::{Lowered, Target};
use super::rewrite::{NodeRef, Rewrite};
use super::var::Var;
use crate::error::Problem;
use crate::shape::Shape;
use dagrad_kernels::elementwise::Function;
use dagrad_kernels::real::Real;

/// Whether an array holds real numbers or indices (classes, positions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Real numbers; `f32` or `f64` is chosen when a plan is compiled.
    Real,
    /// Whole numbers from 0, `u32`. No gradient flows through them.
    Index,
}

/// The type of an array: its shape, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// Its shape.
    pub shape: Shape,
    /// What it holds.
    pub dtype: Dtype,
}

impl TensorType {
    /// An array of real numbers.
    pub fn real(shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into(), dtype: Dtype::Real }
    }

    /// An array of indices.
    pub fn index(shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into(), dtype: Dtype::Index }
    }

    /// How many bytes it takes in precision `T`.
    pub(crate) fn bytes<T>(&self) -> usize {
        let element = if self.dtype == Dtype::Index { size_of::<u32>() } else { size_of::<T>() };
        self.shape.count() * element
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtype = if self.dtype == Dtype::Index { "index " } else { "" };
        write!(f, "{dtype}{}", self.shape)
    }
}

/// An operation: its shape rule, its definition and its gradient rule. Every method below the first four is a
/// fact that the compiler may use; leaving it out is always correct.
///
/// Two operations that are equal and have the same operands are computed once.
pub trait Op: fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The name in listings and errors.
    fn name(&self) -> &'static str;

    /// The shape rule: what the operation makes of its operands, or why they do not fit.
    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem>;

    /// The definition, which is also the kernel unless [`lower`](Self::lower) names another. It writes every element of
    /// the output and allocates nothing.
    fn forward<T: Real>(&self, call: Call<'_, T>);

    /// The gradient rule for one argument (vector-Jacobian product), written in graph operations.
    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g>;

    /// What the operands are called in errors, one name for each. Another number of operands is an error
    /// (with no names, the number is not checked).
    fn roles(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its parameters, such as a stride: what tells it from others of its name.
    fn attributes(&self) -> Attributes {
        Attributes::new()
    }

    /// How many numbers of scratch memory the kernel asks for.
    fn scratch(&self, _operands: &[&TensorType]) -> usize {
        0
    }

    /// Multiplications (each with its addition) that one run takes, for tables of costs.
    fn macs(&self, _operands: &[&TensorType], _output: &TensorType) -> usize {
        0
    }

    /// What an element of the output reads along the axes of each operand. By default this is known of elementwise
    /// operations alone.
    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let is_elementwise = self.elementwise().is_some();
        let maps = operands.iter().filter(|_| is_elementwise).map(|ty| AxisMap::same(ty.shape.len()));
        maps.collect()
    }

    /// The same operation on images `[N, H, W, C]`, if its definition knows that layout.
    fn nhwc(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// The function by which every output element follows from the operands' elements at the same position.
    fn elementwise(&self) -> Option<Function> {
        None
    }

    /// For an operation that only re-reads its operand: for each axis of the output the stride in the operand.
    fn strides(&self, _operand: &TensorType) -> Option<Vec<usize>> {
        None
    }

    /// The number that every element has, where there is one.
    fn constant(&self) -> Option<f64> {
        None
    }

    /// Whether the output is the first operand's memory under another shape.
    fn is_alias(&self) -> bool {
        false
    }

    /// The first index that is out of range in operands of [`Dtype::Index`]. Indices are checked when they are given.
    fn index_limit(&self, _operands: &[&TensorType]) -> Option<usize> {
        None
    }

    /// The one index for which that limit does not hold.
    fn exempt_index(&self) -> Option<u32> {
        None
    }

    /// An upper bound, itself excluded, of all indices of the result but `exempt`. Operations with an `index_limit` read
    /// only indices that have a bound.
    fn index_bound(&self, _operands: &[&TensorType], _exempt: Option<u32>) -> Option<usize> {
        None
    }

    /// Something cheaper with the same result, if the operands allow it.
    fn simplify(&self, _node: NodeRef<'_>) -> Option<Rewrite> {
        None
    }

    /// For an operation that is linear in an operand: itself on that operand times a vector, instead of its result times
    /// that vector along an axis. So a weight is scaled once, and not every image.
    fn scaled(&self, _node: NodeRef<'_>, _axis: usize, _vector: NodeId) -> Option<Rewrite> {
        None
    }

    /// The kernel, if there is a better one than `forward`, and the layouts in which it reads and writes images.
    fn lower(&self, _node: NodeRef<'_>, _target: Target) -> Option<Lowered> {
        None
    }
}

/// What a gradient rule returns for one argument. There is no way to return "zero" by accident.
pub enum Gradient<'g> {
    /// The gradient with respect to the argument.
    Of(Var<'g>),
    /// The output provably does not change with the argument (almost everywhere).
    Constant,
    /// There is no derivative; asking for it is an error that names the operation.
    NotDifferentiable,
}

/// Where a gradient rule is applied.
pub struct VjpInputs<'g> {
    /// The operands, in order.
    pub operands: Vec<Var<'g>>,
    /// The operation's result.
    pub output: Var<'g>,
    /// The gradient of the final result with respect to `output`; it has `output`'s shape.
    pub upstream: Var<'g>,
}

/// An operation in a graph, its type forgotten. Implemented for every [`Op`].
pub trait AnyOp: fmt::Debug + Send + Sync + 'static {
    #![allow(missing_docs)]
    fn as_any(&self) -> &dyn Any;
    fn same(&self, other: &dyn AnyOp) -> bool;
    fn name(&self) -> &'static str;
    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem>;
    fn forward_f32(&self, call: Call<'_, f32>);
    fn forward_f64(&self, call: Call<'_, f64>);
    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g>;
    fn roles(&self) -> &'static [&'static str];
    fn attributes(&self) -> Attributes;
    fn scratch(&self, operands: &[&TensorType]) -> usize;
    fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize;
    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap>;
    fn nhwc(&self) -> Option<Arc<dyn AnyOp>>;
    fn elementwise(&self) -> Option<Function>;
    fn strides(&self, operand: &TensorType) -> Option<Vec<usize>>;
    fn constant(&self) -> Option<f64>;
    fn is_alias(&self) -> bool;
    fn index_limit(&self, operands: &[&TensorType]) -> Option<usize>;
    fn exempt_index(&self) -> Option<u32>;
    fn index_bound(&self, operands: &[&TensorType], exempt: Option<u32>) -> Option<usize>;
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite>;
    fn scaled(&self, node: NodeRef<'_>, axis: usize, vector: NodeId) -> Option<Rewrite>;
    fn lower(&self, node: NodeRef<'_>, target: Target) -> Option<Lowered>;
}

#[rustfmt::skip]
impl<O: Op> AnyOp for O {
    fn as_any(&self) -> &dyn Any { self }
    fn same(&self, other: &dyn AnyOp) -> bool { other.as_any().downcast_ref::<O>() == Some(self) }
    fn name(&self) -> &'static str { Op::name(self) }
    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> { Op::infer(self, operands) }
    fn forward_f32(&self, call: Call<'_, f32>) { Op::forward(self, call) }
    fn forward_f64(&self, call: Call<'_, f64>) { Op::forward(self, call) }
    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> { Op::vjp(self, argument, inputs) }
    fn roles(&self) -> &'static [&'static str] { Op::roles(self) }
    fn attributes(&self) -> Attributes { Op::attributes(self) }
    fn scratch(&self, operands: &[&TensorType]) -> usize { Op::scratch(self, operands) }
    fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize { Op::macs(self, operands, output) }
    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> { Op::axes(self, operands) }
    fn nhwc(&self) -> Option<Arc<dyn AnyOp>> { Some(Arc::new(Op::nhwc(self)?)) }
    fn elementwise(&self) -> Option<Function> { Op::elementwise(self) }
    fn strides(&self, operand: &TensorType) -> Option<Vec<usize>> { Op::strides(self, operand) }
    fn constant(&self) -> Option<f64> { Op::constant(self) }
    fn is_alias(&self) -> bool { Op::is_alias(self) }
    fn index_limit(&self, operands: &[&TensorType]) -> Option<usize> { Op::index_limit(self, operands) }
    fn exempt_index(&self) -> Option<u32> { Op::exempt_index(self) }
    fn index_bound(&self, operands: &[&TensorType], exempt: Option<u32>) -> Option<usize> { Op::index_bound(self, operands, exempt) }
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> { Op::simplify(self, node) }
    fn scaled(&self, node: NodeRef<'_>, axis: usize, vector: NodeId) -> Option<Rewrite> { Op::scaled(self, node, axis, vector) }
    fn lower(&self, node: NodeRef<'_>, target: Target) -> Option<Lowered> { Op::lower(self, node, target) }
}

/// A precision in which plans run: `f32` or `f64`.
pub trait Precision: Real {
    /// Computes an operation by its definition in this precision.
    fn forward(op: &dyn AnyOp, call: Call<'_, Self>);
    /// Runs a kernel in this precision.
    ///
    /// # Errors
    /// As [`Kernel::run`](super::kernel::Kernel::run).
    fn run(kernel: &dyn AnyKernel, call: Call<'_, Self>) -> Result<(), Problem>;
}

impl Precision for f32 {
    fn forward(op: &dyn AnyOp, call: Call<'_, Self>) {
        op.forward_f32(call);
    }

    fn run(kernel: &dyn AnyKernel, call: Call<'_, Self>) -> Result<(), Problem> {
        kernel.run_f32(call)
    }
}

impl Precision for f64 {
    fn forward(op: &dyn AnyOp, call: Call<'_, Self>) {
        op.forward_f64(call);
    }

    fn run(kernel: &dyn AnyKernel, call: Call<'_, Self>) -> Result<(), Problem> {
        kernel.run_f64(call)
    }
}
