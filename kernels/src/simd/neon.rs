//! The registers of 64-bit ARM, all of which have NEON.

use std::arch::aarch64::*;

use super::Vector;
use crate::tuning::{F64_TILE_ROWS, NEON_TILE_ROWS};

/// A 128-bit register: partial loads and stores go lane by lane.
macro_rules! neon {
    ($register:ty, $number:ty, [$($lane:literal)*], $instructions:tt, $load_lane:ident, $store_lane:ident,
     $fused:ident, $absolute:ident, $below:ident, $at_most:ident, $equal:ident, $choose:ident, $to_bits:ident,
     $from_bits:ident, $without:ident, $greatest:ident, $even:ident, $odd:ident) => {
        impl Vector<$number> for $register {
            const LANES: usize = [$($lane),*].len();
            const TILE_ROWS: usize = if size_of::<$number>() == 8 { F64_TILE_ROWS } else { NEON_TILE_ROWS };

            instructions! $instructions;

            #[inline(always)]
            unsafe fn load_first(from: *const $number, count: usize) -> Self {
                // SAFETY: the first `count` numbers are readable, which the caller vouches for.
                unsafe {
                    let mut all = Self::splat(0.0);
                    $(if count > $lane {
                        all = $load_lane::<$lane>(from.add($lane), all);
                    })*
                    all
                }
            }

            #[inline(always)]
            unsafe fn store_first(self, to: *mut $number, count: usize) {
                $(if count > $lane {
                    // SAFETY: the first `count` numbers are writable, which the caller vouches for.
                    unsafe { $store_lane::<$lane>(to.add($lane), self) };
                })*
            }

            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $fused(term, self, factor) }
            }

            #[inline(always)]
            unsafe fn gate(self, by: Self) -> Self {
                // SAFETY: the trait's contract. A comparison with NaN is false, so NaN keeps the lane.
                unsafe { $from_bits($without($to_bits(self), $at_most(by, Self::splat(0.0)))) }
            }

            #[inline(always)]
            unsafe fn at_least(self, floor: Self) -> Self {
                // The instruction for maxima takes −0 for smaller than 0, as that of no other register does.
                // SAFETY: the trait's contract.
                unsafe { $choose($below(self, floor), floor, self) }
            }

            #[inline(always)]
            unsafe fn larger(self, best: Self, [own, bests]: [Self; 2]) -> [Self; 2] {
                // SAFETY: the trait's contract. "Not ≤" finds a NaN, and what is not equal to itself keeps one.
                unsafe {
                    let above = $without($equal(best, best), $at_most(self, best));
                    [$choose(above, self, best), $choose(above, own, bests)]
                }
            }

            #[inline(always)]
            unsafe fn greater(self, other: Self) -> Self {
                // SAFETY: the trait's contract. A comparison with NaN is false.
                unsafe { $choose($below(other, self), Self::splat(1.0), Self::splat(0.0)) }
            }

            #[inline(always)]
            unsafe fn greater_equal(self, other: Self) -> Self {
                // SAFETY: as above.
                unsafe { $choose($at_most(other, self), Self::splat(1.0), Self::splat(0.0)) }
            }

            #[inline(always)]
            unsafe fn flush(self) -> Self {
                // SAFETY: the trait's contract. A comparison with NaN is false, so NaN stays.
                unsafe {
                    let subnormal = $below($absolute(self), Self::splat(<$number>::MIN_POSITIVE));
                    $from_bits($without($to_bits(self), subnormal))
                }
            }

            #[inline(always)]
            unsafe fn is_zero(self) -> bool {
                // SAFETY: the trait's contract. The greatest of lanes with a NaN is NaN.
                unsafe { $greatest($absolute(self)) == 0.0 }
            }

            #[inline(always)]
            unsafe fn interleave(self, other: Self) -> (Self, Self) {
                // SAFETY: the trait's contract.
                unsafe { ($even(self, other), $odd(self, other)) }
            }
        }
    };
}

neon!(
    float32x4_t,
    f32,
    [0 1 2 3],
    (
        f32,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vsqrtq_f32,
        add = vaddq_f32,
        subtract = vsubq_f32,
        multiply = vmulq_f32,
        divide = vdivq_f32
    ),
    vld1q_lane_f32,
    vst1q_lane_f32,
    vfmaq_f32,
    vabsq_f32,
    vcltq_f32,
    vcleq_f32,
    vceqq_f32,
    vbslq_f32,
    vreinterpretq_u32_f32,
    vreinterpretq_f32_u32,
    vbicq_u32,
    vmaxvq_f32,
    vzip1q_f32,
    vzip2q_f32
);

neon!(
    float64x2_t,
    f64,
    [0 1],
    (
        f64,
        vdupq_n_f64,
        vld1q_f64,
        vst1q_f64,
        vsqrtq_f64,
        add = vaddq_f64,
        subtract = vsubq_f64,
        multiply = vmulq_f64,
        divide = vdivq_f64
    ),
    vld1q_lane_f64,
    vst1q_lane_f64,
    vfmaq_f64,
    vabsq_f64,
    vcltq_f64,
    vcleq_f64,
    vceqq_f64,
    vbslq_f64,
    vreinterpretq_u64_f64,
    vreinterpretq_f64_u64,
    vbicq_u64,
    vmaxvq_f64,
    vzip1q_f64,
    vzip2q_f64
);
