//! Samples that are a little different in each epoch.

use std::cell::Cell;
use std::ops::Bound;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::samples::{Draw, Field, Samples, Slot, check_sample, position};
use super::transforms::{Pixel, Transform};
use crate::error::{Error, Result};
use crate::graph::Dtype;
use crate::graph::setting::{self, COUNT};

thread_local! {
    /// The image that is mixed in. Each thread keeps its own, so nothing is allocated after the first.
    static PARTNER: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The number of mixup among the transforms: beyond all others.
const MIXUP: u64 = u64::MAX;
/// What is added to the seed of the samples inside, which may be augmented, too, and draw other numbers then.
const INSIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Samples whose images are transformed at random, and their masks in the same way.
///
/// The transforms follow one another in the order in which they are asked for. Each draws from the seed, the epoch, the sample's
/// number and its own position alone: neither the order of the samples nor the number of threads matters, and a training that is
/// resumed goes on with the same images. Without a [`Draw`], for an evaluation, samples are as they are.
///
/// What comes in from beyond the border is 0. So augment before you [normalise](super::Normalised) for a black border, and after
/// it for one of the mean colour.
///
/// ```
/// use dagrad::data::{Augmented, Draw, Samples, Slot, mnist_5k};
///
/// let digits = mnist_5k()?.train;
/// let train = Augmented::new(&digits, &["images"])?.crop(2)?.rotate(10.0)?.erase(0.25)?;
/// let (mut once, mut again) = (vec![0.0; 784], vec![0.0; 784]);
/// let draw = Draw { seed: 42, epoch: 3 };
/// train.write(7, 0, Some(draw), Slot::Real(&mut once))?;
/// train.write(7, 0, Some(draw), Slot::Real(&mut again))?;
/// assert_eq!(once, again);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Augmented<S> {
    samples: S,
    /// Those of the samples, but for the labels of a mixup.
    fields: Vec<Field>,
    /// The positions of the fields that are transformed.
    chosen: Vec<usize>,
    /// The height and width of all of them.
    size: [usize; 2],
    outside_mask: u32,
    transforms: Vec<Transform>,
    mixup: Option<Mixup>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Mixup {
    alpha: f64,
    /// The position of the field.
    labels: usize,
}

impl<S: Samples> Augmented<S> {
    /// Samples whose `fields` are transformed: images, which are real numbers of shape `[channels, height, width]` or `[height,
    /// width]`, and masks, which are indices of such a shape. All have the same height and width, and the same draws.
    ///
    /// # Errors
    /// [`Error::Setting`]: no field of one of the names, or one of another shape; no fields at all.
    #[track_caller]
    pub fn new(samples: S, fields: &[&str]) -> Result<Self> {
        let all = samples.fields();
        let (mut chosen, mut sizes): (Vec<usize>, Vec<[usize; 2]>) = (Vec::new(), Vec::new());
        for &name in fields {
            let position = position(&all, name)?;
            let ty = &all[position].ty;
            match *ty.shape {
                [height, width] | [_, height, width] if height > 0 && width > 0 => {
                    sizes.push([height, width])
                }
                _ => return Err(Error::setting(name, format!("is {ty}, not [channels, height, width]"))),
            }
            if sizes[0] != sizes[sizes.len() - 1] {
                let message = format!("is {ty}, but {} is {}", fields[0], all[chosen[0]].ty);
                return Err(Error::setting(name, message));
            }
            chosen.push(position);
        }
        let Some(&size) = sizes.first() else {
            return Err(Error::setting("fields", "there are none"));
        };
        Ok(Self { samples, fields: all, chosen, size, outside_mask: 0, transforms: Vec::new(), mixup: None })
    }

    /// Pads each side with so many pixels, and crops the image to its size again, anywhere.
    ///
    /// # Errors
    /// [`Error::Setting`]: more than the height or the width.
    #[track_caller]
    pub fn crop(self, padding: usize) -> Result<Self> {
        let most = self.size[0].min(self.size[1]) as f64;
        setting::require("padding", padding, 0.0..=most)?;
        Ok(self.then(Transform::Shift([padding; 2])))
    }

    /// Shifts the image by whole pixels, up to a fraction of its height and of its width either way.
    ///
    /// # Errors
    /// [`Error::Setting`]: a fraction that is not from 0 to 1.
    #[track_caller]
    pub fn shift(self, fraction: f64) -> Result<Self> {
        setting::require("fraction", fraction, 0.0..=1.0)?;
        let most = self.size.map(|size| (fraction * size as f64).round() as usize);
        Ok(self.then(Transform::Shift(most)))
    }

    /// Flips the image left for right, with a probability.
    ///
    /// # Errors
    /// [`Error::Setting`]: a probability that is not from 0 to 1.
    #[track_caller]
    pub fn flip_horizontal(self, probability: f64) -> Result<Self> {
        setting::require("probability", probability, 0.0..=1.0)?;
        Ok(self.then(Transform::FlipHorizontal(probability)))
    }

    /// Flips the image top for bottom, with a probability.
    ///
    /// # Errors
    /// [`Error::Setting`]: a probability that is not from 0 to 1.
    #[track_caller]
    pub fn flip_vertical(self, probability: f64) -> Result<Self> {
        setting::require("probability", probability, 0.0..=1.0)?;
        Ok(self.then(Transform::FlipVertical(probability)))
    }

    /// Turns the image about its centre by up to so many degrees either way, all angles alike. Pixels of images are interpolated
    /// bilinearly; those of masks are the nearest ones.
    ///
    /// # Errors
    /// [`Error::Setting`]: degrees that are not from 0 to 180.
    #[track_caller]
    pub fn rotate(self, degrees: f64) -> Result<Self> {
        setting::require("degrees", degrees, 0.0..=180.0)?;
        Ok(self.then(Transform::Rotate(degrees)))
    }

    /// Erases a rectangle of the image, with a probability: it becomes 0. It takes 2 to 33 % of the image, and its height is 0.3
    /// to 3.3 times its width, as in torchvision ([Zhong et al. 2017](https://arxiv.org/abs/1708.04896)). Masks stay.
    ///
    /// # Errors
    /// [`Error::Setting`]: a probability that is not from 0 to 1.
    #[track_caller]
    pub fn erase(self, probability: f64) -> Result<Self> {
        setting::require("probability", probability, 0.0..=1.0)?;
        Ok(self.then(Transform::Erase(probability)))
    }

    /// What masks have where an image is padded, instead of class 0: a class that the loss ignores, for example.
    pub fn outside_mask(mut self, class: u32) -> Self {
        self.outside_mask = class;
        self
    }

    /// Mixes each sample with another one, after all transforms: λ x + (1 − λ) x′, with λ from the distribution Beta(α, α) and
    /// the other sample drawn from all, each transformed by its own draws ([Zhang et al.
    /// 2017](https://arxiv.org/abs/1710.09412)).
    ///
    /// The field `labels`, of one class a sample, becomes the probabilities of the `classes`, real numbers of shape `[classes]`:
    /// λ for the class of x, 1 − λ for that of x′. Without a draw it is 1 for the class and 0 for the others, so that the same
    /// loss judges test samples that are wrapped in the same way.
    ///
    /// ```
    /// use dagrad::data::{Augmented, Draw, Samples, Slot, mnist_5k};
    ///
    /// let digits = mnist_5k()?.train;
    /// let train = Augmented::new(&digits, &["images"])?.mixup(0.2, "labels", 10)?;
    /// let mut probabilities = [0.0; 10];
    /// train.write(0, 1, Some(Draw { seed: 0, epoch: 0 }), Slot::Real(&mut probabilities))?;
    /// assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`]: an `alpha` that is not above 0 and up to 100; no such field, or one of another type; no classes; a mask
    /// among the fields that are transformed, because classes cannot be mixed.
    #[track_caller]
    pub fn mixup(mut self, alpha: f64, labels: &str, classes: usize) -> Result<Self> {
        setting::require("alpha", alpha, (Bound::Excluded(0.0), Bound::Included(100.0)))?;
        setting::require("classes", classes, COUNT)?;
        if let Some(&mask) = self.chosen.iter().find(|&&field| self.fields[field].ty.dtype == Dtype::Index) {
            return Err(Error::setting(
                "mixup",
                format!("{} is a mask, which cannot be mixed", self.fields[mask].name),
            ));
        }
        let position = position(&self.fields, labels)?;
        if self.fields[position] != Field::index(labels, []) {
            let message = format!("is {}, not one class a sample", self.fields[position].ty);
            return Err(Error::setting(labels, message));
        }
        self.fields[position] = Field::real(labels, [classes]);
        self.mixup = Some(Mixup { alpha, labels: position });
        Ok(self)
    }

    fn then(mut self, transform: Transform) -> Self {
        self.transforms.push(transform);
        self
    }

    /// Transforms what has been read of a sample.
    fn transform<P: Pixel>(&self, sample: usize, draw: Draw, planes: &mut [P], outside: P) {
        for (number, transform) in self.transforms.iter().enumerate() {
            transform.apply(random(draw, sample, number as u64), planes, self.size, outside);
        }
    }

    /// An image of a sample, before any is mixed in.
    fn image(&self, sample: usize, field: usize, draw: Draw, out: &mut [f32]) -> Result<()> {
        self.samples.write(sample, field, inside(Some(draw)), Slot::Real(out))?;
        self.transform(sample, draw, out, 0.0);
        Ok(())
    }

    /// The probabilities of the classes of a sample.
    fn probabilities(&self, mixup: Mixup, sample: usize, draw: Option<Draw>, out: &mut [f32]) -> Result<()> {
        let other = draw.map(|draw| mixup.partner(sample, draw, self.len()));
        out.fill(0.0);
        for (sample, share) in
            [Some((sample, other.map_or(1.0, |(_, share)| 1.0 - share))), other].into_iter().flatten()
        {
            let mut class = [0];
            self.samples.write(sample, mixup.labels, inside(draw), Slot::Index(&mut class))?;
            let classes = out.len();
            let Some(probability) = usize::try_from(class[0]).ok().and_then(|class| out.get_mut(class))
            else {
                let message = format!(
                    "sample {sample} has label {}, but the classes are 0 to {}",
                    class[0],
                    classes - 1
                );
                return Err(Error::setting(&self.fields[mixup.labels].name, message));
            };
            *probability += share;
        }
        Ok(())
    }
}

impl Mixup {
    /// The sample that is mixed in, and its share.
    fn partner(self, sample: usize, draw: Draw, len: usize) -> (usize, f32) {
        let mut random = random(draw, sample, MIXUP);
        (random.random_range(0..len), beta(&mut random, self.alpha) as f32)
    }
}

/// A number of the distribution Beta(α, α).
fn beta(random: &mut ChaCha8Rng, alpha: f64) -> f64 {
    loop {
        // From 0, without it, to 1.
        let [u, v] = [(); 2].map(|()| 1.0 - random.random::<f64>());
        if alpha >= 1.0 {
            // The density, (4 u (1 − u))^(α − 1) of its largest value.
            if v <= (4.0 * u * (1.0 - u)).powf(alpha - 1.0) {
                return u;
            }
        } else {
            // Jöhnk 1964: x / (x + y), with x = u^(1/α) and y = v^(1/α), if x + y ≤ 1. Both may be too small for a number.
            let [x, y] = [u.ln() / alpha, v.ln() / alpha];
            if x.exp() + y.exp() <= 1.0 {
                return 1.0 / (1.0 + (y - x).exp());
            }
        }
    }
}

/// The random numbers of one transform of one sample.
fn random(draw: Draw, sample: usize, transform: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [draw.seed, draw.epoch, sample as u64, transform];
    key.as_chunks_mut().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// The draw of the samples inside.
fn inside(draw: Option<Draw>) -> Option<Draw> {
    draw.map(|draw| Draw { seed: draw.seed.wrapping_add(INSIDE), ..draw })
}

impl<S: Samples> Samples for Augmented<S> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }

    fn write(&self, sample: usize, field: usize, draw: Option<Draw>, out: Slot<'_>) -> Result<()> {
        check_sample(sample, self.len())?;
        match (out, self.mixup, draw) {
            (Slot::Real(out), Some(mixup), _) if field == mixup.labels => {
                self.probabilities(mixup, sample, draw, out)
            }
            (Slot::Real(out), mixup, Some(draw)) if self.chosen.contains(&field) => {
                self.image(sample, field, draw, out)?;
                let Some(mixup) = mixup else { return Ok(()) };
                let (partner, share) = mixup.partner(sample, draw, self.len());
                let mut other = PARTNER.take();
                other.resize(out.len(), 0.0);
                self.image(partner, field, draw, &mut other)?;
                out.iter_mut().zip(&other).for_each(|(x, other)| *x = *x * (1.0 - share) + other * share);
                PARTNER.set(other);
                Ok(())
            }
            (Slot::Index(out), _, Some(draw)) if self.chosen.contains(&field) => {
                self.samples.write(sample, field, inside(Some(draw)), Slot::Index(out))?;
                self.transform(sample, draw, out, self.outside_mask);
                Ok(())
            }
            (out, _, draw) => self.samples.write(sample, field, inside(draw), out),
        }
    }

    fn describe(&self) -> Result<String> {
        let Self { chosen, outside_mask, transforms, mixup, .. } = self;
        let inner = self.samples.describe()?;
        Ok(format!("{inner}, fields {chosen:?} by {transforms:?}, outside {outside_mask}, {mixup:?}"))
    }

    fn class_names(&self) -> Option<&[String]> {
        self.samples.class_names()
    }
}
