//! Losses of class labels with everything that people ask of them: smoothing, weights, ignored labels, any rank.

use super::example::{Example, distinct, labels, linear, normal, positive, smooth};
use super::losses::Reduction;
use crate::error::Problem;
use crate::graph::setting::{NUMBER, check};
use crate::graph::{Attributes, Call, Dtype, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::Shape;
use dagrad_kernels::real::Real;

/// Labels of which one does not count.
#[derive(Debug, Clone, PartialEq)]
pub struct Ignore {
    label: u32,
    classes: usize,
    /// Whether this is 1 for each label that counts and 0 for others; or else the labels, with class 0 for those that
    /// do not count.
    mask: bool,
}

impl Op for Ignore {
    fn name(&self) -> &'static str {
        if self.mask { "counted" } else { "labels" }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let shape = &operands[0].shape;
        Ok(if self.mask { TensorType::real(shape) } else { TensorType::index(shape) })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let labels = call.indices_of(0);
        let mask = call.output.iter_mut().zip(labels);
        mask.for_each(|(out, &label)| *out = if label == self.label { T::zero() } else { T::one() });
        let kept = call.indices.iter_mut().zip(labels);
        kept.for_each(|(out, &label)| *out = if label == self.label { 0 } else { label });
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn roles(&self) -> &'static [&'static str] {
        &["labels"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("ignored", self.label).quiet("classes", self.classes)
    }

    fn index_limit(&self, _: &[&TensorType]) -> Option<usize> {
        Some(self.classes)
    }

    fn exempt_index(&self) -> Option<u32> {
        Some(self.label)
    }

    /// Class 0 stands for labels that do not count, even if there are no classes.
    fn index_bound(&self, _: &[&TensorType], _: Option<u32>) -> Option<usize> {
        Some(self.classes.max(1))
    }
}

/// How [`Var::cross_entropy`] and [`Var::nll_loss`] treat labels.
///
/// ```
/// use dagrad::{CrossEntropy, Graph, Reduction};
///
/// let graph = Graph::new();
/// let (logits, labels) = (graph.input("logits", [8, 21, 32, 32]), graph.labels("labels", [8, 32, 32]));
/// let options = CrossEntropy::new().label_smoothing(0.1).ignore(255).reduction(Reduction::Sum);
/// assert_eq!(logits.cross_entropy(labels, options).shape().len(), 0);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct CrossEntropy<'g> {
    label_smoothing: f64,
    weights: Option<Var<'g>>,
    ignored: Option<u32>,
    reduction: Reduction,
}

impl<'g> CrossEntropy<'g> {
    /// All labels count alike, and the loss is their mean.
    pub fn new() -> Self {
        Self::default()
    }

    /// This share of each label is spread evenly over all classes (Szegedy and others, *Rethinking the Inception
    /// Architecture*, 2015).
    pub fn label_smoothing(self, share: f64) -> Self {
        Self { label_smoothing: share, ..self }
    }

    /// How much each class counts, `[C]`. A mean is then over the weights of the labels.
    pub fn weights(self, weights: Var<'g>) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// A label, perhaps beyond the classes, that does not count, and whose logits may be anything. The mean over no labels at all is NaN, as in PyTorch.
    pub fn ignore(self, label: u32) -> Self {
        Self { ignored: Some(label), ..self }
    }

    /// What becomes of the labels' losses.
    pub fn reduction(self, reduction: Reduction) -> Self {
        Self { reduction, ..self }
    }

    /// Rows of logits, with 0 for those that do not count: they may hold anything, of which a product with 0 or the gradient of a
    /// softmax would be NaN.
    #[track_caller]
    fn cut_off(&self, logits: Var<'g>, labels: Var<'g>) -> Var<'g> {
        match self.ignored {
            Some(label) => {
                logits.gate(counted(logits, labels, label).unsqueeze(1).broadcast_to(logits.shape()))
            }
            None => logits,
        }
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::new().unless("label_smoothing", self.label_smoothing, 0.0);
        let attributes = match self.ignored {
            Some(label) => attributes.with("ignored", label),
            None => attributes,
        };
        attributes.with("reduction", self.reduction)
    }
}

