//! The two number types that the kernels compute with.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use num_traits::{Float, NumAssign};

use super::elementwise::Function;
use super::simd::{Isa, MAX_LANES, Vector};
use super::transcendental;

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

    /// Replaces each number by an exponential, a logarithm or the like; see `transcendental.rs`.
    #[doc(hidden)]
    fn transcendental(function: Function, numbers: &mut [[Self; MAX_LANES]], isa: Isa);

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

    macro_rules! plain {
        ($($number:ty)*) => {$(
            // SAFETY: a number uses all its bits, of which every pattern is a value, perhaps an infinity or a NaN.
            unsafe impl Plain for $number {}
        )*};
    }

    plain!(f32 f64 usize u32 u8);
}

macro_rules! real {
    ($number:ident, erf: $erf:path, transcendental: $transcendental:path, neon: $neon:ident, avx512: $avx512:ident, avx2: $avx2:ident) => {
        impl Real for $number {
            const NAME: &'static str = stringify!($number);
            #[cfg(target_arch = "aarch64")]
            type Neon = std::arch::aarch64::$neon;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = std::arch::x86_64::$avx512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = std::arch::x86_64::$avx2;

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn into_f64(self) -> f64 {
                self.into()
            }

            fn erf(self) -> Self {
                Self::of($erf(self.into()))
            }

            fn transcendental(function: Function, numbers: &mut [[Self; MAX_LANES]], isa: Isa) {
                $transcendental(function, numbers, isa);
            }

            #[inline(always)]
            fn from_index(index: u32) -> Self {
                Self::from_bits(index.into())
            }

            #[inline(always)]
            fn to_index(self) -> u32 {
                self.to_bits() as u32
            }
        }
    };
}

real!(
    f32,
    erf: transcendental::erf,
    transcendental: transcendental::apply_single,
    neon: float32x4_t,
    avx512: __m512,
    avx2: __m256
);
real!(
    f64,
    erf: crate::erf::erf,
    transcendental: transcendental::apply_double,
    neon: float64x2_t,
    avx512: __m256d,
    avx2: __m256d
);
