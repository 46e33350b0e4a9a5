//! Figures to judge by: functions of sums over samples.

use std::fmt;
use std::rc::Rc;

use crate::graph::setting::COUNT;
use crate::graph::{Attributes, Dtype, Var};
use crate::ops::without;
use crate::run::Outputs;

/// A figure that is measured over the samples of an epoch, such as an accuracy.
///
/// It is a function of sums: the sums of each batch are recorded on the graph, those of all batches are added up in double
/// precision, and the figure is made of the total. So it does not depend on how samples are divided into batches, as a mean of
/// means would.
///
/// Logits are `[N, C]` or `[N, C, …]`, such as `[N, C, H, W]` for a class in each pixel, and labels are classes `[N]` or
/// `[N, …]`, or probabilities of classes of the logits' shape. Where a logit is NaN, no class is predicted.
///
/// One of your own:
/// ```
/// use dagrad::Var;
/// use dagrad::train::Metric;
///
/// /// The coefficient of determination, 1 − ∑(y − ŷ)² / ∑(y − ȳ)².
/// fn r2<'g>(predicted: Var<'g>, target: Var<'g>) -> Metric<'g> {
///     let sums = [(target - predicted).powi(2), target, target.powi(2), target.equal(target)];
///     let sums: Vec<_> = sums.iter().map(|values| values.sum_all().reshape([1])).collect();
///     Metric::of_sums("R2", target.graph().concat(&sums, 0), |sums| {
///         let [error, total, squares, count] = sums else { return f64::NAN };
///         1.0 - error / (squares - total * total / count)
///     })
/// }
/// ```
#[derive(Clone)]
pub struct Metric<'g> {
    pub(super) name: String,
    pub(super) sums: Var<'g>,
    pub(super) value: Value,
}

/// From the sums over all samples to a figure.
pub(super) type Value = Rc<dyn Fn(&[f64]) -> f64>;

impl<'g> Metric<'g> {
    /// A figure of one's own: `sums` holds sums over the samples of the batch, in any shape, and `value` makes the figure of
    /// their totals, in the order of the elements.
    pub fn of_sums(name: impl Into<String>, sums: Var<'g>, value: impl Fn(&[f64]) -> f64 + 'static) -> Self {
        Self { name: name.into(), sums: sums.stop_gradient(), value: Rc::new(value) }
    }

    /// The mean over all elements of all samples.
    pub fn mean(name: impl Into<String>, values: Var<'g>) -> Self {
        let count = values.graph().fill(values.shape(), 1.0);
        Self::ratio(name, values, count)
    }

    /// The sum of one array over that of another.
    fn ratio(name: impl Into<String>, part: Var<'g>, whole: Var<'g>) -> Self {
        let sums = [part, whole].map(|values| values.sum_all().reshape([1]));
        let sums = part.graph().concat(&sums, 0);
        Self::of_sums(name, sums, |sums| if let [part, whole] = sums { part / whole } else { f64::NAN })
    }

    /// `accuracy`: the fraction of labels that have the largest logit, the first of equal ones.
    #[track_caller]
    pub fn accuracy(logits: Var<'g>, labels: impl Into<Labels<'g>>) -> Self {
        let _composite = composite(logits, "accuracy");
        let [truth, counted] = labels.into().beside(logits);
        Self::ratio("accuracy", of_best(logits) * truth, counted)
    }

    /// `top-k accuracy`: the fraction of labels whose logit is among the `k` largest. Of equal logits the label's comes last.
    #[track_caller]
    pub fn top_k(k: usize, logits: Var<'g>, labels: impl Into<Labels<'g>>) -> Self {
        let _composite = composite(logits, "top_k");
        logits.graph().require("top_k", "k", k, COUNT);
        let [truth, counted] = labels.into().beside(logits);
        let own = logits.gather(1, truth.argmax(1).unsqueeze(1));
        let rank = logits.greater_equal(own).sum_keep(&[1]);
        let hits = rank.less_equal(k as f64) * is_number(logits) * counted;
        Self::ratio(format!("top-{k} accuracy"), hits, counted)
    }

    /// `binary accuracy`: the fraction of targets, each 0 or 1, whose logit is on the right side of 0. For two classes, and for
    /// several labels a sample.
    #[track_caller]
    pub fn binary_accuracy(logits: Var<'g>, targets: Var<'g>) -> Self {
        let _composite = composite(logits, "binary_accuracy");
        let positive = targets.greater(0.5);
        let right = logits.greater(0.0) * positive + logits.less_equal(0.0) * (1.0 - positive);
        Self::mean("binary accuracy", right)
    }