impl<'g> Var<'g> {
    /// The cross entropy of logits `[N, C]` or `[N, C, d₁, …]` and labels `[N]` or `[N, d₁, …]`, in nats: for each label
    /// −wᵧ ln softmax(x)ᵧ, smoothed as (1 − ε) · that − ε/C Σ w ln softmax(x). What is asked of it beyond
    /// [`softmax_cross_entropy`](Self::softmax_cross_entropy) is in the options.
    ///
    /// Labels may also be probabilities p of the logits' shape; then each position's loss is −Σ w p ln softmax(x), with p
    /// smoothed to (1 − ε) p + ε/C, and the mean is over positions, whatever their weights.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that do not fit, weights of another shape, a share outside of \[0, 1\], a label
    /// ignored among probabilities, a mean over no labels. A class out of range is an error when it is given.
    #[track_caller]
    pub fn cross_entropy(self, labels: Var<'g>, options: CrossEntropy<'g>) -> Var<'g> {
        let _composite = self.graph().composed("cross_entropy", options.attributes());
        if let Err(problem) = fit(self, labels, &options) {
            let each = self.graph().refuse("cross_entropy", &["logits", "labels"], &[self, labels], problem);
            return options.reduction.of(each.lacking(&[1]));
        }
        let logarithms = options.cut_off(self, labels).log_softmax(1);
        let _part = self.graph().composed("nll_loss", options.attributes());
        logarithms.costs(labels, options)
    }

    /// [`cross_entropy`](Self::cross_entropy) of logarithms of probabilities: without the softmax.
    ///
    /// # Errors
    /// As [`cross_entropy`](Self::cross_entropy).
    #[track_caller]
    pub fn nll_loss(self, labels: Var<'g>, options: CrossEntropy<'g>) -> Var<'g> {
        let _composite = self.graph().composed("nll_loss", options.attributes());
        if let Err(problem) = fit(self, labels, &options) {
            let roles = ["log_probabilities", "labels"];
            let each = self.graph().refuse("nll_loss", &roles, &[self, labels], problem);
            return options.reduction.of(each.lacking(&[1]));
        }
        options.cut_off(self, labels).costs(labels, options)
    }

    /// The loss of logarithms of probabilities, finite ones in rows that do not count.
    #[track_caller]
    fn costs(self, labels: Var<'g>, options: CrossEntropy<'g>) -> Var<'g> {
        let (graph, shape) = (self.graph(), self.shape());
        let (classes, each, share) = (shape[1], labels.shape(), options.label_smoothing);
        let mut sides = vec![1; shape.len() - 1];
        sides[0] = classes;
        let weighted = match options.weights {
            Some(weights) => weights.reshape(sides).weigh(self),
            None => self,
        };
        if labels.ty().dtype == Dtype::Real {
            let smoothed = graph.fill(&each, 1.0 - share).weigh(labels) + share / classes as f64;
            return options.reduction.of(-smoothed.weigh(weighted).sum(&[1]));
        }
        let (mut at, mut counts) = (labels, graph.fill(&each, 1.0));
        if let Some(label) = options.ignored {
            at = graph.record(Ignore { label, classes, mask: false }, &[labels]);
            counts = counted(self, labels, label);
        }
        let weight = match options.weights {
            Some(weights) => weights.index_select(0, at.reshape([each.count()])).reshape(&each).gate(counts),
            None => counts,
        };
        let mut loss = -weight.weigh(self.gather(1, at.unsqueeze(1)).reshape(&each));
        if share > 0.0 {
            let spread = weighted.sum(&[1]).gate(counts);
            loss = graph.fill(&each, 1.0 - share).weigh(loss) - spread * (share / classes as f64);
        }
        match options.reduction {
            Reduction::Mean => loss.sum_all() / weight.sum_all(),
            other => other.of(loss),
        }
    }
}

impl<'g> Var<'g> {
    /// For scores `[N, C]` and labels y: by how much the other classes come within a margin of the right one,
    /// Σ max(0, margin − xᵧ + xⱼ) / C over all classes j but y (PyTorch's `multi_margin_loss`). The derivative where a class
    /// just reaches the margin is 0.
    ///
    /// # Errors
    /// Recorded on the graph: shapes that do not fit, real numbers for labels, a margin that is infinite or NaN, a mean over no labels.
    #[track_caller]
    pub fn multi_margin_loss(self, labels: Var<'g>, margin: f64, reduction: Reduction) -> Var<'g> {
        let _composite = self.loss("multi_margin_loss", Attributes::new().with("margin", margin), reduction);
        let (graph, own) = (self.graph(), self.pick(labels));
        let &[count, classes] = &self.shape()[..] else {
            return reduction.of(own); // `pick` has said what is wrong
        };
        graph.require("multi_margin_loss", "margin", margin, NUMBER);
        let is_own = labels.one_hot(classes);
        let excess = (self - own.reshape([count, 1]) + margin).relu().gate(1.0 - is_own);
        reduction.of(excess.sum(&[1]) / classes as f64)
    }
}

/// The labels, with class 0 for those that are ignored, and which count: 1 for those, and 0 for the ignored ones.
#[track_caller]
pub(crate) fn without<'g>(logits: Var<'g>, labels: Var<'g>, label: u32) -> [Var<'g>; 2] {
    let kept = Ignore { label, classes: logits.shape()[1], mask: false };
    [logits.graph().record(kept, &[labels]), counted(logits, labels, label)]
}

