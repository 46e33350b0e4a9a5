//! A value that counts as a constant.

use super::example::{Example, linear, normal};
use crate::error::Problem;
use crate::graph::{AxisMap, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::real::Real;

/// Its operand, whose gradient ends here.
#[derive(Debug, Clone, PartialEq)]
pub struct StopGradient;

impl Op for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        // Reached only where memory cannot be shared.
        call.copy();
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn is_alias(&self) -> bool {
        true
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        vec![AxisMap::same(operands[0].shape.len())]
    }

    /// Once gradients are taken there is nothing left to stop.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        Some(Rewrite::Node(node.operand(0).id))
    }
}

impl<'g> Var<'g> {
    /// The same value as a constant: no gradient passes (PyTorch's `detach`).
    ///
    /// ```
    /// use dagrad::{Graph, gradients};
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [3]);
    /// let y = (x * x.stop_gradient()).sum_all();    // its gradient is x, not 2 x
    /// assert!(gradients(y, &[x]).is_ok());
    /// assert!(gradients(x.stop_gradient().sum_all(), &[x]).is_err());
    /// ```
    #[track_caller]
    pub fn stop_gradient(self) -> Var<'g> {
        self.graph().record(StopGradient, &[self])
    }
}

/// What the family's checks are made from: differences must not see the stopped value change.
pub fn examples() -> Vec<Example> {
    vec![
        Example::on_graph("of a constant", [normal([2, 3])], |graph, v| {
            v[0] * graph.fill([2, 3], 1.5).stop_gradient()
        })
        .linear(),
        linear("that takes itself away", [normal([4])], |v| {
            // x + (s − s) for a stopped s: its value and its gradient are those of x.
            v[0] + (v[0].sin().stop_gradient() - v[0].sin().stop_gradient())
        }),
    ]
}
