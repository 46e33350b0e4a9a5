//! Repeating along axes and summing over them: each is the other's adjoint.

use std::sync::Arc;

use smallvec::SmallVec;

use super::example::{Example, linear, normal, positive, smooth};
use super::operands::all_real;
use super::rules;
use crate::error::Problem;
use crate::graph::kernel::Definition;
use crate::graph::lowering::{Lowered, OperandLayout, Target};
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use crate::shape::Shape;
use dagrad_kernels::real::Real;
use dagrad_kernels::reduce;
use dagrad_kernels::walk::{self, Walk};

/// Repeats an array along axes of size 1, and along new leading axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Broadcast {
    pub(super) shape: Shape,
}

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        all_real(operands)?;
        let x = operands[0];
        if x.shape.broadcast(&self.shape).as_ref() != Some(&self.shape) {
            return Err(Problem::new(format!("{} does not broadcast to {}", x.shape, self.shape))
                .hint("axes are aligned at the last one; only axes of size 1 are repeated"));
        }
        Ok(TensorType::real(&self.shape))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let strides = strides(call.operand_shape(0), &self.shape);
        walk::copy(&Walk::new(&self.shape, &strides), call.real(0), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let operand = inputs.operands[0].shape();
        let new = self.shape.len() - operand.len();
        let repeated = |&axis: &usize| axis < new || operand[axis - new] != self.shape[axis];
        let axes: Vec<isize> = (0..self.shape.len()).filter(repeated).map(|axis| axis as isize).collect();
        Gradient::Of(inputs.upstream.sum(&axes).reshape(&operand))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().quiet("shape", &self.shape)
    }

    fn strides(&self, operand: &TensorType) -> Option<Vec<usize>> {
        Some(strides(&operand.shape, &self.shape).into_vec())
    }

    /// One number everywhere stays one number.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        rules::broadcast_of_constant(node)
    }
}

/// Where in an operand of shape `from` the neighbours along each axis of `to` lie: axes that repeat stay.
fn strides(from: &Shape, to: &Shape) -> SmallVec<[usize; 6]> {
    let own = walk::row_major(from);
    let new = to.len() - from.len();
    let stride = |axis: usize| if axis < new || from[axis - new] == 1 { 0 } else { own[axis - new] };
    (0..to.len()).map(stride).collect()
}

/// Sums over some axes, which disappear.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    pub(super) axes: Vec<usize>,
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        all_real(operands)?;
        let x = operands[0];
        let kept = (0..x.shape.len()).filter(|axis| !self.axes.contains(axis));
        Ok(TensorType::real(kept.map(|axis| x.shape[axis]).collect::<Shape>()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let is_summed = |axis| self.axes.contains(&axis);
        reduce::sum(call.real(0), call.operand_shape(0), &is_summed, call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let operand = inputs.operands[0].shape();
        let kept = |axis| if self.axes.contains(&axis) { 1 } else { operand[axis] };
        let kept: Shape = (0..operand.len()).map(kept).collect();
        Gradient::Of(inputs.upstream.reshape(kept).broadcast_to(&operand))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("axes", &self.axes[..])
    }

    /// Of images NHWC; first within each image, if all of them are summed.
    fn lower(&self, node: NodeRef<'_>, _: Target) -> Option<Lowered> {
        // Channels may not change sides with axes that stay.
        let stays = |axis: usize| !self.axes.contains(&axis);
        if node.operand(0).ty().shape.len() != 4 || stays(1) && (stays(2) || stays(3)) {
            return None;
        }
        let over_batch = !stays(0) && (1..4).any(|axis| !stays(axis));
        let moved = self.axes.iter().filter(|&&axis| axis > 0 || !over_batch).map(|&axis| [0, 3, 1, 2][axis]);
        let kernel = |axes| Arc::new(Definition(Arc::new(Sum { axes })));
        let lowered = Lowered::new(kernel(moved.collect()), [OperandLayout::Nhwc]);
        let layout = if over_batch { OperandLayout::Through(kernel(vec![0])) } else { OperandLayout::Keep };
        Some(Lowered { layout, ..lowered })
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let rank = operands[0].shape.len();
        vec![self.axes.iter().fold(AxisMap::same(rank), |map, &axis| map.with(axis, AxisRead::All))]
    }

    /// A sum over no axes, or only over axes of size 1, is the array itself.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        let operand = node.operand(0);
        if node.ty() == operand.ty() {
            Some(Rewrite::Node(operand.id))
        } else {
            rules::sum_of_put(self, node).or_else(|| rules::sum_of_scaled(self, node))
        }
    }
}

