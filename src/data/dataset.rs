//! Images as bytes with a class each.

use std::fmt;

use flate2::Crc;
use ndarray::{Array1, Array4};

use super::samples::{Draw, Field, Samples, Slot};
use super::{IMAGES, LABELS, distinct};
use crate::error::{Error, Result};
use crate::graph::setting::{self, COUNT};
use dagrad_kernels::simd::vectorize;

/// Images of one shape, as bytes, each with the class it belongs to.
///
/// An image is stored channel by channel, and each channel row by row: the order of a tensor of shape
/// `[channels, height, width]`. Batches hold the same values divided by 255, as `f32` between 0 and 1, in the
/// shape `[samples, channels, height, width]`.
///
/// ```
/// use dagrad::data::Dataset;
///
/// // Two grey images of 1×2 pixels, in two classes.
/// let dataset = Dataset::new(vec![0, 255, 51, 0], [1, 1, 2], vec![0, 1], 2)?;
/// let (images, labels) = dataset.batch(&[1])?;
/// assert_eq!(images, ndarray::array![[[[0.2, 0.0]]]]);
/// assert_eq!(labels, ndarray::array![1]);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    /// All images, one after the other: `labels.len() * image_len` bytes.
    images: Vec<u8>,
    /// Channels, height, width; none of them zero.
    image_shape: [usize; 3],
    /// One for each image, each below `classes`.
    labels: Vec<u32>,
    classes: usize,
    /// As many as classes.
    pub(super) class_names: Option<Vec<String>>,
}

impl Dataset {
    /// Images of the shape `[channels, height, width]`, and the class of each, from 0 to `classes - 1`.
    ///
    /// The number of classes is given because counting the labels would be wrong wherever a class has no
    /// sample. A dataset without samples is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if `classes` or an extent of the shape is zero, if there are not as many bytes as
    /// the labels and the shape call for, or if a label is not below `classes`; the message names the sample.
    #[track_caller]
    pub fn new(images: Vec<u8>, image_shape: [usize; 3], labels: Vec<u32>, classes: usize) -> Result<Self> {
        setting::require("classes", classes, COUNT)?;
        let image_len = image_len(image_shape)?;
        if labels.len().checked_mul(image_len) != Some(images.len()) {
            let [channels, height, width] = image_shape;
            let message = format!(
                "{} bytes of pixels, but {} labels call for as many images of {channels}x{height}x{width} \
                 = {image_len} bytes",
                images.len(),
                labels.len()
            );
            return Err(Error::setting("images", message));
        }
        if let Some((sample, label)) = stray_label(labels.iter().copied(), classes) {
            let message =
                format!("sample {sample} has label {label}, but the classes are 0 to {}", classes - 1);
            return Err(Error::setting("labels", message));
        }
        Ok(Self { images, image_shape, labels, classes, class_names: None })
    }

    /// What the classes are called, in order; a report calls them so.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if there are not as many names as classes, or two classes have one name.
    ///
    /// ```
    /// use dagrad::data::{Dataset, Samples};
    ///
    /// let dataset = Dataset::new(vec![0, 255], [1, 1, 1], vec![0, 1], 2)?.with_class_names(["black", "white"])?;
    /// assert_eq!(dataset.class_names().unwrap()[1], "white");
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    #[track_caller]
    pub fn with_class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Result<Self> {
        let names = distinct(names)?;
        if names.len() != self.classes {
            let message = format!("{} names for {} classes", names.len(), self.classes);
            return Err(Error::setting("class_names", message));
        }
        self.class_names = Some(names);
        Ok(self)
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of every image: `[channels, height, width]`, in pixels.
    pub fn image_shape(&self) -> [usize; 3] {
        self.image_shape
    }

    /// The number of bytes of one image, and of floats of one sample in a batch: the product of
    /// [`image_shape`](Self::image_shape).
    pub fn image_len(&self) -> usize {
        self.image_shape.iter().product()
    }

    /// The number of classes, whether or not each has a sample.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of every sample, in order.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The image of one sample as bytes, in the order channel, row, column; `None` past the last sample.
    pub fn pixels(&self, sample: usize) -> Option<&[u8]> {
        // No overflow: a sample below the length starts within the vector.
        (sample < self.len()).then(|| &self.images[sample * self.image_len()..][..self.image_len()])
    }

    /// The first `samples` samples, or all if there are fewer.
    ///
    /// ```
    /// let train = dagrad::data::mnist_5k()?.train.take(10);
    /// assert_eq!(train.labels(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn take(mut self, samples: usize) -> Self {
        let samples = samples.min(self.len());
        self.labels.truncate(samples);
        self.labels.shrink_to_fit();
        self.images.truncate(samples * self.image_len());
        self.images.shrink_to_fit();
        self
    }

