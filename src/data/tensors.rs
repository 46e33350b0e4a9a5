//! Samples from arrays in memory.

use std::fmt;

use ndarray::{ArrayBase, Data, Dimension};

use super::dataset::{reserved, scale, stray_label};
use super::samples::{Draw, Field, Samples, Slot, check_sample, position};
use super::{LABELS, distinct};
use crate::error::{Error, Result};
use crate::graph::TensorType;
use crate::shape::Shape;

/// Samples from arrays in memory: PyTorch's `TensorDataset`, with a name for each array.
///
/// The first axis of each array counts the samples; the others are the shape of one sample. The type of the elements says what
/// the field holds:
///
/// | elements | field |
/// |---|---|
/// | `f32`, `f64` | real numbers, as they are; a NaN is let in, as in PyTorch |
/// | `bool` | real numbers, 0 or 1 |
/// | `u8`, with axes besides the samples | bytes of images: real numbers between 0 and 1, each byte divided by 255 |
/// | `u8` without, and all other integers | indices, such as classes |
///
/// Bytes are kept as bytes, and become numbers when a batch is read. Arrays are copied, whatever their layout.
///
/// ```
/// use dagrad::data::{Samples, TensorDataset};
/// use ndarray::{Array4, array};
///
/// let images = Array4::<f32>::zeros((2, 28, 28, 1)); // channels last
/// let train = TensorDataset::new()
///     .with("images", &images.view().permuted_axes([0, 3, 1, 2]))?
///     .with("labels", &array![1i64, 0])?
///     .with_class_names(["cat", "dog"])?;
/// assert_eq!(train.len(), 2);
/// assert_eq!(*train.fields()[0].ty.shape, [1, 28, 28]);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct TensorDataset {
    len: usize,
    columns: Vec<Column>,
    class_names: Option<Vec<String>>,
}

/// A field of all samples.
#[derive(Clone, PartialEq)]
struct Column {
    field: Field,
    /// Sample after sample.
    values: Values,
}

#[derive(Clone, PartialEq)]
enum Values {
    Real(Vec<f32>),
    /// Real numbers, times 255.
    Bytes(Vec<u8>),
    Index(Vec<u32>),
}

/// A type of elements that arrays of samples may have: `f32`, `f64`, `bool`, and integers.
pub trait SampleElement: Copy + Default {
    /// The element as one of three kinds, the same kind for all elements of the type.
    fn number(self) -> Number;
}

/// An element of an array, as a [`TensorDataset`] takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A real number.
    Real(f64),
    /// A byte of an image, or an index.
    Byte(u8),
    /// An index, such as a class.
    Integer(i128),
}

macro_rules! element {
    ($($element:ty => $variant:ident $(as $number:ty)?),*) => {$(
        impl SampleElement for $element {
            fn number(self) -> Number {
                Number::$variant(self $(as $number)?)
            }
        }
    )*};
}
element!(f32 => Real as f64, f64 => Real, u8 => Byte, i8 => Integer as i128, i16 => Integer as i128);
element!(u16 => Integer as i128, i32 => Integer as i128, u32 => Integer as i128, i64 => Integer as i128);
element!(u64 => Integer as i128, isize => Integer as i128, usize => Integer as i128);

impl SampleElement for bool {
    fn number(self) -> Number {
        Number::Real(f64::from(u8::from(self)))
    }
}

impl TensorDataset {
    /// No fields yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A further field of this name, which is that of the input it is fed to.
    ///
    /// # Errors
    /// [`Error::Setting`]: no axis for the samples; another number of samples than before; a name that is there already; an
    /// integer that is negative or beyond `u32`, or a finite number beyond `f32`, with the sample that has it.
    /// [`Error::Memory`]: memory that the machine refuses.
    #[track_caller]
    pub fn with<T: SampleElement, S: Data<Elem = T>, D: Dimension>(
        mut self,
        name: impl Into<String>,
        array: &ArrayBase<S, D>,
    ) -> Result<Self> {
        let name = name.into();
        let Some((&len, shape)) = array.shape().split_first() else {
            return Err(Error::setting(name, "has no axes, but the first counts the samples"));
        };
        if let Some(first) = self.columns.first().filter(|_| len != self.len) {
            let message = format!("has {len} samples, but {} has {}", first.field.name, self.len);
            return Err(Error::setting(name, message));
        }
        if self.columns.iter().any(|column| column.field.name == name) {
            return Err(Error::setting(name, "is there already"));
        }
        let values = Values::of(&name, array, shape.is_empty())?;
        let ty = match values {
            Values::Index(_) => TensorType::index(shape),
            _ => TensorType::real(shape),
        };
        self.len = len;
        self.columns.push(Column { field: Field { name, ty }, values });
        Ok(self)
    }

