//! Softmax and its logarithm.

use super::arithmetic::same_shape;
use super::example::{Example, normal, smooth};
use crate::error::Problem;
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::Layout;
use dagrad_kernels::real::Real;
use dagrad_kernels::softmax::Classes;

/// Along `axis`: eˣ / Σ eˣ, or its logarithm, computed relative to the largest x.
#[derive(Debug, Clone, PartialEq)]
pub struct Softmax {
    axis: usize,
    logarithm: bool,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.logarithm { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        same_shape(operands)
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let inner = call.shape[self.axis + 1..].iter().product();
        let classes = Classes { classes: call.shape[self.axis], inner };
        classes.softmax(call.real(0), self.logarithm, call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (y, upstream, axis) = (inputs.output, inputs.upstream, &[self.axis as isize]);
        Gradient::Of(if self.logarithm {
            upstream - y.exp() * upstream.sum_keep(axis)
        } else {
            // Weighed: what has probability 0 pulls at nothing, whatever it costs.
            y.weigh(upstream - y.weigh(upstream).sum_keep(axis))
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        &["logits"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("axis", self.axis)
    }

    fn nhwc(&self) -> Option<Self> {
        Some(Self { axis: Layout::Nhwc.axis(self.axis), ..self.clone() })
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        vec![AxisMap::same(operands[0].shape.len()).with(self.axis, AxisRead::All)]
    }
}

impl<'g> Var<'g> {
    /// eˣ / Σ eˣ along an axis: logits become probabilities. Stable for logits of any size; −∞ has
    /// probability 0.
    #[track_caller]
    pub fn softmax(self, axis: isize) -> Var<'g> {
        self.softmax_along(axis, false)
    }

    /// x − ln Σ eˣ along an axis: the logarithm of [`softmax`](Self::softmax), without its underflow.
    #[track_caller]
    pub fn log_softmax(self, axis: isize) -> Var<'g> {
        let _called = self.graph().called("log_softmax");
        self.softmax_along(axis, true)
    }

    #[track_caller]
    fn softmax_along(self, axis: isize, logarithm: bool) -> Var<'g> {
        match self.shape().axes(&[axis]) {
            Ok(axes) => self.graph().record(Softmax { axis: axes[0], logarithm }, &[self]),
            Err(problem) => self.graph().refuse("softmax", &["logits"], &[self], problem),
        }
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        smooth("rows", [normal([3, 4])], |v| v[0].softmax(1)),
        smooth("a middle axis", [normal([2, 3, 4])], |v| v[0].softmax(1)),
        smooth("logarithm, rows", [normal([3, 4])], |v| v[0].log_softmax(-1)),
        smooth("logarithm, first axis", [normal([3, 2])], |v| v[0].log_softmax(0)),
        smooth("one class", [normal([3, 1])], |v| v[0].softmax(1)),
        Example::new("no rows", [normal([0, 3])], |v| v[0].softmax(1)),
        Example::new("large logits", [normal([2, 3])], |v| (v[0] * 5.0 + 1e4).log_softmax(1)),
    ]
}