    /// Writes a batch into memory that the caller keeps, without allocating.
    ///
    /// `images` receives the pixels of each of `samples` in turn, divided by 255, and has a length of
    /// `samples.len() * image_len()`; `labels` receives their classes and is as long as `samples`. A sample
    /// may occur more than once.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a sample does not exist or a slice has the wrong length. Nothing is written
    /// then.
    ///
    /// ```
    /// let digits = dagrad::data::mnist_5k()?.test;
    /// let (mut images, mut labels) = (vec![0.0; 2 * digits.image_len()], vec![0; 2]);
    /// digits.copy_batch(&[7, 3], &mut images, &mut labels)?;
    /// assert_eq!(labels, [7, 3]);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    #[track_caller]
    pub fn copy_batch(&self, samples: &[usize], images: &mut [f32], labels: &mut [u32]) -> Result<()> {
        self.check_samples(samples)?;
        if labels.len() != samples.len() {
            let message = format!("room for {} labels, but the batch has {}", labels.len(), samples.len());
            return Err(Error::setting("labels", message));
        }
        if samples.len().checked_mul(self.image_len()) != Some(images.len()) {
            let [channels, height, width] = self.image_shape;
            let message = format!(
                "room for {} floats, but the batch is {} images of {channels}x{height}x{width} = {} floats",
                images.len(),
                samples.len(),
                self.image_len()
            );
            return Err(Error::setting("images", message));
        }
        self.gather(samples, images, labels);
        Ok(())
    }

    /// A batch in arrays of its own: images `[samples, channels, height, width]` between 0 and 1, and labels
    /// `[samples]`.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a sample does not exist, and [`Error::Memory`] if the batch does not fit in
    /// memory.
    #[track_caller]
    pub fn batch(&self, samples: &[usize]) -> Result<(Array4<f32>, Array1<u32>)> {
        self.check_samples(samples)?;
        let length = samples.len().saturating_mul(self.image_len());
        let mut pixels = reserved(length, "a batch")?;
        pixels.resize(length, 0.0);
        self.batch_in(samples, pixels)
    }

    /// A batch of samples that exist, in memory for its pixels.
    #[track_caller]
    pub(super) fn batch_in(
        &self,
        samples: &[usize],
        mut pixels: Vec<f32>,
    ) -> Result<(Array4<f32>, Array1<u32>)> {
        let mut labels = vec![0; samples.len()];
        self.gather(samples, &mut pixels, &mut labels);
        let [channels, height, width] = self.image_shape;
        match Array4::from_shape_vec([samples.len(), channels, height, width], pixels) {
            Ok(images) => Ok((images, Array1::from_vec(labels))),
            Err(error) => Err(Error::setting("samples", error.to_string())),
        }
    }

    /// A dataset of samples that exist.
    #[track_caller]
    pub(super) fn gathered(&self, samples: &[usize]) -> Result<Self> {
        let length = samples.len().saturating_mul(self.image_len());
        let mut images = reserved(length, "the images of a dataset")?;
        for &sample in samples {
            images.extend_from_slice(&self.images[sample * self.image_len()..][..self.image_len()]);
        }
        let labels = samples.iter().map(|&sample| self.labels[sample]).collect();
        let (image_shape, class_names) = (self.image_shape, self.class_names.clone());
        Ok(Self { images, image_shape, labels, classes: self.classes, class_names })
    }

