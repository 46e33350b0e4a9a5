//! The rectifier, and the gate that carries its gradient.

use super::arithmetic::same_shape;
use super::example::{Example, away_from_zero, normal};
use super::rules;
use crate::error::Problem;
use crate::graph::{Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::elementwise::{self, Function};
use dagrad_kernels::real::Real;

/// `relu(x) = x where x > 0, else 0`. The gradient at 0 is 0; NaN stays NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relu;

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        same_shape(operands)
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(Function::Relu, &[call.real(0)], call.output, call.workers);
    }

    /// The output is positive exactly where the input is. Asking the output leaves the input free to be
    /// forgotten (or never to exist, where relu is computed together with what comes before).
    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Of(inputs.upstream.gate(inputs.output))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn elementwise(&self) -> Option<Function> {
        Some(Function::Relu)
    }
}

/// `gate(x, by) = x where by > 0, else 0`: linear in x, constant in `by`. A NaN in `by` lets x pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate;

impl Op for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        same_shape(operands)
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(Function::Gate, &[call.real(0), call.real(1)], call.output, call.workers);
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        match argument {
            0 => Gradient::Of(inputs.upstream.gate(inputs.operands[1])),
            _ => Gradient::Constant,
        }
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x", "by"]
    }

    fn elementwise(&self) -> Option<Function> {
        Some(Function::Gate)
    }

    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        rules::gate_of_put(node)
    }
}

impl<'g> Var<'g> {
    /// The rectifier max(x, 0) of each element.
    ///
    /// The derivative at 0 is 0, as in PyTorch and JAX; NaN stays NaN, so a diverging network shows.
    #[track_caller]
    pub fn relu(self) -> Var<'g> {
        self.graph().record(Relu, &[self])
    }

    /// Each element where `by`'s is positive, else 0. `by` has the same shape.
    #[track_caller]
    pub fn gate(self, by: Var<'g>) -> Var<'g> {
        self.graph().record(Gate, &[self, by])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("relu", [away_from_zero([2, 3, 4])], |v| v[0].relu()),
        Example::new("relu of a product", [away_from_zero([5])], |v| (v[0] * v[0] * v[0]).relu()),
        Example::new("gate", [normal([3, 2]), away_from_zero([3, 2])], |v| v[0].gate(v[1])),
    ]
}
