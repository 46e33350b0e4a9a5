//! Whole training runs: what they are asked for, and what they return.

use std::ops::Range;
use std::time::Duration;

use super::checkpoint::{begin, describe};
use super::learner::Trainable;
use super::metric::Figures;
use super::observer::Observer;
use super::progress::Progress;
use super::run::Run;
use crate::data::Samples;
use crate::error::Result;
use crate::optim::Optimizer;

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
    /// Whether to go on, with a warning, when a loss is NaN or infinite, which is [`Error::Diverged`](crate::Error::Diverged) otherwise.
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
    pub(super) fn batches(self, first: usize, samples: usize) -> impl Iterator<Item = Range<usize>> {
        let rest = samples.saturating_sub(first);
        let end = if self.drop_last { samples - rest % self.batch } else { samples };
        (first..end).step_by(self.batch).map(move |start| start..start.saturating_add(self.batch).min(end))
    }
}

/// The results of an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Its number among all epochs that the store has been trained for, from 1.
    pub number: usize,
    /// The mean loss over the samples that were used, each measured just before its step.
    pub loss: f64,
    /// Loss and metrics on training samples after it, in evaluation mode: on the first ones, as many as there are test samples,
    /// as they are without augmentation.
    pub train: Figures,
    /// Loss and metrics on the test samples after it, in evaluation mode.
    pub test: Figures,
    /// Time for the training steps, evaluation excluded.
    pub time: Duration,
}

/// Trains a [`Model`](crate::nn::Model) or a [`Learner`](super::Learner), and returns the results of each epoch.
///
/// The order of samples is shuffled anew each epoch, as a function of seed and epoch alone; evaluations run
/// in evaluation mode. Same seeds, same bits.
///
/// Training goes on from where the store is, in the middle of an epoch, too: two calls of one epoch
/// are one call of two, to the last bit. An epoch that was begun with another seed, or over another number of samples, begins
/// anew. The batch size may change: the rest of the epoch is divided into batches of the new size. If the rest makes no batch,
/// because [`drop_last`](FitOptions::drop_last) leaves out smaller ones, the epoch is over and the next one begins.
///
/// What cannot be trained or evaluated, such as a last batch of one sample with batch normalisation, is an error before the
/// first step.
///
/// # Errors
/// A batch size of 0; no samples, or with [`drop_last`](FitOptions::drop_last) no whole batch; samples that do not fit, such as
/// labels beyond the classes; a misuse in the network, with its line; a loss that is NaN or infinite; not the run of its
/// checkpoint.
#[track_caller]
pub fn fit<L: Trainable>(
    learner: &mut L,
    optimizer: &dyn Optimizer,
    train: &dyn Samples,
    test: &dyn Samples,
    options: FitOptions,
) -> Result<Vec<Epoch>> {
    fit_observed(learner, optimizer, train, test, options, &mut ())
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
pub fn fit_observed<L: Trainable>(
    learner: &mut L,
    optimizer: &dyn Optimizer,
    train: &dyn Samples,
    test: &dyn Samples,
    options: FitOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Epoch>> {
    let mut run = Run::new(learner, optimizer, [train, test], options)?;
    let description = describe(run.learner, optimizer, [train, test], options)?;
    begin(&description, observer, &mut run.training())?;
    let mut epochs = Vec::new();
    while epochs.len() < options.epochs && !run.is_stopped {
        let Some(epoch) = run.epoch(observer)? else { break };
        epochs.push(epoch);
    }
    run.watch(|training| observer.end(training));
    Ok(epochs)
}
