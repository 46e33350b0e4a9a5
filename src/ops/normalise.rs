//! Normalisation: arrays of mean 0 and variance 1, and what is made of them.
//!
//! For x̂ = (x − mean) / σ over n elements, with σ² = variance + ε, the gradient that the chain rule finds by way of mean and
//! variance comes to (Ioffe and Szegedy, *Batch Normalization*, 2015)
//!
//! x̄ = (u − mean(u) − x̂ · mean(u · x̂)) / σ
//!
//! for an upstream gradient u: two sums where the chain rule takes three, and half of the walks over memory. So the value is
//! computed from operations of other families, and an operation of this one stands for it, which has that rule.

use super::example::{Example, normal, smooth};
use crate::error::Problem;
use crate::graph::setting::{COUNT, FINITE};
use crate::graph::{Attributes, AxisMap, Call, Gradient, NodeRef, Op, Rewrite, TensorType, Var, VjpInputs};
use dagrad_kernels::real::Real;

/// (x̂, x) → x̂, where x̂ is x with mean 0 and variance 1 over some axes: its gradient goes to x at once.
#[derive(Debug, Clone, PartialEq)]
struct Standardised {
    axes: Vec<usize>,
    epsilon: f64,
}

impl Op for Standardised {
    fn name(&self) -> &'static str {
        "standardised"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        // Reached only where memory cannot be shared.
        call.copy();
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        if argument == 0 {
            return Gradient::Constant; // what x̂ is made of is x, which has the whole gradient
        }
        let (upstream, value, x) = (inputs.upstream, inputs.output, inputs.operands[1]);
        let axes: Vec<isize> = self.axes.iter().map(|&axis| axis as isize).collect();
        let along = (upstream * value).mean_keep(&axes);
        let centred = upstream - upstream.mean_keep(&axes) - value * along;
        Gradient::Of(centred / x.moments(&axes).deviation(self.epsilon))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["value", "x"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("axes", &self.axes[..]).with("epsilon", self.epsilon)
    }

    fn is_alias(&self) -> bool {
        true
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        operands.iter().map(|operand| AxisMap::same(operand.shape.len())).collect()
    }

    /// Once gradients are taken it has done its work.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        Some(Rewrite::Node(node.operand(0).id()))
    }
}

/// Mean and variance over some axes, which stay with size 1, and the array less its mean.
#[derive(Clone, Copy)]
pub(crate) struct Moments<'g> {
    pub mean: Var<'g>,
    pub variance: Var<'g>,
    centred: Var<'g>,
}

impl<'g> Moments<'g> {
    /// σ = √(variance + ε)
    #[track_caller]
    fn deviation(&self, epsilon: f64) -> Var<'g> {
        (self.variance + epsilon).sqrt()
    }
}

impl<'g> Var<'g> {
    #[track_caller]
    fn moments(self, axes: &[isize]) -> Moments<'g> {
        let mean = self.mean_keep(axes);
        let centred = self - mean;
        Moments { mean, variance: centred.powi(2).mean_keep(axes), centred }
    }

    /// The array with mean 0 and variance 1 over `axes`, and the mean and variance that it had.
    #[track_caller]
    pub(crate) fn standardised(self, axes: &[isize], epsilon: f64) -> (Var<'g>, Moments<'g>) {
        let moments = self.moments(axes);
        let value = moments.centred / moments.deviation(epsilon);
        // Where there are no such axes, `mean` has said so.
        let Ok(axes) = self.shape().axes(axes) else { return (value, moments) };
        (self.graph().record(Standardised { axes, epsilon }, &[value, self]), moments)
    }

    /// (x − mean) / √(variance + ε) over `axes`: mean 0 and variance 1 for each combination of the other axes.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist, no elements, an ε that is negative, infinite or NaN.
    #[track_caller]
    pub fn normalise(self, axes: &[isize], epsilon: f64) -> Var<'g> {
        let attributes = Attributes::new().with("axes", axes).with("epsilon", epsilon);
        let _composite = self.graph().composed("normalise", attributes);
        self.graph().require("normalise", "epsilon", epsilon, FINITE);
        self.standardised(axes, epsilon).0
    }

    /// [`normalise`](Self::normalise) over the last `axes` axes (Ba and others, *Layer Normalization*, 2016).
    ///
    /// # Errors
    /// Recorded on the graph: no axis, or more than there are; otherwise as [`normalise`](Self::normalise).
    #[track_caller]
    pub fn layer_norm(self, axes: usize, epsilon: f64) -> Var<'g> {
        let attributes = Attributes::new().with("axes", axes).with("epsilon", epsilon);
        let _composite = self.graph().composed("layer_norm", attributes);
        self.graph().require("layer_norm", "the number of axes", axes, COUNT);
        self.normalise(&last(axes), epsilon)
    }

    /// x / √(mean of x² + ε) over the last `axes` axes (Zhang and Sennrich, *Root Mean Square Layer Normalization*, 2019).
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm).
    #[track_caller]
    pub fn rms_norm(self, axes: usize, epsilon: f64) -> Var<'g> {
        let attributes = Attributes::new().with("axes", axes).with("epsilon", epsilon);
        let _composite = self.graph().composed("rms_norm", attributes);
        self.graph().require("rms_norm", "the number of axes", axes, COUNT);
        self.graph().require("rms_norm", "epsilon", epsilon, FINITE);
        self / (self.powi(2).mean_keep(&last(axes)) + epsilon).sqrt()
    }

    /// [`normalise`](Self::normalise) over equal groups of channels of `[N, C, …]` (Wu and He, *Group Normalization*, 2018).
    ///
    /// # Errors
    /// Recorded on the graph: fewer than two axes, groups that do not divide the channels; otherwise as
    /// [`normalise`](Self::normalise).
    #[track_caller]
    pub fn group_norm(self, groups: usize, epsilon: f64) -> Var<'g> {
        let shape = self.shape();
        let (batch, channels) = match shape[..] {
            [batch, channels, ..] if groups > 0 && channels.is_multiple_of(groups) => (batch, channels),
            _ => {
                let problem = Problem::new(format!("{groups} groups do not divide the channels of {shape}"))
                    .hint("channels are axis 1, and each group has as many");
                return self
                    .graph()
                    .refuse("group_norm", &["x"], &[self], problem)
                    .or_rank(self.rank().max(2));
            }
        };
        let attributes = Attributes::new().with("groups", groups).with("epsilon", epsilon);
        let _composite = self.graph().composed("group_norm", attributes);
        let inside = shape[2..].iter().product::<usize>() * (channels / groups);
        self.reshape([batch, groups, inside]).normalise(&[2], epsilon).reshape(shape)
    }
}

/// The last so many axes, counted from the end. (A number beyond any array's is refused with them.)
fn last(axes: usize) -> Vec<isize> {
    (1..=axes.min(64) as isize).map(|axis| -axis).collect()
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        smooth("normalised", [normal([2, 3, 4])], |v| v[0].normalise(&[0, 2], 0.1)),
        smooth("layer norm", [normal([2, 3, 2])], |v| v[0].layer_norm(2, 1e-2)),
        smooth("rms norm", [normal([2, 3, 2])], |v| v[0].rms_norm(1, 1e-2)),
        smooth("group norm", [normal([2, 6, 2, 1])], |v| v[0].group_norm(2, 1e-2)),
    ]
}
