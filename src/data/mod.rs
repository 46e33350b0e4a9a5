//! What a training reads: samples of named fields, from memory and from files.
//!
//! | samples | hold |
//! |---|---|
//! | [`Dataset`] | images as bytes, each with a class |
//! | [`TensorDataset`] | any fields, from arrays in memory or an [`.npz`](npz) |
//! | [`Subset`], [`Normalised`], [`Augmented`] | other samples: some of them, normalised, transformed at random |
//!
//! [`mnist_5k`] needs no file. [`idx`], [`cifar`] and, with the feature `images`, `folder` read files into datasets.
//! Whatever else has samples implements [`Samples`].
//!
//! ```
//! let split = dagrad::data::mnist_5k()?;
//! for (images, labels) in split.train.batches(100, 42, 0)? {
//!     assert_eq!(images.shape(), [100, 1, 28, 28]);
//!     assert_eq!(labels.len(), 100);
//! }
//! # Ok::<(), dagrad::Error>(())
//! ```

mod augment;
pub mod cifar;
mod dataset;
#[cfg(feature = "images")]
pub mod folder;
pub mod idx;
#[cfg(feature = "images")]
pub(crate) mod image;
mod normalise;
pub mod npz;
#[cfg(feature = "images")]
mod resize;
mod samples;
mod shuffle;
mod stream;
mod subset;
mod tensors;
mod transforms;

use std::path::Path;

pub use self::augment::Augmented;
pub use self::dataset::Dataset;
pub(crate) use self::dataset::{reserved, stray_label};
pub use self::normalise::{ChannelStatistics, Normalised};
pub use self::samples::{Draw, Field, Samples, Slot};
pub use self::shuffle::{Batches, shuffle};
pub use self::subset::Subset;
pub use self::tensors::{Number, SampleElement, TensorDataset};

use self::stream::Stream;
use crate::error::{Error, Result};

/// The name of a dataset's field of images, and of the input it is fed to.
pub(crate) const IMAGES: &str = "images";
/// The name of its field of labels.
pub(crate) const LABELS: &str = "labels";

/// A dataset in two parts: one to learn from, one to judge by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The samples to train on.
    pub train: Dataset,
    /// The samples held out, which training never sees.
    pub test: Dataset,
}

/// Names a file of `mnist-5k/` and its bytes, which are part of the compiled crate.
macro_rules! embedded {
    ($name:literal) => {
        Stream::new(
            Path::new(concat!("<embedded mnist-5k>/", $name)),
            &include_bytes!(concat!("mnist-5k/", $name))[..],
        )
    };
}

/// 5,000 handwritten digits of MNIST that come with the crate: 4,000 to train on, 1,000 held out.
///
/// The images are grey, 1×28×28, white on black; the label is the digit, 0 to 9. Every class has 400
/// training samples and 100 held-out ones, and the classes follow one another (0, 1, …, 9, 0, 1, …), so that
/// [`Dataset::take`] of a multiple of ten stays balanced.
///
/// Both parts come from MNIST's training set. **The held-out part is not MNIST's official test set**: do not
/// quote an accuracy on it as MNIST test accuracy.
///
/// The digits are by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, under CC BY-SA 3.0, which is
/// separate from the licence of this crate's code; see the file `src/data/mnist-5k/NOTICE`.
///
/// # Errors
///
/// None in practice: only if the embedded files were damaged before they were compiled in.
///
/// ```
/// let split = dagrad::data::mnist_5k()?;
/// assert_eq!((split.train.len(), split.test.len()), (4000, 1000));
/// assert_eq!(split.train.image_shape(), [1, 28, 28]);
/// assert_eq!(split.train.classes(), 10);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[track_caller]
pub fn mnist_5k() -> Result<Split> {
    let part = |images: Result<Stream>, labels: Result<Stream>| idx::assemble(images?, labels?, idx::CLASSES);
    let train = part(embedded!("train-images-idx3-ubyte.gz"), embedded!("train-labels-idx1-ubyte.gz"))?;
    let test = part(embedded!("t10k-images-idx3-ubyte.gz"), embedded!("t10k-labels-idx1-ubyte.gz"))?;
    Ok(Split { train, test })
}

/// Names of classes, no two the same.
#[track_caller]
fn distinct<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Vec<String>> {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    let mut seen = std::collections::BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(Error::setting("class_names", format!("two classes are called {twice:?}"))),
        None => Ok(names),
    }
}