    /// `precision`: of the samples that are taken for a class the fraction that belongs to it, as a mean over the classes that
    /// occur, in labels or predictions. What is divided by 0 counts as 0.
    #[track_caller]
    pub fn precision(logits: Var<'g>, labels: impl Into<Labels<'g>>) -> Self {
        Self::by_class("precision", logits, labels.into(), |[hits, taken, _]| hits / taken)
    }

    /// `recall`: of the samples that belong to a class the fraction that is taken for it, as a mean over the classes that occur.
    #[track_caller]
    pub fn recall(logits: Var<'g>, labels: impl Into<Labels<'g>>) -> Self {
        Self::by_class("recall", logits, labels.into(), |[hits, _, own]| hits / own)
    }

    /// `F1`: the harmonic mean of precision and recall of a class, as a mean over the classes that occur.
    #[track_caller]
    pub fn f1(logits: Var<'g>, labels: impl Into<Labels<'g>>) -> Self {
        Self::by_class("F1", logits, labels.into(), |[hits, taken, own]| 2.0 * hits / (taken + own))
    }

    /// `mean IoU`: intersection over union of the labels and predictions of a class, as a mean over the classes that occur.
    #[track_caller]
    pub fn mean_iou(logits: Var<'g>, labels: impl Into<Labels<'g>>) -> Self {
        Self::by_class("mean IoU", logits, labels.into(), |[hits, taken, own]| hits / (taken + own - hits))
    }

    /// `mean absolute error`: of all elements.
    #[track_caller]
    pub fn mean_absolute_error(predicted: Var<'g>, target: Var<'g>) -> Self {
        let _composite = composite(predicted, "mean_absolute_error");
        Self::mean("mean absolute error", (predicted - target).abs())
    }

    /// `mean squared error`: of all elements.
    #[track_caller]
    pub fn mean_squared_error(predicted: Var<'g>, target: Var<'g>) -> Self {
        let _composite = composite(predicted, "mean_squared_error");
        Self::mean("mean squared error", (predicted - target).powi(2))
    }

    /// A mean over classes of a function of three counts: samples of the class that are taken for it, samples that are taken for
    /// it, and samples of the class.
    #[track_caller]
    fn by_class(
        name: &'static str,
        logits: Var<'g>,
        labels: Labels<'g>,
        of_class: fn([f64; 3]) -> f64,
    ) -> Self {
        let _composite = composite(logits, name);
        let [truth, counted] = labels.beside(logits);
        let best = of_best(logits) * counted;
        let axes: Vec<isize> = (0..logits.shape().len() as isize).filter(|&axis| axis != 1).collect();
        let counts = [best * truth, best, truth].map(|values| values.sum(&axes));
        let counts = logits.graph().concat(&counts, 0);
        Self::of_sums(name, counts, move |sums| {
            let classes = sums.len() / 3;
            let counts = |class: usize| [sums[class], sums[classes + class], sums[2 * classes + class]];
            let occurring = (0..classes).map(counts).filter(|[_, taken, own]| taken + own > 0.0);
            let values: Vec<f64> =
                occurring.map(of_class).map(|value| if value.is_nan() { 0.0 } else { value }).collect();
            values.iter().sum::<f64>() / values.len() as f64
        })
    }
}

/// What is recorded until the guard is dropped belongs to a metric.
fn composite<'g>(value: Var<'g>, metric: &'static str) -> impl Drop + use<'g> {
    value.graph().composed(metric, Attributes::new())
}

/// The labels that a [`Metric`] compares logits with. Values become labels by [`Into`].
#[derive(Debug, Clone, Copy)]
pub struct Labels<'g> {
    labels: Var<'g>,
    ignored: Option<u32>,
}

impl<'g> From<Var<'g>> for Labels<'g> {
    fn from(labels: Var<'g>) -> Self {
        Self { labels, ignored: None }
    }
}

impl<'g> Labels<'g> {
    /// All labels but those of one class, such as 255 for pixels of none; [`CrossEntropy::ignore`](crate::CrossEntropy::ignore)
    /// does the same for the loss.
    pub fn ignoring(labels: Var<'g>, label: u32) -> Self {
        Self { labels, ignored: Some(label) }
    }

    /// 1 where a class, along axis 1, is the label that counts, or the most probable one; and 1 for each label that counts.
    #[track_caller]
    fn beside(self, logits: Var<'g>) -> [Var<'g>; 2] {
        let is_index = self.labels.ty().dtype == Dtype::Index;
        match self.ignored {
            Some(label) if is_index => {
                let [labels, counted] = without(logits, self.labels, label);
                let counted = counted.unsqueeze(1);
                [in_axis_1(labels, logits) * counted, counted]
            }
            _ => {
                let labels = if is_index { self.labels } else { self.labels.argmax(1) };
                let truth = in_axis_1(labels, logits);
                [truth, truth.sum_keep(&[1])]
            }
        }
    }
}

