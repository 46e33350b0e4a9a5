//! Whole training runs: shuffled mini-batches, an evaluation after each epoch.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use ndarray::{ArrayView1, ArrayView4, Ix2};

use super::observer::{Observer, TrainStep};
use super::progress::{Progress, Reporter};
use crate::compile::Plan;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{Graph, Mode};
use crate::nn::{IMAGES, LABELS, Model, Network, argmax};
use crate::optim::{Optimizer, minimize};
use crate::run::Feed;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// How many times to go through the training samples.
    pub epochs: usize,
    /// How many samples make a batch. The last batch of an epoch may be smaller.
    pub batch: usize,
    /// What the order of samples is a function of, together with the epoch.
    pub seed: u64,
    /// What to print.
    pub progress: Progress,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { epochs: 10, batch: 100, seed: 0, progress: Progress::Auto }
    }
}

/// The results of an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// The mean loss over its samples, each measured just before the step that used it.
    pub loss: f64,
    /// The mean loss over the test samples after it, in evaluation mode.
    pub test_loss: f64,
    /// Accuracy on training samples: on the first ones, as many as there are test samples.
    pub train_accuracy: f64,
    /// Accuracy on the test samples.
    pub test_accuracy: f64,
    /// Time for the training steps, evaluation excluded.
    pub time: Duration,
}

/// Batch size of evaluations.
const EVALUATION_BATCH: usize = 500;

/// Trains a model and returns the results of each epoch.
///
/// The order of samples is shuffled anew each epoch, as a function of seed and epoch alone; evaluations run
/// in evaluation mode. Same seeds, same bits.
///
/// # Errors
/// A batch size of 0; images that do not fit the model; a misuse in the network, with its line.
#[track_caller]
pub fn fit<N: Network>(
    model: &mut Model<N>,
    optimizer: &dyn Optimizer,
    train: &Dataset,
    test: &Dataset,
    options: FitOptions,
) -> Result<Vec<Epoch>> {
    fit_observed(model, optimizer, train, test, options, &mut ())
}

