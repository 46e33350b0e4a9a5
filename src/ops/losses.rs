//! Losses of real numbers, composed of other operations.

use std::ops::Bound;

use super::arithmetic::Other;
use super::example::{Example, away_from_zero, distinct, normal, positive, smooth};
use crate::error::Problem;
use crate::graph::setting::{FINITE, NUMBER};
use crate::graph::{Attribute, Attributes, Dtype, Scope, Var};

/// What becomes of the losses of single elements.
///
/// ```
/// use dagrad::{Graph, Reduction};
///
/// let graph = Graph::new();
/// let (x, target) = (graph.input("x", [8, 3]), graph.input("target", [8, 3]));
/// let mean = x.mse_loss(target, Reduction::Mean);
/// let of_each_row = x.mse_loss(target, Reduction::None).sum(&[1]);
/// # assert_eq!((mean.shape().len(), of_each_row.shape()), (0, [8].into()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean, a single number.
    #[default]
    Mean,
    /// Their sum, a single number.
    Sum,
    /// They stay what they are.
    None,
}

impl Reduction {
    /// Does so. A mean of no elements is an error.
    #[track_caller]
    pub fn of<'g>(self, each: Var<'g>) -> Var<'g> {
        match self {
            Self::Mean => each.mean_all(),
            Self::Sum => each.sum_all(),
            Self::None => each,
        }
    }
}

impl From<Reduction> for Attribute {
    fn from(reduction: Reduction) -> Self {
        let word = match reduction {
            Reduction::Mean => "mean",
            Reduction::Sum => "sum",
            Reduction::None => "none",
        };
        word.into()
    }
}

impl<'g> Var<'g> {
    /// The squared error (x − t)² to targets of the same shape.
    ///
    /// # Errors
    /// Recorded on the graph, by this and by the other losses: targets of another shape, a mean of no elements.
    #[track_caller]
    pub fn mse_loss(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("mse_loss", Attributes::new(), reduction);
        reduction.of((self - self.target("mse_loss", target)).powi(2))
    }

    /// The absolute error |x − t| to targets of the same shape; the gradient at 0 is 0.
    #[track_caller]
    pub fn l1_loss(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("l1_loss", Attributes::new(), reduction);
        reduction.of((self - self.target("l1_loss", target)).abs())
    }

    /// Huber's loss: ½ (x − t)² for errors up to δ, which may be infinite, and δ (|x − t| − δ/2) for larger ones.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that differ, a δ that is not positive.
    #[track_caller]
    pub fn huber_loss(self, target: Var<'g>, delta: f64, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("huber_loss", Attributes::new().with("delta", delta), reduction);
        self.graph().require("huber_loss", "delta", delta, (Bound::Excluded(0.0), Bound::Unbounded));
        let gap = (self - self.target("huber_loss", target)).abs();
        if delta == f64::INFINITY {
            return reduction.of(gap.powi(2) * 0.5);
        }
        // With m = min(|x − t|, δ): m · (|x − t| − m/2) is both branches.
        let near = gap.minimum(delta);
        reduction.of(near * (gap - near * 0.5))
    }

    /// [`huber_loss`](Self::huber_loss) divided by its bound β: ½ (x − t)² / β for errors up to β, and |x − t| − β/2 for
    /// larger ones. With β = 0 it is [`l1_loss`](Self::l1_loss).
    ///
    /// # Errors
    /// Recorded on the graph: shapes that differ, a β that is negative, infinite or NaN.
    #[track_caller]
    pub fn smooth_l1_loss(self, target: Var<'g>, beta: f64, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("smooth_l1_loss", Attributes::new().with("beta", beta), reduction);
        self.graph().require("smooth_l1_loss", "beta", beta, FINITE);
        let gap = (self - self.target("smooth_l1_loss", target)).abs();
        if beta == 0.0 {
            return reduction.of(gap);
        }
        let near = gap.minimum(beta);
        reduction.of(near / beta * (gap - near * 0.5))
    }

