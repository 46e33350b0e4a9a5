//! Samples from NumPy's archives, `.npz`.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};

use super::{TensorDataset, reserved};
use crate::error::{Error, Result};
use crate::weights::{NumberType, Weights};

/// Reads arrays of an `.npz`, as `numpy.savez` and `numpy.savez_compressed` write it, in either order of bytes and of axes. Each pair
/// is the name of a field and that of its array; [`TensorDataset`] says what the fields hold.
///
/// ```no_run
/// use dagrad::data::npz;
///
/// let train = npz::read("mnist.npz", &[("images", "x_train"), ("labels", "y_train")])?; // bytes [60000, 28, 28] and [60000]
/// let train = train.with_shape("images", [1, 28, 28])?;
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`]: a file that cannot be read, is damaged or is something else. [`Error::Parameter`]: no array of a name, with the
/// nearest one. Those of [`TensorDataset::with`].
#[track_caller]
pub fn read(path: impl AsRef<Path>, fields: &[(&str, &str)]) -> Result<TensorDataset> {
    let path = path.as_ref();
    let file = Weights::read(path)?;
    let mut samples = TensorDataset::new();
    for &(field, name) in fields {
        macro_rules! integers {
            ($integer:ty) => {
                samples.with(field, &integers(&file, path, name, <$integer>::from_le_bytes)?)?
            };
        }
        samples = match file.number_type(name) {
            Some(NumberType::I64) => integers!(i64),
            Some(NumberType::I32) => integers!(i32),
            Some(NumberType::I16) => integers!(i16),
            Some(NumberType::I8) => integers!(i8),
            Some(NumberType::U64) => integers!(u64),
            Some(NumberType::U32) => integers!(u32),
            Some(NumberType::U16) => integers!(u16),
            Some(NumberType::U8) => integers!(u8),
            Some(NumberType::F64) => samples.with(field, &file.get::<f64>(name)?)?,
            _ => samples.with(field, &file.get::<f32>(name)?)?,
        };
    }
    Ok(samples)
}

/// An array of integers, each made of its bytes.
#[track_caller]
fn integers<T, const BYTES: usize>(
    file: &Weights,
    path: &Path,
    name: &str,
    of: fn([u8; BYTES]) -> T,
) -> Result<ArrayD<T>> {
    let damaged =
        |problem: String| Error::Data { path: path.to_owned(), message: format!("{name:?}: {problem}") };
    let (bytes, shape) = (file.bytes(name).map_err(damaged)?, file.shape(name).unwrap_or_default());
    let (chunks, _) = bytes.as_chunks();
    let mut values = reserved(chunks.len(), "the arrays of a file")?;
    values.extend(chunks.iter().map(|&bytes| of(bytes)));
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| damaged(format!("no array has the shape {shape:?}")))
}