/// 1 where a class has the largest logit, the first of equal ones, else 0: also where a logit is NaN.
fn of_best(logits: Var<'_>) -> Var<'_> {
    in_axis_1(logits.argmax(1), logits) * is_number(logits)
}

/// 1 for each sample, or pixel, no logit of which is NaN, else 0.
fn is_number(logits: Var<'_>) -> Var<'_> {
    let largest = logits.max_keep(&[1]);
    largest.equal(largest)
}

/// Classes as numbers, 1 at the class and 0 elsewhere, along axis 1.
#[track_caller]
fn in_axis_1<'g>(classes: Var<'g>, logits: Var<'g>) -> Var<'g> {
    let rows = classes.one_hot(logits.shape().get(1).copied().unwrap_or(1));
    let last = rows.shape().len() as isize - 1;
    let axes: Vec<isize> = [0, last].into_iter().chain(1..last).collect();
    if last > 1 { rows.permute(&axes) } else { rows }
}

impl fmt::Debug for Metric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric").field("name", &self.name).field("sums", &self.sums).finish_non_exhaustive()
    }
}

/// A loss and the metrics of an objective, measured over samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// The mean loss.
    pub loss: f64,
    pub(super) metrics: Vec<(String, f64)>,
}

impl Figures {
    /// A loss without metrics, of a loop of one's own.
    pub fn new(loss: f64) -> Self {
        Self { loss, metrics: Vec::new() }
    }

    /// Adds a metric.
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.push((name.into(), value));
        self
    }

    /// The metric of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics().find(|&(own, _)| own == name).map(|(_, value)| value)
    }

    /// The metric `accuracy`, which classifiers have; NaN without one.
    pub fn accuracy(&self) -> f64 {
        self.get("accuracy").unwrap_or(f64::NAN)
    }

    /// All metrics by name, in the order of the [`Goal`](super::Goal).
    pub fn metrics(&self) -> impl Iterator<Item = (&str, f64)> {
        self.metrics.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// As in `loss 0.0312  accuracy 0.9890`.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.loss)?;
        self.metrics().try_for_each(|(name, value)| write!(f, "  {name} {value:.4}"))
    }
}

/// Sums over the samples that were seen, of which figures are made: the loss, how many samples there were, then those of each
/// metric.
#[derive(Clone, Default)]
pub(super) struct Measured {
    /// Name, how many sums, and the figure that is made of them.
    metrics: Vec<(String, usize, Value)>,
    pub(super) sums: Vec<f64>,
}

impl Measured {
    pub(super) fn new(metrics: &[Metric<'_>]) -> Self {
        let metrics: Vec<_> = metrics
            .iter()
            .map(|metric| (metric.name.clone(), metric.sums.shape().iter().product(), metric.value.clone()))
            .collect();
        let count = 2 + metrics.iter().map(|(_, count, _)| count).sum::<usize>();
        Self { metrics, sums: vec![0.0; count] }
    }

    /// Begins anew, or with the sums of before a pause.
    pub(super) fn restart(&mut self, sums: &[f64]) {
        if sums.len() == self.sums.len() { self.sums.copy_from_slice(sums) } else { self.sums.fill(0.0) }
    }

    /// Adds a batch, of which a plan has computed loss and sums. Returns the loss.
    pub(super) fn add(&mut self, samples: usize, outputs: &Outputs<'_, f32>) -> f64 {
        let loss = outputs.scalar(0).map_or(f64::NAN, f64::from);
        self.sums[0] += loss * samples as f64;
        self.sums[1] += samples as f64;
        let sums = (1..outputs.len()).filter_map(|position| outputs.at(position));
        let of_batch = sums.flat_map(|sums| sums.into_iter().map(|&sum| f64::from(sum)));
        self.sums[2..].iter_mut().zip(of_batch).for_each(|(total, sum)| *total += sum);
        loss
    }

    /// How many samples were seen.
    pub(super) fn samples(&self) -> f64 {
        self.sums[1]
    }

    /// The figures of what was seen so far.
    pub(super) fn figures(&self) -> Figures {
        let mut figures = Figures::new(self.sums[0] / self.sums[1]);
        let mut rest = &self.sums[2..];
        for (name, count, value) in &self.metrics {
            let (sums, others) = rest.split_at(*count);
            figures = figures.with(name, value(sums));
            rest = others;
        }
        figures
    }
}