/// Like [`fit`], and calls `observer` after each step and epoch.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{FitOptions, Observer, Progress, TrainStep, fit_observed};
///
/// /// Keeps the loss of each step.
/// struct Losses(Vec<f64>);
///
/// impl Observer for Losses {
///     fn step(&mut self, step: &TrainStep) -> dagrad::Result<()> {
///         self.0.push(step.loss);
///         Ok(())
///     }
/// }
///
/// let digits = dagrad::data::mnist_5k()?;
/// let (train, test) = (digits.train.take(300), digits.test.take(50));
/// let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
/// let options = FitOptions { epochs: 1, progress: Progress::Quiet, ..FitOptions::default() };
/// let mut losses = Losses(Vec::new());
/// fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut losses)?;
/// assert_eq!(losses.0.len(), 3);
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// As [`fit`]; an error of the observer, which ends the training.
#[track_caller]
pub fn fit_observed<N: Network>(
    model: &mut Model<N>,
    optimizer: &dyn Optimizer,
    train: &Dataset,
    test: &Dataset,
    options: FitOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Epoch>> {
    if options.batch == 0 {
        return Err(Error::setting("batch", "a batch holds at least one sample"));
    }
    check_data(model, train, "training data")?;
    check_data(model, test, "test data")?;
    let mut steps = TrainSteps::new(train, options.batch);
    let mut reporter = Reporter::new(options.progress, options.epochs, train.len().div_ceil(options.batch));
    let mut epochs = Vec::with_capacity(options.epochs);
    for number in 1..=options.epochs {
        let start = Instant::now();
        train.epoch_order(options.seed, number as u64, &mut steps.order);
        let (mut total, mut correct) = (0.0, 0);
        for first in (0..train.len()).step_by(options.batch) {
            let samples = first..(first + options.batch).min(train.len());
            let (loss, batch_correct) = steps.step(model, optimizer, train, samples.clone())?;
            total += loss * samples.len() as f64;
            correct += batch_correct;
            let accuracy = correct as f64 / samples.end as f64;
            let images_per_second = samples.end as f64 / start.elapsed().as_secs_f64();
            let step =
                TrainStep { epoch: number, number: model.store().step(), loss, accuracy, images_per_second };
            reporter.step(&step);
            observer.step(&step)?;
        }
        let time = start.elapsed();
        let (train_accuracy, _) = examine(model, train, test.len())?;
        let (test_accuracy, test_loss) = examine(model, test, test.len())?;
        let loss = total / train.len() as f64;
        let epoch = Epoch { number, loss, test_loss, train_accuracy, test_accuracy, time };
        reporter.epoch(&epoch, train.len());
        observer.epoch(&epoch, model.store())?;
        epochs.push(epoch);
    }
    Ok(epochs)
}

/// The accuracy of a model: the fraction of samples whose prediction is correct, in evaluation mode.
///
/// # Errors
/// Images that do not fit the model; no samples.
#[track_caller]
pub fn evaluate<N: Network>(model: &mut Model<N>, data: &Dataset) -> Result<f64> {
    Ok(examine(model, data, data.len())?.0)
}

/// Accuracy and mean loss on the first samples, in evaluation mode.
#[track_caller]
fn examine<N: Network>(model: &mut Model<N>, data: &Dataset, most: usize) -> Result<(f64, f64)> {
    check_data(model, data, "evaluation data")?;
    let count = data.len().min(most);
    let order: Vec<usize> = (0..count).collect();
    let (mut correct, mut loss) = (0, 0.0);
    for samples in order.chunks(EVALUATION_BATCH) {
        let (images, labels) = data.batch(samples)?;
        let logits = model.predict(&images)?;
        for (row, &label) in logits.outer_iter().zip(&labels) {
            correct += usize::from(argmax(row.iter()) == Some(label as usize));
            loss += cross_entropy(row, label as usize);
        }
    }
    Ok((correct as f64 / count as f64, loss / count as f64))
}

/// ln Σ e^x − x of the label, with the largest x subtracted first so that nothing overflows.
fn cross_entropy(logits: ArrayView1<'_, f32>, label: usize) -> f64 {
    let logits = logits.iter().map(|&logit| f64::from(logit));
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let own = logits.clone().nth(label).unwrap_or(f64::NEG_INFINITY);
    largest + logits.map(|logit| (logit - largest).exp()).sum::<f64>().ln() - own
}

#[track_caller]
fn check_data<N: Network>(model: &Model<N>, data: &Dataset, name: &str) -> Result<()> {
    let (given, taken) = (data.image_shape(), model.image_shape());
    if given != taken {
        return Err(Error::setting(name, format!("images are {given:?}, but the model takes {taken:?}")));
    }
    if data.is_empty() {
        return Err(Error::setting(name, "there are no samples"));
    }
    Ok(())
}

/// Training steps on batches: compiled once for each batch size, with buffers that are used again.
struct TrainSteps {
    plans: HashMap<usize, Plan<f32>>,
    order: Vec<usize>,
    images: Vec<f32>,
    labels: Vec<u32>,
}

impl TrainSteps {
    fn new(data: &Dataset, batch: usize) -> Self {
        let largest = batch.min(data.len());
        Self {
            plans: HashMap::new(),
            order: Vec::new(),
            images: vec![0.0; largest * data.image_len()],
            labels: vec![0; largest],
        }
    }

    /// One step on the samples at `range` in this epoch's order. Returns the loss and the number of correct predictions
    /// before it.
    #[track_caller]
    fn step<N: Network>(
        &mut self,
        model: &mut Model<N>,
        optimizer: &dyn Optimizer,
        data: &Dataset,
        range: std::ops::Range<usize>,
    ) -> Result<(f64, usize)> {
        let batch = range.len();
        let plan = match self.plans.entry(batch) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(training_plan(model, optimizer, batch)?),
        };
        let (images, labels) = (&mut self.images[..batch * data.image_len()], &mut self.labels[..batch]);
        data.copy_batch(&self.order[range], images, labels)?;
        let [channels, height, width] = data.image_shape();
        let shaped = |error: ndarray::ShapeError| Error::setting("images", error.to_string());
        let images = ArrayView4::from_shape((batch, channels, height, width), images).map_err(shaped)?;
        let classes = ArrayView1::from(&*labels);
        let feeds = [Feed::new(IMAGES, &images), Feed::new(LABELS, &classes)];
        let (store, workspace) = model.parts();
        let outputs = plan.run(store, workspace, &feeds)?;
        let logits = outputs.at(1).and_then(|logits| logits.into_dimensionality::<Ix2>().ok());
        let predictions = logits.iter().flat_map(|logits| logits.outer_iter().map(|row| argmax(row.iter())));
        let is_correct = |(predicted, label): &(Option<usize>, &u32)| *predicted == Some(**label as usize);
        let correct = predictions.zip(&*labels).filter(is_correct).count();
        Ok((outputs.scalar(0).map_or(f64::NAN, f64::from), correct))
    }
}

/// The network's loss on a batch and the optimizer's step, compiled.
#[track_caller]
fn training_plan<N: Network>(model: &Model<N>, optimizer: &dyn Optimizer, batch: usize) -> Result<Plan<f32>> {
    let graph = Graph::with_mode(Mode::Train);
    let (_, logits, loss) = model.record_loss(&graph, batch);
    minimize(loss, optimizer)?;
    Plan::compile(&graph, &[loss, logits])
}
