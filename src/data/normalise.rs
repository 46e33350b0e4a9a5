//! Fields with mean 0 and standard deviation 1 in each channel.

use super::samples::{Draw, Field, Samples, Slot, check_sample, position};
use crate::error::{Error, Result, SourceLine};
use crate::graph::Dtype;
use crate::graph::setting::{self, FINITE, NUMBER};

/// The mean and the standard deviation of each channel of a field.
///
/// The channels are the first axis of a sample, `[channels, height, width]` or `[features]`; a sample of shape `[]` has one.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, over all of its numbers (divided by their count, not by one less).
    pub std: Vec<f32>,
}

impl ChannelStatistics {
    /// Those of a field over all samples, read without a draw: mean = Σ x / n, std = √(Σ (x − mean)² / n), in double precision.
    ///
    /// # Errors
    /// [`Error::Setting`]: no field of real numbers has this name; no samples; a NaN or an infinity. A sample that cannot be
    /// read.
    ///
    /// ```
    /// use dagrad::data::{ChannelStatistics, mnist_5k};
    ///
    /// let statistics = ChannelStatistics::of(&mnist_5k()?.train, "images")?;
    /// assert!((statistics.mean[0] - 0.131).abs() < 1e-3 && (statistics.std[0] - 0.308).abs() < 2e-3);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    #[track_caller]
    pub fn of(samples: &dyn Samples, field: &str) -> Result<Self> {
        let (fields, site) = (samples.fields(), SourceLine::caller());
        let position = real_field(&fields, field)?;
        let shape = &fields[position].ty.shape;
        let (channels, count) = (channels(&fields[position]), shape.count());
        if samples.is_empty() || count == 0 {
            return Err(Error::setting(field, "has no numbers to measure"));
        }
        let per_channel = count / channels;
        let numbers = samples.len() as f64 * per_channel as f64;
        let mut sample = vec![0.0f32; count];
        let mut sums = |of: &dyn Fn(f64, usize) -> f64| -> Result<Vec<f64>> {
            let mut sums = vec![0.0; channels];
            for number in 0..samples.len() {
                samples
                    .write(number, position, None, Slot::Real(&mut sample))
                    .map_err(|error| error.at(site))?;
                for (channel, (sum, values)) in sums.iter_mut().zip(sample.chunks(per_channel)).enumerate() {
                    *sum += values.iter().map(|&value| of(value.into(), channel)).sum::<f64>();
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= numbers);
            Ok(sums)
        };
        let mean = sums(&|value, _| value)?;
        let variance = sums(&|value, channel| (value - mean[channel]).powi(2))?;
        if !variance.iter().all(|variance| variance.is_finite()) {
            return Err(Error::setting(field, "has a NaN or an infinity"));
        }
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        let std = variance.into_iter().map(f64::sqrt).collect();
        Ok(Self { mean: single(mean), std: single(std) })
    }
}

/// Samples of which one field is normalised: (x − mean) / std in each channel.
///
/// What is measured on the training samples normalises the test samples, too:
/// ```
/// use dagrad::data::{ChannelStatistics, Normalised, mnist_5k};
///
/// let digits = mnist_5k()?;
/// let statistics = ChannelStatistics::of(&digits.train, "images")?;
/// let train = Normalised::new(&digits.train, "images", &statistics)?;
/// let test = Normalised::new(&digits.test, "images", &statistics)?;
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised<S> {
    samples: S,
    field: usize,
    statistics: ChannelStatistics,
}

impl<S: Samples> Normalised<S> {
    /// Samples whose `field` is normalised by statistics that are given or [measured](ChannelStatistics::of).
    ///
    /// # Errors
    /// [`Error::Setting`]: no field of real numbers has this name; not one mean and one deviation for each channel; a mean that
    /// is not finite, or a deviation that is not a finite number above 0, as that of a constant channel is not.
    #[track_caller]
    pub fn new(samples: S, field: &str, statistics: &ChannelStatistics) -> Result<Self> {
        let fields = samples.fields();
        let position = real_field(&fields, field)?;
        let channels = channels(&fields[position]);
        for (name, values) in [("mean", &statistics.mean), ("std", &statistics.std)] {
            if values.len() != channels {
                let message = format!("{} for the {channels} channels of {field}", values.len());
                return Err(Error::setting(name, message));
            }
        }
        for (&mean, &std) in statistics.mean.iter().zip(&statistics.std) {
            setting::require("mean", f64::from(mean), NUMBER)?;
            setting::require("std", f64::from(std), f64::from(f32::MIN_POSITIVE)..=*FINITE.end())?;
        }
        Ok(Self { samples, field: position, statistics: statistics.clone() })
    }
}

impl<S: Samples> Samples for Normalised<S> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn fields(&self) -> Vec<Field> {
        self.samples.fields()
    }

    fn write(&self, sample: usize, field: usize, draw: Option<Draw>, out: Slot<'_>) -> Result<()> {
        check_sample(sample, self.len())?;
        match out {
            Slot::Real(out) if field == self.field => {
                self.samples.write(sample, field, draw, Slot::Real(out))?;
                let ChannelStatistics { mean, std } = &self.statistics;
                let per_channel = (out.len() / mean.len().max(1)).max(1);
                for (channel, (mean, std)) in out.chunks_mut(per_channel).zip(mean.iter().zip(std)) {
                    channel.iter_mut().for_each(|value| *value = (*value - mean) / std);
                }
                Ok(())
            }
            out => self.samples.write(sample, field, draw, out),
        }
    }

    fn describe(&self) -> Result<String> {
        let ChannelStatistics { mean, std } = &self.statistics;
        Ok(format!("{}, field {} less {mean:?} over {std:?}", self.samples.describe()?, self.field))
    }

    fn class_names(&self) -> Option<&[String]> {
        self.samples.class_names()
    }
}

/// The position of a field of real numbers.
#[track_caller]
fn real_field(fields: &[Field], name: &str) -> Result<usize> {
    let position = position(fields, name)?;
    if fields[position].ty.dtype == Dtype::Real {
        return Ok(position);
    }
    Err(Error::setting(name, format!("is {}, not real numbers", fields[position].ty)))
}

fn channels(field: &Field) -> usize {
    field.ty.shape.first().copied().unwrap_or(1)
}