    /// Takes the bytes of a field for indices, such as the classes of pixels in a mask, instead of an image.
    ///
    /// # Errors
    /// [`Error::Setting`]: no field of this name, or one that does not hold bytes.
    #[track_caller]
    pub fn with_indices(mut self, name: &str) -> Result<Self> {
        let column = self.column(name)?;
        let Values::Bytes(bytes) = &column.values else {
            return Err(Error::setting(name, "does not hold bytes"));
        };
        let mut indices = reserved(bytes.len(), "the indices of a dataset")?;
        indices.extend(bytes.iter().copied().map(u32::from));
        column.values = Values::Index(indices);
        column.field.ty = TensorType::index(&column.field.ty.shape);
        Ok(self)
    }

    /// Gives each sample of a field another shape with as many elements: `[1, 28, 28]` instead of `[28, 28]`, for example.
    ///
    /// # Errors
    /// [`Error::Setting`]: no field of this name, or another number of elements.
    #[track_caller]
    pub fn with_shape(mut self, name: &str, shape: impl Into<Shape>) -> Result<Self> {
        let (column, shape) = (self.column(name)?, shape.into());
        let old = &column.field.ty.shape;
        if shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)) != Some(old.count()) {
            return Err(Error::setting(name, format!("{shape} has not as many elements as {old}")));
        }
        column.field.ty.shape = shape;
        Ok(self)
    }

    /// What the classes are called, in order.
    ///
    /// # Errors
    /// [`Error::Setting`]: two classes of one name, or a class in the field `labels`, if there is one, without a name.
    #[track_caller]
    pub fn with_class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Result<Self> {
        let names = distinct(names)?;
        let labels = self.columns.iter().find(|column| column.field.name == LABELS);
        if let Some(Column { values: Values::Index(labels), field }) = labels
            && let Some((at, label)) = stray_label(labels.iter().copied(), names.len())
        {
            let sample = at / field.ty.shape.count().max(1);
            let message = format!("{} names, but sample {sample} has class {label}", names.len());
            return Err(Error::setting("class_names", message));
        }
        self.class_names = Some(names);
        Ok(self)
    }

    #[track_caller]
    fn column(&mut self, name: &str) -> Result<&mut Column> {
        let index = position(&self.fields(), name)?;
        Ok(&mut self.columns[index])
    }
}

impl Values {
    /// The elements of an array in row-major order; `is_plain` if a sample is a single one.
    #[track_caller]
    fn of<T: SampleElement, S: Data<Elem = T>, D: Dimension>(
        name: &str,
        array: &ArrayBase<S, D>,
        is_plain: bool,
    ) -> Result<Self> {
        let (len, numbers) = (array.len(), array.iter().map(|element| element.number()));
        let per_sample = (len / array.shape()[0].max(1)).max(1);
        match T::default().number() {
            Number::Real(_) => {
                let mut values = reserved(len, "the numbers of a dataset")?;
                for (at, number) in numbers.enumerate() {
                    let Number::Real(number) = number else { continue };
                    if number.is_finite() && !(number as f32).is_finite() {
                        let message = format!("sample {} has {number:e}, beyond `f32`", at / per_sample);
                        return Err(Error::setting(name, message));
                    }
                    values.push(number as f32);
                }
                Ok(Self::Real(values))
            }
            Number::Byte(_) if !is_plain => {
                let mut values = reserved(len, "the bytes of a dataset")?;
                values.extend(numbers.filter_map(|number| match number {
                    Number::Byte(byte) => Some(byte),
                    _ => None,
                }));
                Ok(Self::Bytes(values))
            }
            _ => {
                let mut values = reserved(len, "the indices of a dataset")?;
                for (at, number) in numbers.enumerate() {
                    let number = match number {
                        Number::Byte(byte) => i128::from(byte),
                        Number::Integer(number) => number,
                        Number::Real(_) => continue,
                    };
                    let Ok(index) = u32::try_from(number) else {
                        let sample = at / per_sample;
                        let message =
                            format!("sample {sample} has {number}, but an index is from 0 to 4294967295");
                        return Err(Error::setting(name, message));
                    };
                    values.push(index);
                }
                Ok(Self::Index(values))
            }
        }
    }
}

impl Samples for TensorDataset {
    fn len(&self) -> usize {
        self.len
    }

    fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }

    fn write(&self, sample: usize, field: usize, _: Option<Draw>, out: Slot<'_>) -> Result<()> {
        check_sample(sample, self.len)?;
        let Column { field, values } = &self.columns[field];
        let count = field.ty.shape.count();
        let range = sample * count..(sample + 1) * count;
        match (values, out) {
            (Values::Real(values), Slot::Real(out)) => out.copy_from_slice(&values[range]),
            (Values::Bytes(values), Slot::Real(out)) => scale(&values[range], out),
            (Values::Index(values), Slot::Index(out)) => out.copy_from_slice(&values[range]),
            _ => {
                return Err(Error::setting(
                    &field.name,
                    format!("is {}, and is asked for as another type", field.ty),
                ));
            }
        }
        Ok(())
    }

    fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }
}

/// Says what the dataset holds, without its numbers.
impl fmt::Debug for TensorDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorDataset {{ len: {}", self.len)?;
        for Column { field, .. } in &self.columns {
            write!(f, ", {}: {}", field.name, field.ty)?;
        }
        f.write_str(" }")
    }
}
