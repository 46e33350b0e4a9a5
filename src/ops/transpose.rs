//! Axes in another order.

use smallvec::SmallVec;

use super::example::{Example, linear, normal, smooth};
use super::operands::all_real;
use crate::error::Problem;
use crate::graph::{Attributes, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use crate::shape::Shape;
use dagrad_kernels::real::Real;
use dagrad_kernels::walk::{self, Walk};

/// Axis i of the result is axis `axes[i]` of the operand.
#[derive(Debug, Clone, PartialEq)]
pub struct Permute {
    axes: Vec<usize>,
}

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        all_real(operands)?;
        let x = operands[0];
        if self.axes.len() != x.shape.len() {
            let (given, rank) = (self.axes.len(), x.shape.len());
            return Err(Problem::new(format!("{given} axes are named, but the array has {rank}"))
                .hint("name each axis once, in the order that the result shall have"));
        }
        Ok(TensorType::real(self.axes.iter().map(|&axis| x.shape[axis]).collect::<Shape>()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let walk = Walk::new(call.shape, &self.strides_in(call.operand_shape(0)));
        walk::copy(&walk, call.real(0), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let mut inverse = self.axes.clone();
        self.axes.iter().enumerate().for_each(|(position, &axis)| inverse[axis] = position);
        Gradient::Of(inputs.upstream.graph().record(Permute { axes: inverse }, &[inputs.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("axes", &self.axes[..])
    }

    fn strides(&self, operand: &TensorType) -> Option<Vec<usize>> {
        Some(self.strides_in(&operand.shape).into_vec())
    }

    /// Two permutations are one; the one that changes nothing is none.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        let operand = node.operand(0);
        if self.axes.is_sorted() {
            return Some(Rewrite::Node(operand.id));
        }
        let first: &Permute = operand.op()?;
        let axes = self.axes.iter().map(|&axis| first.axes[axis]).collect();
        Some(Rewrite::op_on(Permute { axes }, [operand.operand(0).id]))
    }
}

impl Permute {
    /// Whether this turns a matrix on its side.
    pub fn is_matrix_transpose(&self) -> bool {
        self.axes[..] == [1, 0]
    }

    fn strides_in(&self, operand: &Shape) -> SmallVec<[usize; 6]> {
        let own = walk::row_major(operand);
        self.axes.iter().map(|&axis| own[axis]).collect()
    }
}

impl<'g> Var<'g> {
    /// The array with its axes in another order: axis i of the result is axis `axes[i]` of this one.
    /// Negative axes count from the end.
    #[track_caller]
    pub fn permute(self, axes: &[isize]) -> Var<'g> {
        let count = axes.len();
        match self.shape().axes(axes) {
            Ok(axes) => self.graph().record(Permute { axes }, &[self]).or_rank(count),
            Err(problem) => self.graph().refuse("permute", &["x"], &[self], problem).or_rank(count),
        }
    }

    /// Swaps the last two axes: the transpose of a matrix. An array of fewer axes is an error.
    #[track_caller]
    pub fn transpose(self) -> Var<'g> {
        let _called = self.graph().called("transpose");
        let rank = self.shape().len();
        if rank < 2 {
            let problem = Problem::new(format!("an array of {rank} axes has no two to swap"))
                .hint("a vector becomes a row or a column by `reshape`");
            return self.graph().refuse("transpose", &["x"], &[self], problem).or_rank(2);
        }
        let mut axes: Vec<isize> = (0..rank as isize).collect();
        axes.swap(rank - 1, rank - 2);
        self.permute(&axes)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("a matrix", [normal([3, 4])], |v| v[0].transpose()),
        linear("a cycle of axes", [normal([2, 3, 4])], |v| v[0].permute(&[2, 0, 1])),
        linear("images to channels last", [normal([2, 3, 4, 5])], |v| v[0].permute(&[0, 2, 3, 1])),
        linear("twice", [normal([2, 3, 4])], |v| v[0].permute(&[1, 2, 0]).permute(&[-1, 0, 1])),
        smooth("x · xᵀ element by element", [normal([3, 3])], |v| v[0] * v[0].transpose()),
    ]
}