    /// Copies what the caller has checked: that every sample exists and that the lengths agree.
    fn gather(&self, samples: &[usize], images: &mut [f32], labels: &mut [u32]) {
        let image_len = self.image_len();
        let targets = images.chunks_exact_mut(image_len).zip(labels);
        for (&sample, (image, label)) in samples.iter().zip(targets) {
            *label = self.labels[sample];
            scale(&self.images[sample * image_len..][..image_len], image);
        }
    }

    #[track_caller]
    fn check_samples(&self, samples: &[usize]) -> Result<()> {
        let stray = samples.iter().enumerate().find(|&(_, &sample)| sample >= self.len());
        let Some((position, sample)) = stray else { return Ok(()) };
        let message = format!("position {position} asks for sample {sample}, but there are {}", self.len());
        Err(Error::setting("samples", message))
    }
}

/// The fields `images`, of `[channels, height, width]` and between 0 and 1, and `labels`.
impl Samples for Dataset {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::real(IMAGES, self.image_shape), Field::index(LABELS, [])]
    }

    fn write(&self, sample: usize, _: usize, _: Option<Draw>, out: Slot<'_>) -> Result<()> {
        self.check_samples(&[sample])?;
        match out {
            Slot::Real(image) => scale(&self.images[sample * self.image_len()..][..self.image_len()], image),
            Slot::Index(label) => label.fill(self.labels[sample]),
        }
        Ok(())
    }

    fn describe(&self) -> Result<String> {
        let (mut sum, [channels, height, width]) = (Crc::new(), self.image_shape);
        sum.update(&self.images);
        self.labels.iter().for_each(|label| sum.update(&label.to_le_bytes()));
        let (samples, classes) = (self.len(), self.classes);
        Ok(format!(
            "{samples} images {channels}x{height}x{width}, {classes} classes, checksum {:08x}",
            sum.sum()
        ))
    }

    fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }
}

/// Bytes as numbers between 0 and 1.
pub(super) fn scale(pixels: &[u8], numbers: &mut [f32]) {
    vectorize(
        #[inline(always)]
        || numbers.iter_mut().zip(pixels).for_each(|(number, &pixel)| *number = f32::from(pixel) / 255.0),
    );
}

/// Says what the dataset holds; printing millions of pixels would help nobody.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("len", &self.len())
            .field("image_shape", &self.image_shape)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

/// The first label that is not below `classes`, with its sample.
pub(crate) fn stray_label(labels: impl Iterator<Item = u32>, classes: usize) -> Option<(usize, u32)> {
    // A label beyond `usize`, on a machine that small, is beyond any number of classes too.
    labels.enumerate().find(|&(_, label)| usize::try_from(label).map_or(true, |label| label >= classes))
}

/// The number of bytes of one image.
#[track_caller]
pub(super) fn image_len(image_shape: [usize; 3]) -> Result<usize> {
    let length = image_shape.iter().try_fold(1, |length: usize, &extent| length.checked_mul(extent));
    match length {
        Some(length) if length > 0 => Ok(length),
        Some(_) => Err(Error::setting("image_shape", format!("{image_shape:?} has no pixels"))),
        None => Err(Error::setting("image_shape", format!("{image_shape:?} has too many pixels"))),
    }
}

/// Asks for the memory of so many elements, so that a refusal is an error and not the end of the program.
#[track_caller]
pub(crate) fn reserved<T>(length: usize, what: &'static str) -> Result<Vec<T>> {
    let mut elements = Vec::new();
    match elements.try_reserve_exact(length) {
        Ok(()) => Ok(elements),
        Err(_) => Err(Error::memory(length.saturating_mul(size_of::<T>()), what)),
    }
}