    /// The cross entropy of logits x and targets t, probabilities from 0 to 1, of one yes-or-no question for each element:
    /// −t ln σ(x) − (1 − t) ln(1 − σ(x)). Nothing overflows, and all digits of a small loss are right. What has probability 0
    /// costs nothing beside an infinite logit. The derivative in t is −x, also where x is infinite, as in PyTorch.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        let _called = self.graph().called("binary_cross_entropy_with_logits");
        self.weighted_binary_cross_entropy_with_logits(target, 1.0, reduction)
    }

    /// [`binary_cross_entropy_with_logits`](Self::binary_cross_entropy_with_logits) in which a yes counts `weight` times:
    /// −w t ln σ(x) − (1 − t) ln(1 − σ(x)). The weight is a number, or an array that is broadcast to the logits, such as one
    /// for each of the last axis' questions (PyTorch's `pos_weight`).
    ///
    /// # Errors
    /// Recorded on the graph: targets of another shape, weights that do not broadcast to the logits.
    #[track_caller]
    pub fn weighted_binary_cross_entropy_with_logits(
        self,
        target: Var<'g>,
        weight: impl Other<'g>,
        reduction: Reduction,
    ) -> Var<'g> {
        const NAME: &str = "weighted_binary_cross_entropy_with_logits";
        let _composite = self.loss(NAME, Attributes::new(), reduction);
        let target = self.target(NAME, target);
        let (weight, shape) = (weight.beside(self), self.shape());
        if weight.shape().broadcast(&shape).as_ref() != Some(&shape) {
            let text = format!("weights {} do not broadcast to logits {shape}", weight.shape());
            let problem =
                Problem::new(text).hint("axes are aligned at the last one; only axes of size 1 are repeated");
            return reduction.of(self.graph().refuse(NAME, &["logits", "weights"], &[self, weight], problem));
        }
        // −ln σ(x) = softplus(−x). The shorter softplus(x) − x t would be a small difference of large numbers.
        let (yes, no) = (weight.weigh((-self).softplus()), self.softplus());
        reduction.of(target.weigh(yes) + (1.0 - target).weigh(no))
    }

    /// The divergence of Kullback and Leibler from targets t to probabilities whose logarithms these are: t (ln t − x),
    /// which is 0 for t = 0, and NaN for t < 0. For the divergence of whole distributions take the sum over them
    /// (`batchmean` in PyTorch: the sum divided by the batch).
    ///
    /// At t = 0, where t ln t falls infinitely steeply and PyTorch's gradient in t is NaN, the gradient of t ln t counts as 0.
    #[track_caller]
    pub fn kl_divergence(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("kl_divergence", Attributes::new(), reduction);
        let target = self.target("kl_divergence", target);
        let logarithm = target.equal(0.0).choose(1.0, target).ln();
        reduction.of(target * logarithm - target.weigh(self))
    }

    /// The cosine of the angle between vectors along an axis, which disappears: x·y / (max(‖x‖, ε) max(‖y‖, ε)). The arrays
    /// are broadcast. A vector shorter than ε counts as one of length ε, in the derivative too: of 0 the cosine is 0.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that do not broadcast, an axis that does not exist, an ε that is negative, infinite or NaN.
    #[track_caller]
    pub fn cosine_similarity(self, other: Var<'g>, axis: isize, epsilon: f64) -> Var<'g> {
        let attributes = Attributes::new().with("axis", axis as i64).with("epsilon", epsilon);
        let _composite = self.graph().composed("cosine_similarity", attributes);
        self.graph().require("cosine_similarity", "epsilon", epsilon, FINITE);
        let (x, y) = match self.shape().broadcast(&other.shape()) {
            Some(shape) => (self.broadcast_to(&shape), other.broadcast_to(&shape)),
            None => return self * other, // which says what is wrong
        };
        // Each by its own length: the product of two large vectors may be infinite, that of two small ones 0.
        let [x, y] = [(x, x.norm_keep(&[axis])), (y, y.norm_keep(&[axis]))];
        (x.0 / x.1.at_least(epsilon) * (y.0 / y.1.at_least(epsilon))).sum(&[axis])
    }

    /// For vectors along the last axis that should be alike (target 1) or not (target −1): 1 − cos, or max(0, cos − margin).
    /// Targets have the shape without that axis; another number than ±1 makes a loss of 0, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that do not fit, a margin that is infinite or NaN.
    #[track_caller]
    pub fn cosine_embedding_loss(
        self,
        other: Var<'g>,
        target: Var<'g>,
        margin: f64,
        reduction: Reduction,
    ) -> Var<'g> {
        let _composite =
            self.loss("cosine_embedding_loss", Attributes::new().with("margin", margin), reduction);
        let cosine = self.cosine_similarity(other, -1, 1e-6);
        let target = cosine.target("cosine_embedding_loss", target);
        self.graph().require("cosine_embedding_loss", "margin", margin, NUMBER);
        let (alike, apart) = (target.equal(1.0), target.equal(-1.0));
        reduction.of((1.0 - cosine).gate(alike) + (cosine - margin).relu().gate(apart))
    }

    /// The hinge max(0, 1 − x t) for targets ±1. Its derivative where x t = 1 is 0.
    #[track_caller]
    pub fn hinge_loss(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("hinge_loss", Attributes::new(), reduction);
        reduction.of((1.0 - self.target("hinge_loss", target).weigh(self)).relu())
    }

    /// Begins the composition of a loss.
    pub(super) fn loss(self, name: &'static str, attributes: Attributes, reduction: Reduction) -> Scope<'g> {
        self.graph().composed(name, attributes.with("reduction", reduction))
    }

    /// The targets, unless they have another shape. They are not broadcast: `[N, 1]` beside `[N]` is a mistake.
    #[track_caller]
    fn target(self, loss: &str, target: Var<'g>) -> Var<'g> {
        if self.ty() == target.ty() {
            return target;
        }
        let problem = Problem::new(format!("targets {} do not fit {}", target.ty(), self.ty()));
        let problem = problem.hint(match target.ty().dtype {
            Dtype::Index => {
                "targets are real numbers: record them with `graph.input`; classes go into `cross_entropy`"
            }
            Dtype::Real => "targets have the same shape; they are not broadcast",
        });
        self.refuse_loss(loss, target, problem).or_shape(&self.shape())
    }

    #[track_caller]
    fn refuse_loss(self, loss: &str, target: Var<'g>, problem: Problem) -> Var<'g> {
        self.graph().refuse(loss, &["x", "target"], &[self, target], problem)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    use Reduction::{Mean, None, Sum};
    let pair = || [normal([2, 3]), normal([2, 3])];
    vec![
        smooth("mse", pair(), |v| v[0].mse_loss(v[1], Mean)),
        smooth("mse of each", pair(), |v| v[0].mse_loss(v[1], None)),
        Example::new("l1", [away_from_zero([2, 3])], |v| v[0].l1_loss(v[0] * 2.0, Sum)),
        Example::new("huber", [distinct([3, 7])], |v| v[0].huber_loss(v[0] * 0.5, 0.256, Mean)),
        Example::new("smooth l1", [distinct([3, 7])], |v| v[0].smooth_l1_loss(v[0] * 0.5, 0.256, Sum)),
        Example::new("smooth l1 without a bound", [away_from_zero([5])], |v| {
            v[0].smooth_l1_loss(v[0] * 3.0, 0.0, None)
        }),
        smooth("binary cross entropy", pair(), |v| {
            v[0].binary_cross_entropy_with_logits(v[1].sigmoid(), Mean)
        }),
        smooth("weighted", [normal([2, 3]), normal([2, 3]), positive([3])], |v| {
            v[0].weighted_binary_cross_entropy_with_logits(v[1].sigmoid(), v[2], Sum)
        }),
        smooth("divergence", [normal([2, 3]), positive([2, 3])], |v| v[0].kl_divergence(v[1], Sum)),
        smooth("cosine", pair(), |v| v[0].cosine_similarity(v[1], 1, 1e-8)),
        Example::new("cosine of itself", [normal([2, 3, 2])], |v| {
            v[0].cosine_similarity(v[0], -2, 1e-8) * v[0].sum(&[1])
        }),
        smooth("every cosine of two sets", [normal([2, 1, 3]), normal([4, 3])], |v| {
            v[0].cosine_similarity(v[1], 2, 1e-8)
        }),
        Example::new("cosine of one number and many", [positive([2, 1]), normal([2, 3])], |v| {
            v[0].cosine_similarity(v[1], 1, 1e-8)
        }),
        Example::new("cosine embedding", [normal([4, 3]), normal([4, 3]), away_from_zero([4])], |v| {
            v[0].cosine_embedding_loss(v[1], v[2].sign(), -1.0, Mean)
        }),
        Example::new("of no elements", [normal([0, 3]), normal([0, 3])], |v| v[0].mse_loss(v[1], Sum)),
        Example::new("hinge", [distinct([5]), away_from_zero([5])], |v| v[0].hinge_loss(v[1].sign(), Sum)),
    ]
}
