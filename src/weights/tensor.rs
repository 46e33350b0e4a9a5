//! An array of a file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::number::NumberType;

/// The most axes of an array, as in PyTorch and NumPy.
pub(super) const MAX_AXES: usize = 64;

/// An array in row-major order.
#[derive(Clone)]
pub(super) struct Tensor {
    pub number_type: NumberType,
    /// Its bytes can be addressed.
    pub shape: Vec<usize>,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    /// A part of a file in memory.
    Here(Arc<Vec<u8>>, Range<usize>),
    /// Made when they are asked for: so a file that is compressed, or says that it is large, takes memory only for arrays of
    /// which somebody has looked at the shape.
    Later(Arc<dyn Fn() -> Result<Vec<u8>, String> + Send + Sync>),
}

impl Tensor {
    /// The little-endian numbers in a part of a file, which are as many as the shape says.
    pub fn part_of(
        file: Arc<Vec<u8>>,
        range: Range<usize>,
        number_type: NumberType,
        shape: Vec<usize>,
    ) -> Self {
        Self { number_type, shape, bytes: Bytes::Here(file, range) }
    }

    /// Numbers that are made when they are asked for.
    pub fn later(
        number_type: NumberType,
        shape: Vec<usize>,
        make: impl Fn() -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { number_type, shape, bytes: Bytes::Later(Arc::new(make)) }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.number_type.bytes_of(&self.shape).unwrap_or(0)
    }

    /// Its little-endian numbers.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        let bytes: Cow<'_, [u8]> = match &self.bytes {
            Bytes::Here(file, range) => file[range.clone()].into(),
            Bytes::Later(make) => make()?.into(),
        };
        if bytes.len() == self.len() { Ok(bytes) } else { Err(format!("{} bytes are too few", bytes.len())) }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.number_type, self.shape)
    }
}
