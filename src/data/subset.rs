//! Some of the samples, and samples divided in two.

use std::ops::Bound;

use flate2::Crc;

use super::samples::{Draw, Field, Samples, Slot, check_sample, position};
use super::{Dataset, LABELS, Split, shuffle};
use crate::error::{Error, Result, SourceLine};
use crate::graph::setting;

/// The epoch whose stream of random numbers divides samples; no training reaches it.
const DIVISION: u64 = u64::MAX;

/// Some samples of others, in an order of its own. The samples themselves stay where they are.
///
/// What is random about a sample depends on its number among all, not on its position here.
///
/// ```
/// use dagrad::data::{Samples, Subset, mnist_5k};
///
/// let digits = mnist_5k()?.train;
/// let [train, validation] = Subset::split_by_class(&digits, "labels", 0.1, 42)?;
/// assert_eq!((train.len(), validation.len()), (3600, 400));
/// let few = Subset::new(&digits, (0..100).collect())?;
/// assert_eq!(few.len(), 100);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subset<S> {
    samples: S,
    indices: Vec<usize>,
}

impl<S: Samples> Subset<S> {
    /// The samples of these numbers; one may occur more than once.
    ///
    /// # Errors
    /// [`Error::Setting`]: a sample that does not exist.
    #[track_caller]
    pub fn new(samples: S, indices: Vec<usize>) -> Result<Self> {
        check_indices(&indices, samples.len())?;
        Ok(Self { samples, indices })
    }

    /// Divides samples in two, by chance: the rest, and a `fraction` to validate with, rounded up. The same seed divides them
    /// the same way; each part keeps their order. Both parts have a clone of `samples`, so give a reference to what is large.
    ///
    /// # Errors
    /// [`Error::Setting`]: a fraction that is not between 0 and 1, or that leaves nothing for one of the parts.
    #[track_caller]
    pub fn split(samples: S, fraction: f64, seed: u64) -> Result<[Self; 2]>
    where
        S: Clone,
    {
        let parts = divide(&vec![0; samples.len()], fraction, seed)?;
        Ok(parts.map(|indices| Self { samples: samples.clone(), indices }))
    }

    /// The same with as equal a share of each class in both parts as their numbers allow, as scikit-learn's `stratify` has it. The
    /// classes are in a field of one index a sample.
    ///
    /// # Errors
    /// Those of [`split`](Self::split); no such field; a sample that cannot be read.
    #[track_caller]
    pub fn split_by_class(samples: S, field: &str, fraction: f64, seed: u64) -> Result<[Self; 2]>
    where
        S: Clone,
    {
        let classes = classes(&samples, field)?;
        let parts = divide(&classes, fraction, seed)?;
        Ok(parts.map(|indices| Self { samples: samples.clone(), indices }))
    }
}

impl<S: Samples> Samples for Subset<S> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn fields(&self) -> Vec<Field> {
        self.samples.fields()
    }

    fn write(&self, sample: usize, field: usize, draw: Option<Draw>, out: Slot<'_>) -> Result<()> {
        check_sample(sample, self.len())?;
        self.samples.write(self.indices[sample], field, draw, out)
    }

    fn describe(&self) -> Result<String> {
        let mut sum = Crc::new();
        self.indices.iter().for_each(|index| sum.update(&(*index as u64).to_le_bytes()));
        Ok(format!("{} of {}, checksum {:08x}", self.indices.len(), self.samples.describe()?, sum.sum()))
    }

    fn class_names(&self) -> Option<&[String]> {
        self.samples.class_names()
    }
}

impl Dataset {
    /// A dataset of these samples; one may occur more than once.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a sample does not exist, and [`Error::Memory`] if the machine refuses the memory.
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Result<Self> {
        check_indices(indices, self.len())?;
        self.gathered(indices)
    }

