//! Softmax cross-entropy, and the picking of one class that it rests on.

use super::example::{Example, labels, normal};
use crate::error::Problem;
use crate::graph::{At, Call, Dtype, Gradient, Meta, Op, Var};
use crate::kernels::real::Real;

/// `[N, C]` and a class for each row → `[N]`: each row's element at its class.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick;

/// The adjoint: `[N]` and a class for each row → `[N, C]`, zero but at the class.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub(super) classes: usize,
}

impl Op for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        let (rows, labels) = (operands[0], operands[1]);
        if labels.dtype != Dtype::Index {
            return Err(Problem::new("the labels are real numbers")
                .hint("classes are whole numbers: record them with `graph.labels`"));
        }
        let &[count, _] = &rows.shape[..] else {
            return Err(Problem::new(format!("{} is not [batch, classes]", rows.shape)).hint("use `flatten`"));
        };
        if rows.dtype != Dtype::Real || labels.shape[..] != [count] {
            return Err(Problem::new(format!("{} labels do not fit {} rows", labels.shape, rows.shape))
                .hint("there is one label for each row"));
        }
        Ok(Meta::real([count]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let classes = call.operand_shape(0)[1];
        let rows = call.real(0).chunks_exact(classes.max(1)).zip(call.indices_of(1));
        call.output.iter_mut().zip(rows).for_each(|(out, (row, &class))| *out = row[class as usize]);
    }

    fn vjp<'g>(&self, argument: usize, at: At<'g>) -> Gradient<'g> {
        match argument {
            0 => {
                let op = Place { classes: at.operands[0].shape()[1] };
                Gradient::Of(at.upstream.graph().record(op, &[at.upstream, at.operands[1]]))
            }
            _ => Gradient::Constant,
        }
    }

    fn roles(&self) -> &'static [&'static str] {
        &["rows", "labels"]
    }

    fn index_limit(&self, operands: &[&Meta]) -> Option<usize> {
        Some(operands[0].shape[1])
    }
}

impl Op for Place {
    fn name(&self) -> &'static str {
        "place"
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        let [count] = operands[0].shape[..] else {
            return Err(Problem::new(format!("{} is not one number for each row", operands[0].shape)));
        };
        Ok(Meta::real([count, self.classes]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let (values, labels) = (call.real(0), call.indices_of(1));
        call.output.fill(T::zero());
        let rows = call.output.chunks_exact_mut(self.classes.max(1));
        for (row, (&value, &class)) in rows.zip(values.iter().zip(labels)) {
            row[class as usize] = value;
        }
    }

    fn vjp<'g>(&self, argument: usize, at: At<'g>) -> Gradient<'g> {
        match argument {
            0 => Gradient::Of(at.upstream.graph().record(Pick, &[at.upstream, at.operands[1]])),
            _ => Gradient::Constant,
        }
    }

    fn roles(&self) -> &'static [&'static str] {
        &["values", "labels"]
    }

    fn index_limit(&self, _: &[&Meta]) -> Option<usize> {
        Some(self.classes)
    }
}

impl<'g> Var<'g> {
    /// Each row's element at its class: `[N, C]` and labels `[N]` give `[N]`.
    #[track_caller]
    pub fn pick(self, labels: Var<'g>) -> Var<'g> {
        self.graph().record(Pick, &[self, labels])
    }

    /// The mean over the batch of −ln softmax(logits)\[label\], a single number in nats.
    ///
    /// Logits are `[N, C]`; labels are either classes `[N]` from [`Graph::labels`](crate::Graph::labels),
    /// or a weight for each class `[N, C]` (one-hot or probabilities; then the row's loss is
    /// −Σ weight · ln softmax, differentiable in the weights too). Which one it is follows from the labels'
    /// type, never from their shape. The gradient in the logits is (softmax − one-hot) / N times the
    /// upstream gradient.
    ///
    /// An empty batch has no mean and is an error. A class out of range is an error when it is given.
    #[track_caller]
    pub fn softmax_cross_entropy(self, labels: Var<'g>) -> Var<'g> {
        let log_probabilities = self.log_softmax(-1);
        let each = match labels.meta().dtype {
            Dtype::Index => log_probabilities.pick(labels),
            Dtype::Real if labels.shape() != self.shape() => {
                let text = format!("labels {} do not fit logits {}", labels.shape(), self.shape());
                let problem = Problem::new(text).hint("give a weight for each class, or classes from `graph.labels`");
                self.graph().refuse("softmax_cross_entropy", &["logits", "labels"], &[self, labels], problem)
            }
            Dtype::Real => (labels * log_probabilities).sum(&[-1]),
        };
        -each.mean_all()
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("pick", [normal([3, 4]), labels([3], 4)], |v| v[0].pick(v[1])).linear(),
        Example::new("classes", [normal([3, 4]), labels([3], 4)], |v| v[0].softmax_cross_entropy(v[1])).smooth(),
        Example::new("probabilities", [normal([2, 3]), normal([2, 3])], |v| {
            v[0].softmax_cross_entropy(v[1].softmax(1))
        })
        .smooth(),
        Example::new("scaled by what follows", [normal([2, 3]), labels([2], 3)], |v| {
            (v[0].softmax_cross_entropy(v[1]) * 3.0).exp()
        }),
        Example::new("one class", [normal([2, 1]), labels([2], 1)], |v| v[0].softmax_cross_entropy(v[1])),
    ]
}
