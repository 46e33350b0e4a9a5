//! Samples of named fields: what a training run reads.

use flate2::Crc;

use crate::error::{Error, Result, nearest};
use crate::graph::{Dtype, TensorType};
use crate::shape::Shape;

/// Samples that have the same few fields: an image and its class, for example, or two images and a target.
///
/// Training reads a batch field by field, and may do so on another thread. Whatever is random about a sample is a function of
/// the [`Draw`] and the sample's number alone, so that the same seed gives the same bits on any number of threads, and after
/// any pause.
///
/// Numbers and their squares:
/// ```
/// use dagrad::Result;
/// use dagrad::data::{Draw, Field, Samples, Slot};
///
/// struct Squares(usize);
///
/// impl Samples for Squares {
///     fn len(&self) -> usize {
///         self.0
///     }
///
///     fn fields(&self) -> Vec<Field> {
///         vec![Field::real("x", [1]), Field::real("y", [1])]
///     }
///
///     fn write(&self, sample: usize, field: usize, _: Option<Draw>, out: Slot<'_>) -> Result<()> {
///         if let Slot::Real(out) = out {
///             let x = sample as f32 / self.0 as f32;
///             out[0] = if field == 0 { x } else { x * x };
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Samples: Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What each sample consists of. The names are those of the inputs that are fed.
    fn fields(&self) -> Vec<Field>;

    /// Writes one field of one sample. `field` is its position among the [fields](Self::fields), and `out` has its type and
    /// length. With no draw the sample is read as it is, for an evaluation.
    ///
    /// # Errors
    /// A sample that cannot be read.
    #[track_caller]
    fn write(&self, sample: usize, field: usize, draw: Option<Draw>, out: Slot<'_>) -> Result<()>;

    /// What they are, in words, by which a training that goes on from a [checkpoint](crate::train::Checkpoints) knows that they
    /// are the same. By default how many there are, the fields, and a checksum over a thousand of them at most.
    ///
    /// # Errors
    /// A sample that cannot be read.
    fn describe(&self) -> Result<String> {
        let (fields, mut sum) = (self.fields(), Crc::new());
        for sample in (0..self.len()).step_by(self.len().div_ceil(1000).max(1)) {
            for (number, field) in fields.iter().enumerate() {
                let length = field.ty.shape.iter().product();
                if field.ty.dtype == Dtype::Real {
                    let mut numbers = vec![0.0; length];
                    self.write(sample, number, None, Slot::Real(&mut numbers))?;
                    numbers.iter().for_each(|number| sum.update(&number.to_le_bytes()));
                } else {
                    let mut indices = vec![0; length];
                    self.write(sample, number, None, Slot::Index(&mut indices))?;
                    indices.iter().for_each(|index| sum.update(&index.to_le_bytes()));
                }
            }
        }
        let fields: Vec<String> = fields.iter().map(|field| format!("{} {}", field.name, field.ty)).collect();
        Ok(format!("{} samples of {}, checksum {:08x}", self.len(), fields.join(", "), sum.sum()))
    }

    /// What the classes are called, in order, if there are classes and they have names.
    fn class_names(&self) -> Option<&[String]> {
        None
    }
}

/// What is borrowed is read as well.
impl<S: Samples + ?Sized> Samples for &S {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn fields(&self) -> Vec<Field> {
        (**self).fields()
    }

    fn write(&self, sample: usize, field: usize, draw: Option<Draw>, out: Slot<'_>) -> Result<()> {
        (**self).write(sample, field, draw, out)
    }

    fn describe(&self) -> Result<String> {
        (**self).describe()
    }

    fn class_names(&self) -> Option<&[String]> {
        (**self).class_names()
    }
}

/// The position of a field by its name.
#[track_caller]
pub(super) fn position(fields: &[Field], name: &str) -> Result<usize> {
    let Some(position) = fields.iter().position(|field| field.name == name) else {
        let near = nearest(name, fields.iter().map(|field| field.name.as_str()));
        return Err(Error::setting("field", format!("there is no {name:?}{near}")));
    };
    Ok(position)
}

/// Refuses a sample that does not exist.
#[track_caller]
pub(super) fn check_sample(sample: usize, len: usize) -> Result<()> {
    if sample < len {
        return Ok(());
    }
    Err(Error::setting("sample", format!("{sample} is asked for, but there are {len}")))
}

/// A part of each sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, and that of the input it is fed to.
    pub name: String,
    /// Its shape in one sample, and what it holds.
    pub ty: TensorType,
}

impl Field {
    /// Real numbers of a shape.
    pub fn real(name: impl Into<String>, shape: impl Into<Shape>) -> Self {
        Self { name: name.into(), ty: TensorType::real(shape) }
    }

    /// Indices, such as classes; of shape `[]` for one class a sample.
    pub fn index(name: impl Into<String>, shape: impl Into<Shape>) -> Self {
        Self { name: name.into(), ty: TensorType::index(shape) }
    }
}

/// What randomness may depend on, besides the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The seed of the training run.
    pub seed: u64,
    /// The number of the epoch.
    pub epoch: u64,
}

/// Where a field of a sample is written to, in the order of its elements.
#[derive(Debug)]
pub enum Slot<'a> {
    /// Real numbers.
    Real(&'a mut [f32]),
    /// Indices, such as classes.
    Index(&'a mut [u32]),
}