    /// Divides the samples in two: the rest to train on, and a `fraction` held out, rounded up. Both have as equal a share of
    /// each class as their numbers allow; the same seed divides them the same way.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if the fraction is not between 0 and 1, or leaves nothing for one of the parts; [`Error::Memory`].
    ///
    /// ```
    /// let digits = dagrad::data::mnist_5k()?.train;
    /// let split = digits.split(0.25, 42)?;
    /// assert_eq!((split.train.len(), split.test.len()), (3000, 1000));
    /// assert_eq!(split.test.labels().iter().filter(|&&label| label == 7).count(), 100);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, fraction: f64, seed: u64) -> Result<Split> {
        let [train, test] = divide(self.labels(), fraction, seed)?;
        Ok(Split { train: self.gathered(&train)?, test: self.gathered(&test)? })
    }
}

#[track_caller]
fn check_indices(indices: &[usize], len: usize) -> Result<()> {
    match indices.iter().find(|&&sample| sample >= len) {
        Some(sample) => {
            Err(Error::setting("indices", format!("sample {sample} is asked for, but there are {len}")))
        }
        None => Ok(()),
    }
}

/// The class of each sample.
#[track_caller]
fn classes(samples: &dyn Samples, field: &str) -> Result<Vec<u32>> {
    let (fields, site) = (samples.fields(), SourceLine::caller());
    let position = position(&fields, field)?;
    if fields[position] != Field::index(field, []) {
        let message = format!("{} is not one index a sample, such as {LABELS}", fields[position].ty);
        return Err(Error::setting(field, message));
    }
    let mut classes = vec![0; samples.len()];
    for (sample, class) in classes.iter_mut().enumerate() {
        let read = samples.write(sample, position, None, Slot::Index(std::slice::from_mut(class)));
        read.map_err(|error| error.at(site))?;
    }
    Ok(classes)
}

/// The samples in two parts, in order: the rest, and a fraction with its share of each class.
///
/// The shares are rounded down, and what is left goes to the classes that lost most by it.
#[track_caller]
fn divide(classes: &[u32], fraction: f64, seed: u64) -> Result<[Vec<usize>; 2]> {
    setting::require("fraction", fraction, (Bound::Excluded(0.0), Bound::Excluded(1.0)))?;
    // 0.07 × 100 is a little more than 7 in binary.
    let (len, total) = (classes.len(), (fraction * classes.len() as f64 * (1.0 - 1e-12)).ceil() as usize);
    if total == 0 || total >= len {
        let message = format!("{fraction} of {len} samples are {total}, so one part would be empty");
        return Err(Error::setting("fraction", message));
    }
    let mut counts = std::collections::BTreeMap::<u32, usize>::new();
    classes.iter().for_each(|&class| *counts.entry(class).or_default() += 1);
    // How many of each class are taken, in whole numbers, and what is lost by rounding, in parts of `len`.
    let share = |count: usize| {
        (count as u128 * total as u128 / len as u128, count as u128 * total as u128 % len as u128)
    };
    let mut shares: Vec<_> = counts.iter().map(|(&class, &count)| (class, share(count))).collect();
    let left = total - shares.iter().map(|(_, (whole, _))| *whole as usize).sum::<usize>();
    shares.sort_by_key(|&(_, (_, lost))| std::cmp::Reverse(lost)); // equal ones stay in the order of classes
    shares.iter_mut().take(left).for_each(|(_, (whole, _))| *whole += 1);
    let mut shares: std::collections::BTreeMap<u32, u128> =
        shares.into_iter().map(|(class, (whole, _))| (class, whole)).collect();

    let mut order = vec![0; len];
    shuffle(seed, DIVISION, &mut order);
    let (mut taken, mut rest) = (Vec::with_capacity(total), Vec::with_capacity(len - total));
    for sample in order {
        match shares.get_mut(&classes[sample]) {
            Some(share) if *share > 0 => {
                *share -= 1;
                taken.push(sample);
            }
            _ => rest.push(sample),
        }
    }
    taken.sort_unstable();
    rest.sort_unstable();
    Ok([rest, taken])
}
