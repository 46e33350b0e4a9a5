//! Observers: callbacks of training.

use std::collections::BTreeMap;

use super::fit::Epoch;
use super::metric::Figures;
use super::progress::Reporter;
use crate::error::{Error, Result};
use crate::run::Store;

/// A callback: [`fit_observed`](super::fit_observed) calls it after each step and epoch. It can watch, stop the training, or
/// change the store.
///
/// An error of an observer does not end the training: it is printed as a warning, once. [`Training::stop`] ends the training.
///
/// A pair `(a, b)` of observers is an observer, and so are `&mut a` and `Some(a)`. A `Vec<Epoch>` keeps the results of the
/// epochs, also of a training that ends with an error.
///
/// Early stopping, and Ctrl-C (set the flag in a signal handler):
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{Epoch, FitOptions, Observer, Progress, TrainStep, Training, fit_observed};
/// use dagrad::{Result, data};
///
/// /// Stops when the test loss has not fallen for so many epochs.
/// struct Patience { epochs: usize, best: f64, since: usize }
///
/// impl Observer for Patience {
///     fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
///         self.since = if epoch.test.loss < self.best { 0 } else { self.since + 1 };
///         self.best = self.best.min(epoch.test.loss);
///         if self.since >= self.epochs {
///             training.stop();
///         }
///         Ok(())
///     }
/// }
///
/// /// Stops after the step during which the flag is set.
/// struct Interrupt(Arc<AtomicBool>);
///
/// impl Observer for Interrupt {
///     fn step(&mut self, _: &TrainStep, training: &mut Training<'_>) -> Result<()> {
///         if self.0.load(Ordering::Relaxed) {
///             training.stop();
///         }
///         Ok(())
///     }
/// }
///
/// let digits = data::mnist_5k()?;
/// let (train, test) = (digits.train.take(300), digits.test.take(50));
/// let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
/// let interrupted = Arc::new(AtomicBool::new(false));
/// let mut both = (Patience { epochs: 3, best: f64::INFINITY, since: 0 }, Interrupt(interrupted.clone()));
/// # interrupted.store(true, Ordering::Relaxed);
/// let progress = Progress::Quiet;
/// let options = FitOptions { epochs: 1000, progress, ..FitOptions::default() };
/// let complete = fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut both)?;
/// # assert_eq!((complete.len(), model.store().step()), (0, 1));
/// # Ok::<(), dagrad::Error>(())
/// ```
pub trait Observer {
    /// Before the first step. `run` says in words what is trained on what: the network, the optimizer with its settings, the
    /// data, and options such as `batch`. Two runs of the same words from the same store end with the same bits.
    ///
    /// # Errors
    /// What keeps the training from beginning: [`fit_observed`](super::fit_observed) returns it.
    fn begin(&mut self, _run: &BTreeMap<String, String>, _training: &mut Training<'_>) -> Result<()> {
        Ok(())
    }

    /// After a step.
    ///
    /// # Errors
    /// What is printed as a warning.
    fn step(&mut self, _step: &TrainStep, _training: &mut Training<'_>) -> Result<()> {
        Ok(())
    }

    /// After an epoch.
    ///
    /// # Errors
    /// What is printed as a warning.
    fn epoch(&mut self, _epoch: &Epoch, _training: &mut Training<'_>) -> Result<()> {
        Ok(())
    }

    /// At the end, whether it was asked for or [stopped](Training::stop); not after an error.
    ///
    /// # Errors
    /// What is printed as a warning.
    fn end(&mut self, _training: &mut Training<'_>) -> Result<()> {
        Ok(())
    }
}

/// A training run, as its observers see it between two steps.
pub struct Training<'a> {
    pub(super) store: &'a mut Store<f32>,
    pub(super) reporter: &'a mut Reporter,
    pub(super) is_stopped: &'a mut bool,
}

impl Training<'_> {
    /// Ends the training now. [`fit_observed`](super::fit_observed) returns the epochs that are complete, and if it is called
    /// again, it goes on with the next batch.
    pub fn stop(&mut self) {
        *self.is_stopped = true;
    }

    /// The parameters and state as they are now.
    pub fn store(&self) -> &Store<f32> {
        self.store
    }

    /// The parameters and state, to change them.
    pub fn store_mut(&mut self) -> &mut Store<f32> {
        self.store
    }

    /// Prints a warning, the same one only once.
    pub fn warn(&mut self, error: &Error) {
        self.reporter.warn(error);
    }
}

/// Observes nothing.
impl Observer for () {}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn begin(&mut self, run: &BTreeMap<String, String>, training: &mut Training<'_>) -> Result<()> {
        (**self).begin(run, training)
    }

    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        (**self).step(step, training)
    }

    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        (**self).epoch(epoch, training)
    }

    fn end(&mut self, training: &mut Training<'_>) -> Result<()> {
        (**self).end(training)
    }
}

/// `None` observes nothing.
impl<O: Observer> Observer for Option<O> {
    fn begin(&mut self, run: &BTreeMap<String, String>, training: &mut Training<'_>) -> Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.begin(run, training))
    }

    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.step(step, training))
    }

    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.epoch(epoch, training))
    }

    fn end(&mut self, training: &mut Training<'_>) -> Result<()> {
        self.as_mut().map_or(Ok(()), |observer| observer.end(training))
    }
}

/// Both, one after the other, whatever goes wrong in the first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn begin(&mut self, run: &BTreeMap<String, String>, training: &mut Training<'_>) -> Result<()> {
        self.0.begin(run, training)?;
        self.1.begin(run, training)
    }

    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        self.0.step(step, training).unwrap_or_else(|error| training.warn(&error));
        self.1.step(step, training)
    }

    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        self.0.epoch(epoch, training).unwrap_or_else(|error| training.warn(&error));
        self.1.epoch(epoch, training)
    }

    fn end(&mut self, training: &mut Training<'_>) -> Result<()> {
        self.0.end(training).unwrap_or_else(|error| training.warn(&error));
        self.1.end(training)
    }
}

/// Keeps the results of each epoch.
impl Observer for Vec<Epoch> {
    fn epoch(&mut self, epoch: &Epoch, _: &mut Training<'_>) -> Result<()> {
        self.push(epoch.clone());
        Ok(())
    }
}

/// The results of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainStep {
    /// The epoch, from 1; [`Epoch::number`].
    pub epoch: usize,
    /// How many steps have been trained in all.
    pub number: u64,
    /// The mean loss of the batch before the step.
    pub loss: f64,
    /// The learning rate of the step: [`Optimizer::learning_rate`](crate::optim::Optimizer::learning_rate), times
    /// [`LearningRate::FACTOR`](crate::optim::LearningRate::FACTOR) if it is adjustable.
    pub learning_rate: Option<f64>,
    /// Loss and metrics of this epoch's samples so far, each judged just before the step that used it.
    pub so_far: Figures,
    /// Samples per second in this epoch so far.
    pub samples_per_second: f64,
}