impl<'g> Var<'g> {
    /// Repeats the array so that it has `shape`, by NumPy's rule: axes are aligned at the last one; axes of
    /// size 1 and missing leading axes repeat.
    #[track_caller]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Var<'g> {
        let shape = shape.into();
        if self.shape() == shape {
            return self;
        }
        self.graph().record(Broadcast { shape: shape.clone() }, &[self]).or_shape(&shape)
    }

    /// Sums over `axes`, which disappear. Negative axes count from the end.
    #[track_caller]
    pub fn sum(self, axes: &[isize]) -> Var<'g> {
        let rank = self.rank().saturating_sub(axes.len());
        let sum = match self.shape().axes(axes) {
            Ok(axes) => self.graph().record(Sum { axes }, &[self]),
            Err(problem) => self.graph().refuse("sum", &["x"], &[self], problem),
        };
        sum.or_rank(rank)
    }

    /// This, or if it stands for a misuse, the same without as many axes as these.
    pub(super) fn lacking(self, axes: &[isize]) -> Var<'g> {
        self.or_rank(self.rank().saturating_sub(axes.len()))
    }

    /// Sums over `axes`, which stay with size 1.
    #[track_caller]
    pub fn sum_keep(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("sum_keep");
        self.sum(axes).kept(self, axes)
    }

    /// This, of as many elements as `x` has without `axes`, with these at size 1.
    #[track_caller]
    pub(super) fn kept(self, x: Var<'g>, axes: &[isize]) -> Var<'g> {
        match x.shape().keeping(axes) {
            Some(kept) if kept.count() == self.shape().count() => self.reshape(kept),
            _ => self.or_rank(x.rank()),
        }
    }

    /// The sum of all elements, a single number.
    #[track_caller]
    pub fn sum_all(self) -> Var<'g> {
        let _called = self.graph().called("sum_all");
        let axes: Vec<isize> = (0..self.shape().len() as isize).collect();
        self.sum(&axes)
    }

    /// The mean over `axes`, which disappear. A mean of no elements is an error.
    #[track_caller]
    pub fn mean(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("mean");
        let sum = self.sum(axes);
        let shape = self.shape();
        let count = shape.axes(axes).map_or(1, |axes| axes.iter().map(|&axis| shape[axis]).product());
        if count == 0 {
            let problem = Problem::new(format!("the mean over axes {axes:?} of {shape} has no elements"));
            return self.graph().refuse("mean", &["x"], &[self], problem).lacking(axes);
        }
        sum / count as f64
    }

    /// The mean of all elements, a single number. A mean of no elements is an error.
    #[track_caller]
    pub fn mean_all(self) -> Var<'g> {
        let _called = self.graph().called("mean_all");
        let axes: Vec<isize> = (0..self.shape().len() as isize).collect();
        self.mean(&axes)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("bias over images", [normal([3, 1, 1])], |v| v[0].broadcast_to([2, 3, 4, 5])),
        linear("one number", [normal([])], |v| v[0].broadcast_to([2, 3])),
        linear("a size of 1 that stays", [normal([1, 3])], |v| v[0].broadcast_to([2, 1, 3])),
        linear("sum over the middle", [normal([2, 3, 4])], |v| v[0].sum(&[1])),
        linear("sum over the ends", [normal([2, 3, 4])], |v| v[0].sum(&[0, -1])),
        linear("sum that keeps its axes", [normal([2, 3, 4])], |v| v[0].sum_keep(&[-2])),
        linear("sum of everything", [normal([2, 3])], |v| v[0].sum_all()),
        linear("sum over no axes", [normal([2, 3])], |v| v[0].sum(&[])),
        linear("sum of no elements", [normal([0, 3])], |v| v[0].sum(&[0])),
        linear("mean over channels", [normal([2, 3, 2, 2])], |v| v[0].mean(&[1])),
        smooth("normalised rows", [positive([3, 4])], |v| v[0] / v[0].sum_keep(&[1])),
        smooth("variance", [normal([6])], |v| (v[0] - v[0].mean_all()).powi(2).mean_all()),
    ]
}
