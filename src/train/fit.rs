//! Whole training runs: shuffled mini-batches, an evaluation after each epoch.

use std::collections::{BTreeSet, HashMap};
use std::mem::replace;
use std::ops::Range;
use std::time::{Duration, Instant};

use ndarray::{ArrayView1, ArrayView4, Ix2};

use super::checkpoint::{begin, describe};
use super::observer::{Observer, TrainStep, Training};
use super::progress::{Progress, Reporter};
use crate::compile::Plan;
use crate::data::{Dataset, reserved};
use crate::error::{Error, Result, SourceLine};
use crate::graph::{Graph, Mode};
use crate::nn::{IMAGES, LABELS, Model, Network, argmax};
use crate::optim::{LearningRate, Optimizer, minimize};
use crate::run::Feed;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// How many epochs to finish, each once through the training samples.
    pub epochs: usize,
    /// How many samples make a batch. The last batch of an epoch may be smaller.
    pub batch: usize,
    /// Whether such a smaller batch is left out. Batch normalisation, for example, cannot train on a single sample.
    pub drop_last: bool,
    /// What the order of samples is a function of, together with the epoch.
    pub seed: u64,
    /// What to print.
    pub progress: Progress,
    /// Whether to go on, with a warning, when a loss is NaN or infinite, which is [`Error::Diverged`] otherwise.
    pub allow_nan: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        let progress = Progress::Auto;
        Self { epochs: 10, batch: 100, drop_last: false, seed: 0, progress, allow_nan: false }
    }
}

impl FitOptions {
    /// The batches of an epoch over so many samples, from sample `first` of its order on.
    fn batches(self, first: usize, samples: usize) -> impl Iterator<Item = Range<usize>> {
        let rest = samples.saturating_sub(first);
        let end = if self.drop_last { samples - rest % self.batch } else { samples };
        (first..end).step_by(self.batch).map(move |start| start..start.saturating_add(self.batch).min(end))
    }
}

/// The results of an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number among all epochs that the store has been trained for, from 1.
    pub number: usize,
    /// The mean loss over the samples that were used, each measured just before its step.
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

/// The most numbers of the images that are evaluated at once, unless a single image has more, and the most images.
const EVALUATED: [usize; 2] = [1 << 21, 500];

/// Trains a model and returns the results of each epoch.
///
/// The order of samples is shuffled anew each epoch, as a function of seed and epoch alone; evaluations run
/// in evaluation mode. Same seeds, same bits.
///
/// Training goes on from where the model's [store](Model::store) is, in the middle of an epoch, too: two calls of one epoch
/// are one call of two, to the last bit. An epoch that was begun with another seed, or over another number of samples, begins
/// anew. The batch size may change: the rest of the epoch is divided into batches of the new size. If the rest makes no batch,
/// because [`drop_last`](FitOptions::drop_last) leaves out smaller ones, the epoch is over and the next one begins.
///
/// What cannot be trained or evaluated, such as a last batch of one sample with batch normalisation, is an error before the
/// first step.
///
/// # Errors
/// A batch size of 0; no samples, or with [`drop_last`](FitOptions::drop_last) no whole batch; images or labels that do not
/// fit the model; a misuse in the network, with its line; a loss that is NaN or infinite; not the run of its checkpoint.
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