/// 1 for each label that counts, and 0 for those that are ignored.
#[track_caller]
fn counted<'g>(logits: Var<'g>, labels: Var<'g>, label: u32) -> Var<'g> {
    logits.graph().record(Ignore { label, classes: logits.shape()[1], mask: true }, &[labels])
}

/// Whether logits, labels and options go together.
fn fit(logits: Var<'_>, labels: Var<'_>, options: &CrossEntropy<'_>) -> Result<(), Problem> {
    let (shape, found) = (logits.shape(), labels.shape());
    let is_real = labels.ty().dtype == Dtype::Real;
    let each: Shape =
        shape.iter().enumerate().filter(|(axis, _)| is_real || *axis != 1).map(|(_, &size)| size).collect();
    if shape.len() < 2 || found != each {
        let hint = if is_real {
            "there is a probability for each logit; classes are whole numbers: record them with `graph.labels`"
        } else {
            "logits are [batch, classes, ..], and labels the same without the classes"
        };
        return Err(Problem::new(format!("labels {found} do not fit logits {shape}")).hint(hint));
    }
    if is_real && let Some(label) = options.ignored {
        return Err(Problem::new(format!("a label {label} is ignored, but the labels are probabilities"))
            .hint("probabilities of 0 count for nothing"));
    }
    if let Some(weights) = options.weights.map(|weights| weights.shape())
        && weights[..] != [shape[1]]
    {
        let text = format!("weights {weights} are not one for each of {} classes", shape[1]);
        return Err(Problem::new(text).hint("give an array of one axis"));
    }
    check("label_smoothing", options.label_smoothing, 0.0..=1.0)?;
    if options.reduction == Reduction::Mean && found.count() == 0 {
        return Err(Problem::new("the mean over an empty batch has no value").hint("take the sum"));
    }
    Ok(())
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        smooth("smoothed", [normal([3, 4]), labels([3], 4)], |v| {
            v[0].cross_entropy(v[1], CrossEntropy::new().label_smoothing(0.3))
        }),
        smooth("weighted and smoothed", [normal([3, 4]), labels([3], 4), positive([4])], |v| {
            v[0].cross_entropy(v[1], CrossEntropy::new().weights(v[2]).label_smoothing(0.2))
        }),
        Example::new(
            "of images, one label ignored",
            [normal([2, 3, 2, 4]), labels([2, 2, 4], 3), positive([3])],
            |v| v[0].cross_entropy(v[1], CrossEntropy::new().weights(v[2]).ignore(1).label_smoothing(0.1)),
        ),
        Example::new("one for each label", [normal([4, 3]), labels([4], 3)], |v| {
            v[0].cross_entropy(v[1], CrossEntropy::new().ignore(0).reduction(Reduction::None))
        }),
        smooth("of probabilities", [normal([2, 3, 4]), positive([2, 3, 4]), positive([3])], |v| {
            v[0].cross_entropy(v[1], CrossEntropy::new().weights(v[2]).label_smoothing(0.2))
        }),
        linear("sum of logarithms", [normal([4, 3]), labels([4], 3)], |v| {
            v[0].nll_loss(v[1], CrossEntropy::new().reduction(Reduction::Sum))
        }),
        Example::new("margin", [distinct([4, 3]), labels([4], 3)], |v| {
            v[0].multi_margin_loss(v[1], 0.95, Reduction::Mean)
        }),
        Example::new("margins of each", [distinct([3, 5]), labels([3], 5)], |v| {
            v[0].multi_margin_loss(v[1], 0.15, Reduction::None) * v[0].sum(&[1])
        }),
        Example::new("sum over no labels", [normal([0, 3]), labels([0], 3)], |v| {
            v[0].cross_entropy(v[1], CrossEntropy::new().reduction(Reduction::Sum))
        }),
    ]
}
