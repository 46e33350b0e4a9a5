//! Losses of real numbers, composed of other operations.

use super::example::{Example, away_from_zero, distinct, normal, positive};
use crate::error::Problem;
use crate::graph::Var;

/// What becomes of the losses of single elements.
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

impl<'g> Var<'g> {
    /// The squared error (x − t)² to targets of the same shape.
    #[track_caller]
    pub fn mse_loss(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        reduction.of(self.gap(target, "mse_loss").powi(2))
    }

    /// The absolute error |x − t| to targets of the same shape; the slope at 0 is 0.
    #[track_caller]
    pub fn l1_loss(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        reduction.of(self.gap(target, "l1_loss").abs())
    }

    /// Huber's loss: ½ (x − t)² for errors up to δ, and δ (|x − t| − δ/2) for larger ones.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that differ, a δ that is not positive.
    #[track_caller]
    pub fn huber_loss(self, target: Var<'g>, delta: f64, reduction: Reduction) -> Var<'g> {
        if delta.is_nan() || delta <= 0.0 {
            let problem = Problem::new(format!("a δ of {delta} is not positive"))
                .hint("errors up to δ are squared, larger ones count by their size");
            return self.graph().refuse("huber_loss", &["x", "target"], &[self, target], problem);
        }
        let gap = self.gap(target, "huber_loss").abs();
        // With m = min(|x − t|, δ): m · (|x − t| − m/2) is both branches.
        let near = gap.minimum(delta);
        reduction.of(near * (gap - near * 0.5))
    }

    /// The cross entropy of logits x and targets t in \[0, 1\], one yes-or-no question for each element:
    /// −t ln σ(x) − (1 − t) ln(1 − σ(x)) = softplus(x) − x t, without overflow.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        if let Some(refused) = self.unlike(target, "binary_cross_entropy_with_logits") {
            return refused;
        }
        reduction.of(self.softplus() - self * target)
    }

    /// The divergence of Kullback and Leibler from targets t to probabilities whose logarithms these are: t (ln t − x),
    /// which is 0 for t = 0. For the divergence of whole distributions take the sum over them (`batchmean` in PyTorch: the
    /// sum divided by the batch).
    #[track_caller]
    pub fn kl_divergence(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        if let Some(refused) = self.unlike(target, "kl_divergence") {
            return refused;
        }
        let entropy = target * target.greater(0.0).choose(target.ln(), 0.0);
        reduction.of(entropy - target * self)
    }

    /// The cosine of the angle between vectors along an axis, which disappears: x·y / max(‖x‖ ‖y‖, ε).
    #[track_caller]
    pub fn cosine_similarity(self, other: Var<'g>, axis: isize, epsilon: f64) -> Var<'g> {
        let square = |x: Var<'g>| x.powi(2).sum(&[axis]);
        // The root of both squares at once; of nothing smaller than ε² there is no steep slope.
        let lengths = (square(self) * square(other)).at_least(epsilon * epsilon).sqrt();
        (self * other).sum(&[axis]) / lengths
    }

    /// The hinge max(0, 1 − x t) for targets ±1.
    #[track_caller]
    pub fn hinge_loss(self, target: Var<'g>, reduction: Reduction) -> Var<'g> {
        if let Some(refused) = self.unlike(target, "hinge_loss") {
            return refused;
        }
        reduction.of((1.0 - self * target).relu())
    }

    /// x − t. Targets are not broadcast: `[N, 1]` beside `[N]` is a mistake.
    #[track_caller]
    fn gap(self, target: Var<'g>, loss: &str) -> Var<'g> {
        match self.unlike(target, loss) {
            Some(refused) => refused,
            None => self - target,
        }
    }

    /// Refuses targets of another shape.
    #[track_caller]
    fn unlike(self, target: Var<'g>, loss: &str) -> Option<Var<'g>> {
        if self.meta() == target.meta() {
            return None;
        }
        let problem = Problem::new(format!("targets {} do not fit {}", target.meta(), self.meta()))
            .hint("targets are real numbers of the same shape; they are not broadcast");
        Some(self.graph().refuse(loss, &["x", "target"], &[self, target], problem))
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    use Reduction::{Mean, None, Sum};
    let pair = || [normal([2, 3]), normal([2, 3])];
    vec![
        Example::new("mse", pair(), |v| v[0].mse_loss(v[1], Mean)).smooth(),
        Example::new("mse of each", pair(), |v| v[0].mse_loss(v[1], None)).smooth(),
        Example::new("l1", [away_from_zero([2, 3])], |v| v[0].l1_loss(v[0] * 2.0, Sum)),
        Example::new("huber", [distinct([3, 7])], |v| v[0].huber_loss(v[0] * 0.5, 0.256, Mean)),
        Example::new("binary cross entropy", pair(), |v| v[0].binary_cross_entropy_with_logits(v[1].sigmoid(), Mean)).smooth(),
        Example::new("divergence", [normal([2, 3]), positive([2, 3])], |v| v[0].kl_divergence(v[1], Sum)),
        Example::new("cosine", [normal([2, 3]), normal([2, 3])], |v| v[0].cosine_similarity(v[1], 1, 1e-8)).smooth(),
        Example::new("hinge", [distinct([5]), away_from_zero([5])], |v| v[0].hinge_loss(v[1].sign(), Sum)),
    ]
}
