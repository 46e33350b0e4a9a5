//! Being told how training goes.

use super::fit::Epoch;
use crate::error::Result;
use crate::run::Store;

/// Is told of each step and epoch of [`fit_observed`](super::fit_observed). An error ends the training.
pub trait Observer {
    /// After a step.
    ///
    /// # Errors
    /// Whatever should end the training.
    fn step(&mut self, _step: &Step) -> Result<()> {
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

/// Nobody listens.
impl Observer for () {}

/// What a step brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The epoch, from 1.
    pub epoch: usize,
    /// How many steps the model has made in its life.
    pub number: u64,
    /// The mean loss of the batch before the step.
    pub loss: f64,
    /// The share of this epoch's samples so far that were told right, each just before the step that used it.
    pub accuracy: f64,
    /// Images per second in this epoch so far.
    pub images_per_second: f64,
}
