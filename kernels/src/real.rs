//! The two number types that the kernels compute with.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use num_traits::{Float, NumAssign};

use super::simd::Vector;

/// A floating-point number: `f32` or `f64`.
///
/// Sealed, because scratch memory is lent out as slices of these types without being cleared first.
pub trait Real:
    Float + NumAssign + Sum + Debug + Display + Default + Send + Sync + sealed::Plain + 'static
{
    /// The type's name in Rust, such as `"f32"`.
    const NAME: &'static str;

    /// A register of this type on a 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    #[doc(hidden)]
    type Neon: Vector<Self>;

    /// A register of this type on a machine with AVX-512; double precision does with half of it.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx512: Vector<Self>;

    /// A register of this type on a machine with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx2: Vector<Self>;

    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// The same number in double precision, exactly. (`to_f64` is taken: `num_traits` has a fallible one.)
    fn into_f64(self) -> f64;

    /// The error function 2/√π ∫₀ˣ e^(−t²) dt.
    fn erf(self) -> Self;

    /// A number whose low bits are an index, so that registers of numbers can hold indices.
    fn from_index(index: u32) -> Self;

    /// The index in the low bits.
    fn to_index(self) -> u32;
}

/// Keeps outsiders from adding number types.
pub mod sealed {
    /// A type without padding for which every pattern of bits is a value.
    ///
    /// # Safety
    /// Both must hold, and the alignment must not exceed 64 bytes.
    pub unsafe trait Plain: Copy {}

    // SAFETY: an IEEE number; every pattern is a number, an infinity or a NaN.
    unsafe impl Plain for f32 {}

    // SAFETY: as for `f32`.
    unsafe impl Plain for f64 {}

    // SAFETY: an integer uses all its bits.
    unsafe impl Plain for usize {}

    // SAFETY: as for `usize`.
    unsafe impl Plain for u32 {}

    // SAFETY: as for `usize`.
    unsafe impl Plain for u8 {}
}

impl Real for f32 {
    const NAME: &'static str = "f32";
    #[cfg(target_arch = "aarch64")]
    type Neon = std::arch::aarch64::float32x4_t;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = std::arch::x86_64::__m512;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = std::arch::x86_64::__m256;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn into_f64(self) -> f64 {
        f64::from(self)
    }

    fn erf(self) -> Self {
        crate::erf::erf(self.into_f64()) as f32
    }

    #[inline(always)]
    fn from_index(index: u32) -> Self {
        Self::from_bits(index)
    }

    #[inline(always)]
    fn to_index(self) -> u32 {
        self.to_bits()
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";
    #[cfg(target_arch = "aarch64")]
    type Neon = std::arch::aarch64::float64x2_t;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = std::arch::x86_64::__m256d;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = std::arch::x86_64::__m256d;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn into_f64(self) -> f64 {
        self
    }

    fn erf(self) -> Self {
        crate::erf::erf(self)
    }

    #[inline(always)]
    fn from_index(index: u32) -> Self {
        Self::from_bits(u64::from(index))
    }

    #[inline(always)]
    fn to_index(self) -> u32 {
        self.to_bits() as u32
    }
}
