//! Softmax cross-entropy of rows, and the picking of one class that it rests on.

use super::example::{Example, labels, linear, normal, smooth};
use crate::error::Problem;
use crate::graph::{Attributes, Dtype, Var};

impl<'g> Var<'g> {
    /// Each row's element at its class: `[N, C]` and labels `[N]` give `[N]`.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that do not fit, real numbers for labels. A class out of range is an error when it
    /// is given.
    #[track_caller]
    pub fn pick(self, labels: Var<'g>) -> Var<'g> {
        let _called = self.graph().called("pick");
        match rows(self, labels) {
            Ok(count) => self.gather(1, labels.reshape([count, 1])).reshape([count]),
            Err(problem) => {
                self.graph().refuse("pick", &["rows", "labels"], &[self, labels], problem).or_rank(1)
            }
        }
    }

    /// The mean over the batch of −ln softmax(logits)\[label\], a single number in nats.
    ///
    /// Logits are `[N, C]`; labels are either classes `[N]` from [`Graph::labels`](crate::Graph::labels),
    /// or a weight for each class `[N, C]` (one-hot or probabilities; then the row's loss is
    /// −Σ weight · ln softmax, differentiable in the weights too; 0 · ∞ counts as 0, but the derivative in such a weight is
    /// infinite). Which one it is follows from the labels' type, never from their shape. The gradient in the logits is (softmax − one-hot) / N times the
    /// upstream gradient.
    ///
    /// An empty batch has no mean and is an error. A class out of range is an error when it is given.
    #[track_caller]
    pub fn softmax_cross_entropy(self, labels: Var<'g>) -> Var<'g> {
        let _composite = self.graph().composed("softmax_cross_entropy", Attributes::new());
        let log_probabilities = self.log_softmax(-1);
        let each = match labels.ty().dtype {
            Dtype::Index if labels.shape() == self.shape() && labels.shape().len() > 1 => {
                let problem = Problem::new(format!("{} labels are no classes of {} rows", labels.shape(), self.shape()))
                    .hint("weights of classes, such as one-hot rows, are real numbers: record them with `graph.input`");
                self.graph().refuse("softmax_cross_entropy", &["logits", "labels"], &[self, labels], problem)
            }
            Dtype::Index => log_probabilities.pick(labels),
            Dtype::Real if labels.shape() != self.shape() => {
                let text = format!("labels {} do not fit logits {}", labels.shape(), self.shape());
                let problem =
                    Problem::new(text).hint("give a weight for each class, or classes from `graph.labels`");
                self.graph().refuse("softmax_cross_entropy", &["logits", "labels"], &[self, labels], problem)
            }
            Dtype::Real => labels.weigh(log_probabilities).sum(&[-1]),
        };
        -each.mean_all()
    }
}

/// How many rows there are, each with its label.
fn rows(rows: Var<'_>, labels: Var<'_>) -> Result<usize, Problem> {
    let (shape, labels) = (rows.shape(), labels.ty());
    if labels.dtype != Dtype::Index {
        return Err(Problem::new("the labels are real numbers")
            .hint("classes are whole numbers: record them with `graph.labels`"));
    }
    match shape[..] {
        [count, _] if labels.shape[..] == [count] => Ok(count),
        [_, _] => Err(Problem::new(format!("{} labels do not fit {shape} rows", labels.shape))
            .hint("there is one label for each row")),
        _ => Err(Problem::new(format!("{shape} is not [batch, classes]"))
            .hint("`cross_entropy` takes a label for each pixel of [batch, classes, ..]; `flatten` makes rows of features")),
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("pick", [normal([3, 4]), labels([3], 4)], |v| v[0].pick(v[1])),
        smooth("classes", [normal([3, 4]), labels([3], 4)], |v| v[0].softmax_cross_entropy(v[1])),
        smooth("probabilities", [normal([2, 3]), normal([2, 3])], |v| {
            v[0].softmax_cross_entropy(v[1].softmax(1))
        }),
        Example::new("scaled by what follows", [normal([2, 3]), labels([2], 3)], |v| {
            (v[0].softmax_cross_entropy(v[1]) * 3.0).exp()
        }),
        Example::new("one class", [normal([2, 1]), labels([2], 1)], |v| v[0].softmax_cross_entropy(v[1])),
    ]
}
