//! Callbacks of training.

use super::fit::Epoch;
use crate::error::Result;
use crate::run::Store;

/// Is called after each step and epoch of [`fit_observed`](super::fit_observed). An error ends the training.
pub trait Observer {
    /// After a step.
    ///
    /// # Errors
    /// Whatever should end the training.
    fn step(&mut self, _step: &TrainStep) -> Result<()> {
        Ok(())
    }

    /// After an epoch, with the parameters as they are then.
    ///
    /// # Errors
    /// Whatever should end the training.
    fn epoch(&mut self, _epoch: &Epoch, _store: &Store<f32>) -> Result<()> {
        Ok(())
    }
}

/// Observes nothing.
impl Observer for () {}

/// The results of a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainStep {
    /// The epoch, from 1.
    pub epoch: usize,
    /// How many steps the model has been trained for in all.
    pub number: u64,
    /// The mean loss of the batch before the step.
    pub loss: f64,
    /// The accuracy on this epoch's samples so far, each judged just before the step that used it.
    pub accuracy: f64,
    /// Images per second in this epoch so far.
    pub images_per_second: f64,
}
