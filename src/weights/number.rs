//! The number types of files, and their numbers.

use std::fmt;

use crate::error::{Error, Result};
use dagrad_kernels::real::Real;

/// The number type of an array in a file, by the names of safetensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
#[non_exhaustive]
pub enum NumberType {
    F64,
    F32,
    F16,
    /// The upper half of an `F32`.
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    /// A byte, 0 or 1.
    Bool,
}

use NumberType::*;

/// Each with its name in safetensors, that of NumPy without the order of bytes, and its bytes.
const TYPES: [(NumberType, &str, &str, usize); 13] = [
    (F64, "F64", "f8", 8),
    (F32, "F32", "f4", 4),
    (F16, "F16", "f2", 2),
    (BF16, "BF16", "", 2),
    (I64, "I64", "i8", 8),
    (I32, "I32", "i4", 4),
    (I16, "I16", "i2", 2),
    (I8, "I8", "i1", 1),
    (U64, "U64", "u8", 8),
    (U32, "U32", "u4", 4),
    (U16, "U16", "u2", 2),
    (U8, "U8", "u1", 1),
    (Bool, "BOOL", "b1", 1),
];

impl NumberType {
    fn row(self) -> (NumberType, &'static str, &'static str, usize) {
        TYPES[self as usize]
    }

    /// The bytes of a number.
    pub fn size(self) -> usize {
        self.row().3
    }

    /// That of the numbers of a store.
    pub(super) fn of<T: Real>() -> Self {
        if T::NAME == "f64" { F64 } else { F32 }
    }

    /// The name in safetensors.
    pub(super) fn name(self) -> &'static str {
        self.row().1
    }

    /// The name in NumPy, without the order of bytes; NumPy has no `BF16`.
    pub(super) fn numpy_name(self) -> Option<&'static str> {
        Some(self.row().2).filter(|name| !name.is_empty())
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        TYPES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    pub(super) fn named_by_numpy(name: &str) -> Option<Self> {
        TYPES.iter().find(|row| row.2 == name && !name.is_empty()).map(|row| row.0)
    }

    /// The bytes of an array, if they can be addressed.
    pub(super) fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        // A size of 0 may stand beside others whose product is beyond all memory.
        let mut nonzero = shape.iter().filter(|&&size| size != 0);
        let bytes = nonzero.try_fold(self.size(), |bytes, &size| bytes.checked_mul(size))?;
        Some(if shape.contains(&0) { 0 } else { bytes })
    }

    /// Writes the numbers of little-endian `bytes` to `to`, the number at position i to position `target(i)`. It returns whether
    /// all are finite.
    pub(super) fn read<T: Real>(self, bytes: &[u8], to: &mut [T], target: impl Fn(usize) -> usize) -> bool {
        macro_rules! read {
            ($bytes:pat => $value:expr) => {{
                let mut finite = true;
                for (position, &$bytes) in bytes.as_chunks().0.iter().enumerate() {
                    let value = T::of($value);
                    finite &= value.is_finite();
                    to[target(position)] = value;
                }
                finite
            }};
        }
        match self {
            F64 => read!(b => f64::from_le_bytes(b)),
            F32 => read!(b => f64::from(f32::from_le_bytes(b))),
            F16 => read!(b => f64::from(half(u16::from_le_bytes(b)))),
            BF16 => read!([low, high] => f64::from(f32::from_le_bytes([0, 0, low, high]))),
            I64 => read!(b => i64::from_le_bytes(b) as f64),
            I32 => read!(b => f64::from(i32::from_le_bytes(b))),
            I16 => read!(b => f64::from(i16::from_le_bytes(b))),
            I8 => read!(b => f64::from(i8::from_le_bytes(b))),
            U64 => read!(b => u64::from_le_bytes(b) as f64),
            U32 => read!(b => f64::from(u32::from_le_bytes(b))),
            U16 => read!(b => f64::from(u16::from_le_bytes(b))),
            U8 => read!([b] => f64::from(b)),
            Bool => read!([b] => f64::from(u8::from(b != 0))),
        }
    }

    /// The little-endian bytes of numbers, `F64` or `F32` as they are.
    #[track_caller]
    pub(super) fn write<T: Real>(values: impl ExactSizeIterator<Item = T>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = values.len() * Self::of::<T>().size();
        if bytes.try_reserve_exact(len).is_err() {
            return Err(Error::memory(len, "weights"));
        }
        for value in values {
            match Self::of::<T>() {
                F64 => bytes.extend(value.into_f64().to_le_bytes()),
                _ => bytes.extend((value.into_f64() as f32).to_le_bytes()),
            }
        }
        Ok(bytes)
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of half precision (IEEE 754 binary16) with these bits, exactly.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) =
        (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction as f32 / (1 << 24) as f32, // below the least normal number, in steps of 2⁻²⁴
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 127 - 15) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}
