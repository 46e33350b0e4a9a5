//! What a training run minimises, and what it judges by.

use super::metric::Metric;
use crate::data::Field;
use crate::error::{Problem, nearest};
use crate::graph::{Dtype, Graph, Var};

/// What to minimise over samples, whatever they are: from the fields of a batch to a [`Goal`]. Functions are objectives;
/// closures become one through [`objective`].
///
/// It is recorded once for training and once for evaluation, for each size of batch.
///
/// A straight line through points:
/// ```
/// use dagrad::data::TensorDataset;
/// use dagrad::nn;
/// use dagrad::optim::Sgd;
/// use dagrad::train::{FitOptions, Goal, Inputs, Learner, Metric, Progress, fit};
/// use ndarray::Array2;
///
/// fn line<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
///     let (x, y) = (inputs.get("x"), inputs.get("y"));
///     let predicted = nn::linear(x, "line", 1);
///     let loss = (predicted - y).powi(2).mean_all();
///     Goal::new(loss).judge(Metric::mean_absolute_error(predicted, y)).output("y", predicted)
/// }
///
/// let x = Array2::from_shape_fn((100, 1), |(i, _)| i as f32 / 100.0);
/// let points = TensorDataset::new().with("x", &x)?.with("y", &(3.0 * &x))?;
/// let mut learner = Learner::new(line, &points, 0)?;
/// let options = FitOptions { epochs: 20, batch: 10, progress: Progress::Quiet, ..FitOptions::default() };
/// let epochs = fit(&mut learner, &Sgd::new(0.3), &points, &points, options)?;
/// assert!(epochs[19].test.get("mean absolute error").unwrap() < 0.1);
/// # Ok::<(), dagrad::Error>(())
/// ```
pub trait Objective {
    /// Records the loss of a batch, and what it is judged by, on the graph of the inputs.
    fn record<'g>(&self, inputs: &Inputs<'g>) -> Goal<'g>;
}

impl<F: for<'a, 'g> Fn(&'a Inputs<'g>) -> Goal<'g>> Objective for F {
    fn record<'g>(&self, inputs: &Inputs<'g>) -> Goal<'g> {
        self(inputs)
    }
}

/// A closure as an objective. (Rust finds out that a closure takes values of every lifetime only where it is passed to a
/// function that says so.)
pub fn objective<F: for<'a, 'g> Fn(&'a Inputs<'g>) -> Goal<'g>>(closure: F) -> F {
    closure
}

/// The fields of a batch on a graph: an input for each, of shape `[batch, …]`.
#[derive(Clone)]
pub struct Inputs<'g> {
    graph: &'g Graph,
    batch: usize,
    fields: Vec<(String, Var<'g>)>,
}

impl<'g> Inputs<'g> {
    /// Records the inputs for a batch.
    #[track_caller]
    pub(crate) fn record(graph: &'g Graph, fields: &[Field], batch: usize) -> Self {
        let mut recorded = Vec::with_capacity(fields.len());
        for Field { name, ty } in fields {
            let shape: Vec<usize> = [batch].into_iter().chain(ty.shape.iter().copied()).collect();
            let input = match ty.dtype {
                Dtype::Real => graph.input(name, &shape[..]),
                Dtype::Index => graph.labels(name, &shape[..]),
            };
            recorded.push((name.clone(), input));
        }
        Self { graph, batch, fields: recorded }
    }

    /// The field of this name.
    ///
    /// # Errors
    /// Recorded on the graph: no field has this name.
    #[track_caller]
    pub fn get(&self, name: &str) -> Var<'g> {
        if let Some((_, field)) = self.fields.iter().find(|(own, _)| own == name) {
            return *field;
        }
        let near = nearest(name, self.fields.iter().map(|(name, _)| name.as_str()));
        let problem = Problem::new(format!("the samples have no field \"{name}\"{near}"));
        self.graph.refuse("get", &[], &[], problem)
    }

    /// The graph to record on.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// How many samples there are in the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }
}

/// A loss to minimise, figures to judge it by, and what the trained network predicts.
#[derive(Debug)]
pub struct Goal<'g> {
    pub(crate) loss: Var<'g>,
    pub(super) metrics: Vec<Metric<'g>>,
    pub(super) outputs: Vec<(String, Var<'g>)>,
}

impl<'g> Goal<'g> {
    /// A loss of shape `[]`: the mean over the samples of the batch. Of several losses it is a weighted sum.
    pub fn new(loss: Var<'g>) -> Self {
        Self { loss, metrics: Vec::new(), outputs: Vec::new() }
    }

    /// Adds a figure that is measured in each epoch.
    pub fn judge(mut self, metric: Metric<'g>) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Adds a value that [`Learner::predict`](super::Learner::predict) returns under a name.
    pub fn output(mut self, name: impl Into<String>, value: Var<'g>) -> Self {
        self.outputs.push((name.into(), value));
        self
    }

    /// What is computed of each batch: the loss, then the sums of the metrics.
    pub(super) fn measured(&self) -> Vec<Var<'g>> {
        [self.loss].into_iter().chain(self.metrics.iter().map(|metric| metric.sums)).collect()
    }
}
