//! The order of the samples in an epoch, and mini-batches in that order.

use std::iter::FusedIterator;

use ndarray::{Array1, Array4};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::Dataset;
use crate::error::{Error, Result};
use crate::graph::setting::{self, COUNT};

/// Fills `order` with a random permutation of `0..order.len()`, the order of the samples in an epoch.
///
/// The result depends on the seed, the epoch and the length alone, neither on what `order` held nor on the
/// epochs before: an interrupted training run continues in the order it would have had.
///
/// ```
/// let (mut first, mut again) = ([0; 100], [7; 100]);
/// dagrad::data::shuffle(42, 3, &mut first);
/// dagrad::data::shuffle(42, 3, &mut again);
/// assert_eq!(first, again);
/// dagrad::data::shuffle(42, 4, &mut again);
/// assert_ne!(first, again);
/// ```
pub fn shuffle(seed: u64, epoch: u64, order: &mut [usize]) {
    for (position, sample) in order.iter_mut().enumerate() {
        *sample = position;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Every epoch has a stream of random numbers of its own, so that no two (seed, epoch) pairs share one, as
    // they would with `seed + epoch`.
    random.set_stream(epoch);
    order.shuffle(&mut random);
}

/// Shuffled mini-batches of one epoch; made by [`Dataset::batches`].
///
/// Yields images `[samples, channels, height, width]` between 0 and 1, and labels `[samples]`.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    /// The samples that are left of the epoch, each once.
    order: std::vec::IntoIter<usize>,
    batch_size: usize,
}

impl Dataset {
    /// Writes the [shuffled](shuffle) order of an epoch into `order`, which becomes as long as the dataset.
    ///
    /// A vector that is used again is not allocated again.
    pub fn epoch_order(&self, seed: u64, epoch: u64, order: &mut Vec<usize>) {
        order.resize(self.len(), 0);
        shuffle(seed, epoch, order);
    }

    /// The mini-batches of an epoch: every sample once, in [shuffled](shuffle) order.
    ///
    /// All batches have `batch_size` samples except the last, which has what is left.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if `batch_size` is zero, and [`Error::Memory`] if a batch is too large for the
    /// machine to address.
    ///
    /// ```
    /// let digits = dagrad::data::mnist_5k()?.test;
    /// let sizes: Vec<usize> = digits.batches(400, 42, 0)?.map(|(_, labels)| labels.len()).collect();
    /// assert_eq!(sizes, [400, 400, 200]);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    #[track_caller]
    pub fn batches(&self, batch_size: usize, seed: u64, epoch: u64) -> Result<Batches<'_>> {
        setting::require("batch_size", batch_size, COUNT)?;
        // A pixel takes four times the memory in a batch that it takes in the dataset, so that a dataset in memory may
        // have a batch that is not possible, on a 32-bit machine.
        let pixels = batch_size.min(self.len()).saturating_mul(self.image_len());
        let bytes = pixels.saturating_mul(size_of::<f32>());
        if isize::try_from(bytes).is_err() {
            return Err(Error::memory(bytes, "a batch"));
        }
        let mut order = Vec::new();
        self.epoch_order(seed, epoch, &mut order);
        Ok(Batches { dataset: self, order: order.into_iter(), batch_size })
    }
}

impl Iterator for Batches<'_> {
    type Item = (Array4<f32>, Array1<u32>);

    fn next(&mut self) -> Option<Self::Item> {
        let samples: Vec<usize> = self.order.by_ref().take(self.batch_size).collect();
        if samples.is_empty() {
            return None;
        }
        let pixels = vec![0.0; samples.len() * self.dataset.image_len()];
        self.dataset.batch_in(&samples, pixels).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.order.len().div_ceil(self.batch_size);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}
impl FusedIterator for Batches<'_> {}