/// Like [`fit`], and calls `observer` after each step and epoch. It can stop the training; the epochs so far are returned.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{FitOptions, Observer, Progress, TrainStep, Training, fit_observed};
///
/// /// Keeps the loss of each step.
/// struct Losses(Vec<f64>);
///
/// impl Observer for Losses {
///     fn step(&mut self, step: &TrainStep, _: &mut Training<'_>) -> dagrad::Result<()> {
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
/// As [`fit`].
#[track_caller]
pub fn fit_observed<N: Network>(
    model: &mut Model<N>,
    optimizer: &dyn Optimizer,
    train: &Dataset,
    test: &Dataset,
    options: FitOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Epoch>> {
    let mut run = Run::new(model, optimizer, [train, test], options)?;
    let description = describe(run.model, optimizer, [train, test], options)?;
    begin(&description, observer, &mut run.training())?;
    let mut epochs = Vec::new();
    while epochs.len() < options.epochs && !run.is_stopped {
        let Some(epoch) = run.epoch(observer)? else { break };
        epochs.push(epoch);
    }
    run.watch(|training| observer.end(training));
    Ok(epochs)
}

/// The accuracy of a model: the fraction of samples whose prediction is correct, in evaluation mode. One with a
/// NaN among its logits is wrong.
///
/// Samples are predicted up to 500 at a time, fewer of large images. Another number may round differently.
///
/// # Errors
/// Images or labels that do not fit the model; no samples.
#[track_caller]
pub fn evaluate<N: Network>(model: &mut Model<N>, data: &Dataset) -> Result<f64> {
    check_data(model, data, "evaluation data")?;
    Ok(examine(model, data, data.len(), usize::MAX)?.0)
}

/// How many samples are evaluated at once.
fn evaluated(data: &Dataset, batch: usize) -> usize {
    let [numbers, images] = EVALUATED;
    (numbers / data.image_len()).clamp(1, images).min(batch)
}

/// Accuracy and mean loss on the first samples, so many at a time at most, in evaluation mode.
#[track_caller]
fn examine<N: Network>(
    model: &mut Model<N>,
    data: &Dataset,
    most: usize,
    batch: usize,
) -> Result<(f64, f64)> {
    let count = data.len().min(most);
    let order: Vec<usize> = (0..count).collect();
    let (mut correct, mut loss) = (0, 0.0);
    for samples in order.chunks(evaluated(data, batch)) {
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
    let own = f64::from(logits[label]);
    let logits = logits.iter().map(|&logit| f64::from(logit));
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
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
    model.check_labels(name, data.labels())
}

/// A training run: a plan for each size of its batches, with buffers that are used again.
struct Run<'a, N> {
    model: &'a mut Model<N>,
    train: &'a Dataset,
    test: &'a Dataset,
    options: FitOptions,
    plans: HashMap<usize, Plan<f32>>,
    rate: Option<LearningRate>,
    order: Vec<usize>,
    images: Vec<f32>,
    labels: Vec<u32>,
    reporter: Reporter,
    is_stopped: bool,
    has_diverged: bool,
}

impl<'a, N: Network> Run<'a, N> {
    /// Finds whatever is wrong with the settings, the data and the network, for each batch size.
    #[track_caller]
    fn new(
        model: &'a mut Model<N>,
        optimizer: &dyn Optimizer,
        [train, test]: [&'a Dataset; 2],
        options: FitOptions,
    ) -> Result<Self> {
        if options.batch == 0 {
            return Err(Error::setting("batch", "a batch holds at least one sample"));
        }
        check_data(model, train, "training data")?;
        check_data(model, test, "test data")?;
        let whole = || options.batches(0, train.len());
        let Some(largest) = whole().next().map(|samples| samples.len()) else {
            let (samples, batch) = (train.len(), options.batch);
            let message = format!(
                "{samples} training samples make no batch of {batch}, so nothing is left to train on"
            );
            return Err(Error::setting("drop_last", message));
        };
        let (begun, samples) = position(model, train, options);
        let rest = || options.batches(samples, train.len());
        let sizes: BTreeSet<usize> = whole().chain(rest()).map(|samples| samples.len()).collect();
        let mut plans = HashMap::new();
        for &size in sizes.iter().rev() {
            let plan = training_plan(model, optimizer, size);
            let plan = if size < largest { plan.map_err(|error| of_last_batch(error, size)) } else { plan };
            plans.insert(size, plan?);
        }
        let at_once = evaluated(test, options.batch);
        for count in [test.len(), test.len().min(train.len())] {
            for size in [at_once.min(count), count % at_once] {
                if size > 0 {
                    model.check_batch(size)?;
                }
            }
        }
        let steps = whole().count().saturating_mul(options.epochs.saturating_sub(1));
        let last_epoch = number(begun).saturating_add(options.epochs.saturating_sub(1));
        let reporter = Reporter::new(options.progress, last_epoch, steps.saturating_add(rest().count()));
        let mut images = reserved(largest * train.image_len(), "a batch")?;
        images.resize(largest * train.image_len(), 0.0);
        let (order, labels) = (Vec::new(), vec![0; largest]);
        let (is_stopped, has_diverged) = (false, false);
        Ok(Self {
            model,
            train,
            test,
            options,
            plans,
            rate: optimizer.learning_rate(),
            order,
            images,
            labels,
            reporter,
            is_stopped,
            has_diverged,
        })
    }

    /// An epoch, or what is left of it. None if it is stopped on the way.
    #[track_caller]
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<Option<Epoch>> {
        let (train, options, start) = (self.train, self.options, Instant::now());
        let (begun, first) = position(self.model, train, options);
        let (next, number) = (begun.saturating_add(1), number(begun));
        train.epoch_order(options.seed, next, &mut self.order);
        // Of losses, samples and correct predictions.
        let mut sums @ [_, earlier, _] = self.model.store_mut().epoch_position.go_on(begun, first);
        let mut batches = options.batches(first, train.len()).peekable();
        while let Some(samples) = batches.next() {
            let count = samples.len();
            let learning_rate = self.rate.map(|rate| rate.now(self.model.store()));
            let (loss, batch_correct) = self.step(samples)?;
            let sample = [loss * count as f64, count as f64, batch_correct as f64];
            sums.iter_mut().zip(sample).for_each(|(sum, more)| *sum += more);
            let done = batches.peek().map_or(train.len(), |rest| rest.start);
            self.model.store_mut().epoch_position.move_to(done, (options.seed, train.len()), &sums);
            let accuracy = sums[2] / sums[1];
            let images_per_second = (sums[1] - earlier) / start.elapsed().as_secs_f64();
            let (epoch, number) = (number, self.model.store().step());
            let step = TrainStep { epoch, number, loss, learning_rate, accuracy, images_per_second };
            self.reporter.step(&step);
            self.watch(|training| observer.step(&step, training));
            self.check_loss("loss", loss, epoch)?;
            if self.is_stopped && batches.peek().is_some() {
                return Ok(None);
            }
        }
        let time = start.elapsed();
        let (loss, most) = (sums[0] / sums[1], self.test.len());
        let (train_accuracy, _) = examine(self.model, train, most, options.batch)?;
        let (test_accuracy, test_loss) = examine(self.model, self.test, most, options.batch)?;
        let epoch = Epoch { number, loss, test_loss, train_accuracy, test_accuracy, time };
        self.model.store_mut().epoch_position.finish(next);
        self.reporter.epoch(&epoch, (sums[1] - earlier) as usize);
        self.watch(|training| observer.epoch(&epoch, training));
        self.check_loss("test loss", test_loss, number)?;
        Ok(Some(epoch))
    }

    /// Tells an observer of something. Its errors end nothing.
    fn watch(&mut self, tell: impl FnOnce(&mut Training<'_>) -> Result<()>) {
        let mut training = self.training();
        tell(&mut training).unwrap_or_else(|error| training.warn(&error));
    }

    fn training(&mut self) -> Training<'_> {
        let (reporter, is_stopped) = (&mut self.reporter, &mut self.is_stopped);
        Training { store: self.model.store_mut(), reporter, is_stopped }
    }

    #[track_caller]
    fn check_loss(&mut self, what: &'static str, loss: f64, epoch: usize) -> Result<()> {
        if loss.is_finite() {
            return Ok(());
        }
        let error = Error::Diverged {
            what,
            loss,
            step: self.model.store().step(),
            epoch,
            site: SourceLine::caller(),
        };
        if !self.options.allow_nan {
            return Err(error);
        }
        if !replace(&mut self.has_diverged, true) {
            self.reporter.warn(&error);
        }
        Ok(())
    }

    /// One step on the samples at `range` in this epoch's order. Returns the loss and the number of correct predictions
    /// before it.
    #[track_caller]
    fn step(&mut self, range: Range<usize>) -> Result<(f64, usize)> {
        let (batch, length) = (range.len(), range.len() * self.train.image_len());
        let (images, labels) = (&mut self.images[..length], &mut self.labels[..batch]);
        self.train.copy_batch(&self.order[range], images, labels)?;
        let [channels, height, width] = self.train.image_shape();
        let shaped = |error: ndarray::ShapeError| Error::setting("images", error.to_string());
        let images = ArrayView4::from_shape((batch, channels, height, width), images).map_err(shaped)?;
        let classes = ArrayView1::from(&*labels);
        let feeds = [Feed::new(IMAGES, &images), Feed::new(LABELS, &classes)];
        let (store, workspace) = self.model.parts();
        LearningRate::check_factor(store, &self.plans[&batch])?;
        let outputs = self.plans[&batch].run(store, workspace, &feeds)?;
        let logits = outputs.at(1).and_then(|logits| logits.into_dimensionality::<Ix2>().ok());
        let predictions = logits.iter().flat_map(|logits| logits.outer_iter().map(|row| argmax(row.iter())));
        let is_correct = |(predicted, label): &(Option<usize>, &u32)| *predicted == Some(**label as usize);
        let correct = predictions.zip(&*labels).filter(is_correct).count();
        Ok((outputs.scalar(0).map_or(f64::NAN, f64::from), correct))
    }
}

/// The number of the epoch after so many.
fn number(epochs: u64) -> usize {
    usize::try_from(epochs).unwrap_or(usize::MAX).saturating_add(1)
}

/// Where a run goes on: epochs, and samples of the next one. An epoch in another order begins anew; one whose rest makes no
/// batch is over, unless only its evaluation is left.
fn position<N: Network>(model: &Model<N>, data: &Dataset, options: FitOptions) -> (u64, usize) {
    let (known, order) = (&model.store().epoch_position, (options.seed, data.len()));
    let samples = if known.order == order { known.samples } else { 0 };
    if samples == data.len() || options.batches(samples, data.len()).next().is_some() {
        return (known.epochs, samples);
    }
    (known.epochs.saturating_add(1), 0)
}

/// The network's loss on a batch and the optimizer's step, compiled.
#[track_caller]
fn training_plan<N: Network>(model: &Model<N>, optimizer: &dyn Optimizer, batch: usize) -> Result<Plan<f32>> {
    let graph = Graph::with_mode(Mode::Train);
    let (_, logits, loss) = model.record_loss(&graph, batch);
    minimize(loss, optimizer)?;
    Plan::compile(&graph, &[loss, logits])
}

/// A misuse that the smaller last batch alone is.
fn of_last_batch(mut error: Error, size: usize) -> Error {
    if let Error::Op(error) = &mut error {
        error.problem.hint = Some(format!(
            "the last batch of an epoch has {size} of the training samples: `drop_last` in `FitOptions` leaves it out, \
             and another `batch` divides them differently"
        ));
    }
    error
}
