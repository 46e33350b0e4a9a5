//! Early stopping, and the best parameters of a training.

use super::fit::Epoch;
use super::observer::{Observer, Training};
use crate::error::{Error, Result};
use crate::run::Store;

/// Stops a training when a figure of the test samples has not become better for some epochs, and keeps the parameters with
/// which it was best.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{EarlyStopping, FitOptions, Progress, evaluate, fit_observed};
///
/// let digits = dagrad::data::mnist_5k()?;
/// let (train, test) = (digits.train.take(300), digits.test.take(50));
/// let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
/// let options = FitOptions { epochs: 4, progress: Progress::Quiet, ..FitOptions::default() };
/// let mut stopping = EarlyStopping::most("accuracy", 2);
/// let epochs = fit_observed(&mut model, &Adam::new(1e-2), &train, &test, options, &mut stopping)?;
///
/// let (number, best) = stopping.into_best().unwrap();
/// *model.store_mut() = best;
/// assert_eq!(evaluate(&mut model, &test)?, epochs[number - 1].test);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug)]
pub struct EarlyStopping {
    /// None: the loss.
    metric: Option<String>,
    /// Whether more is better.
    rises: bool,
    patience: usize,
    best: Option<(f64, usize, Store<f32>)>,
}

impl EarlyStopping {
    /// By the loss of the test samples. Training stops after `patience` epochs in a row without a lower one.
    pub fn least_loss(patience: usize) -> Self {
        Self { metric: None, rises: false, patience, best: None }
    }

    /// By a metric of which less is better.
    pub fn least(metric: impl Into<String>, patience: usize) -> Self {
        Self { metric: Some(metric.into()), ..Self::least_loss(patience) }
    }

    /// By a metric of which more is better.
    pub fn most(metric: impl Into<String>, patience: usize) -> Self {
        Self { rises: true, ..Self::least(metric, patience) }
    }

    /// The number of the best epoch so far; the first of equal ones.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best.as_ref().map(|(_, number, _)| *number)
    }

    /// The best epoch's number, and the store after it, with the state of the optimizer: training can go on from there.
    pub fn into_best(self) -> Option<(usize, Store<f32>)> {
        self.best.map(|(_, number, store)| (number, store))
    }
}

impl Observer for EarlyStopping {
    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        let figure = match &self.metric {
            None => epoch.test.loss,
            Some(metric) => epoch.test.get(metric).ok_or_else(|| unknown(metric, epoch))?,
        };
        let is_better = |best: f64| if self.rises { figure > best } else { figure < best };
        match &self.best {
            Some((best, number, _)) if !is_better(*best) => {
                if epoch.number.saturating_sub(*number) >= self.patience {
                    training.stop();
                }
            }
            _ if figure.is_nan() => {}
            _ => self.best = Some((figure, epoch.number, training.store().copy()?)),
        }
        Ok(())
    }
}

/// The error about a metric that the objective does not have.
fn unknown(metric: &str, epoch: &Epoch) -> Error {
    let known: Vec<&str> = epoch.test.metrics().map(|(name, _)| name).collect();
    Error::setting("early stopping", format!("there is no metric {metric:?}, only {known:?}"))
}
