//! The registers of x86-64: AVX-512 and AVX2 with FMA.

use std::arch::x86_64::*;

use super::{Kernel, Vector};
use crate::real::Real;
use crate::tuning::{AVX2_TILE_ROWS, AVX512_TILE_ROWS, F64_TILE_ROWS};

/// Whether the machine has all that [`run_avx512`] enables.
pub fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && has_avx2()
}

/// Whether the machine has all that [`run_avx2`] enables.
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Compiles a kernel for AVX-512.
///
/// # Safety
/// [`has_avx512`] must hold.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub unsafe fn run_avx512<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { kernel.run::<T::Avx512>() }
}

/// Compiles a kernel for AVX2 and FMA.
///
/// # Safety
/// [`has_avx2`] must hold.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run_avx2<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { kernel.run::<T::Avx2>() }
}

/// The operations that differ only in the names of their intrinsics.
macro_rules! common {
    ($number:ty, $fused:ident, $max:ident, $compare:ident, $keep:ident, $($instructions:tt)*) => {
        instructions!($number, $($instructions)*);

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
            // SAFETY: the trait's contract.
            unsafe { $fused(self, factor, term) }
        }

        #[inline(always)]
        unsafe fn at_least(self, floor: Self) -> Self {
            // SAFETY: the trait's contract. Of a pair with a NaN, the instruction returns the second.
            unsafe { $max(floor, self) }
        }

        #[inline(always)]
        unsafe fn gate(self, by: Self) -> Self {
            // SAFETY: the trait's contract. "Not ≤, or unordered" keeps NaN.
            unsafe { $keep($compare::<_CMP_NLE_UQ>(by, Self::splat(0.0)), self) }
        }

        #[inline(always)]
        unsafe fn greater(self, other: Self) -> Self {
            // SAFETY: the trait's contract. An ordered comparison is false for NaN.
            unsafe { $keep($compare::<_CMP_GT_OQ>(self, other), Self::splat(1.0)) }
        }

        #[inline(always)]
        unsafe fn greater_equal(self, other: Self) -> Self {
            // SAFETY: as above.
            unsafe { $keep($compare::<_CMP_GE_OQ>(self, other), Self::splat(1.0)) }
        }
    };
}

/// A 512-bit register: partial loads and stores take a mask of bits.
impl Vector<f32> for __m512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = AVX512_TILE_ROWS;

    common!(
        f32,
        _mm512_fmadd_ps,
        _mm512_max_ps,
        _mm512_cmp_ps_mask,
        _mm512_maskz_mov_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_sqrt_ps,
        add = _mm512_add_ps,
        subtract = _mm512_sub_ps,
        multiply = _mm512_mul_ps,
        divide = _mm512_div_ps
    );

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mask = ((1u32 << count) - 1) as __mmask16;
        // SAFETY: the mask has a bit for each of the `count` readable lanes and no other.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mask = ((1u32 << count) - 1) as __mmask16;
        // SAFETY: the mask has a bit for each of the `count` writable lanes and no other.
        unsafe { _mm512_mask_storeu_ps(to, mask, self) }
    }

    #[inline(always)]
    unsafe fn larger(self, best: Self, [own, bests]: [Self; 2]) -> [Self; 2] {
        // SAFETY: the trait's contract. "Not ≤, or unordered" finds a NaN, "ordered" keeps one.
        unsafe {
            let is_number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best, best);
            let above = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(is_number, self, best);
            [_mm512_mask_blend_ps(above, best, self), _mm512_mask_blend_ps(above, bests, own)]
        }
    }

    #[inline(always)]
    unsafe fn flush(self) -> Self {
        // SAFETY: the trait's contract. "Not below, or unordered" keeps NaN.
        unsafe {
            let smallest = Self::splat(f32::MIN_POSITIVE);
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(self), smallest), self)
        }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // SAFETY: the trait's contract. "Not equal, or unordered" finds NaN too.
        unsafe { _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(self, Self::splat(0.0)) == 0 }
    }

    #[inline(always)]
    unsafe fn where_equal(self, indices: *const u32, index: u32) -> Self {
        // SAFETY: the trait's contract.
        unsafe {
            let indices = _mm512_loadu_epi32(indices.cast());
            _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(indices, _mm512_set1_epi32(index as i32)), self)
        }
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        // Lane `i` of the result takes lane `i / 2` of the first or, for odd `i`, of the second register.
        const FIRST: [i32; 16] = weave(0);
        const SECOND: [i32; 16] = weave(8);
        const fn weave(start: i32) -> [i32; 16] {
            let mut order = [0; 16];
            let mut lane = 0;
            while lane < 16 {
                order[lane as usize] = start + lane / 2 + lane % 2 * 16;
                lane += 1;
            }
            order
        }
        // SAFETY: the arrays are as long as a register; the rest is the trait's contract.
        unsafe {
            let (first, second) = (_mm512_loadu_epi32(FIRST.as_ptr()), _mm512_loadu_epi32(SECOND.as_ptr()));
            (_mm512_permutex2var_ps(self, first, other), _mm512_permutex2var_ps(self, second, other))
        }
    }
}

/// A 256-bit register: partial loads and stores take a register of masks.
macro_rules! avx2 {
    ($register:ty, $number:ty, $lanes:literal, $common:tt, $load_mask:ident, $store_mask:ident,
     $compare:ident, $and:ident, $or:ident, $blend:ident, $low:ident, $high:ident, $halves:ident, $signs:ident) => {
        impl Vector<$number> for $register {
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = if size_of::<$number>() == 8 { F64_TILE_ROWS } else { AVX2_TILE_ROWS };

            common! $common;

            #[inline(always)]
            unsafe fn load_first(from: *const $number, count: usize) -> Self {
                // SAFETY: the mask admits the `count` readable lanes and no other.
                unsafe { $load_mask(from, first_lanes::<$number>(count)) }
            }

            #[inline(always)]
            unsafe fn store_first(self, to: *mut $number, count: usize) {
                // Some processors take ten times as long for a store under a mask.
                // SAFETY: the mask admits the `count` writable lanes and no other.
                unsafe {
                    if count == Self::LANES {
                        self.store(to);
                    } else {
                        $store_mask(to, first_lanes::<$number>(count), self);
                    }
                }
            }

            #[inline(always)]
            unsafe fn larger(self, best: Self, [own, bests]: [Self; 2]) -> [Self; 2] {
                // SAFETY: the trait's contract. "Not ≤, or unordered" finds a NaN, "ordered" keeps one.
                unsafe {
                    let above = $and($compare::<_CMP_NLE_UQ>(self, best), $compare::<_CMP_ORD_Q>(best, best));
                    [$blend(best, self, above), $blend(bests, own, above)]
                }
            }

            #[inline(always)]
            unsafe fn flush(self) -> Self {
                // SAFETY: the trait's contract. "Not below, or unordered" keeps NaN.
                unsafe {
                    let above = $compare::<_CMP_NLT_UQ>(self, Self::splat(<$number>::MIN_POSITIVE));
                    let below = $compare::<_CMP_NGT_UQ>(self, Self::splat(-<$number>::MIN_POSITIVE));
                    $and($or(above, below), self)
                }
            }

            #[inline(always)]
            unsafe fn is_zero(self) -> bool {
                // SAFETY: as above.
                unsafe { $signs($compare::<_CMP_NEQ_UQ>(self, Self::splat(0.0))) == 0 }
            }

            #[inline(always)]
            unsafe fn where_equal(self, indices: *const u32, index: u32) -> Self {
                // SAFETY: the trait's contract. Both types are registers of as many bits.
                unsafe {
                    let lanes = if size_of::<$number>() == size_of::<u32>() {
                        _mm256_cmpeq_epi32(_mm256_loadu_si256(indices.cast()), _mm256_set1_epi32(index as i32))
                    } else {
                        let indices = _mm_loadu_si128(indices.cast());
                        _mm256_cvtepi32_epi64(_mm_cmpeq_epi32(indices, _mm_set1_epi32(index as i32)))
                    };
                    $and(std::mem::transmute::<__m256i, $register>(lanes), self)
                }
            }

            #[inline(always)]
            unsafe fn interleave(self, other: Self) -> (Self, Self) {
                // The unpack instructions work within halves, so the halves are put in order afterwards.
                // SAFETY: the trait's contract.
                unsafe {
                    let (low, high) = ($low(self, other), $high(self, other));
                    ($halves::<0x20>(low, high), $halves::<0x31>(low, high))
                }
            }
        }
    };
}

avx2!(
    __m256,
    f32,
    8,
    (
        f32,
        _mm256_fmadd_ps,
        _mm256_max_ps,
        _mm256_cmp_ps,
        _mm256_and_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_sqrt_ps,
        add = _mm256_add_ps,
        subtract = _mm256_sub_ps,
        multiply = _mm256_mul_ps,
        divide = _mm256_div_ps
    ),
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_cmp_ps,
    _mm256_and_ps,
    _mm256_or_ps,
    _mm256_blendv_ps,
    _mm256_unpacklo_ps,
    _mm256_unpackhi_ps,
    _mm256_permute2f128_ps,
    _mm256_movemask_ps
);

avx2!(
    __m256d,
    f64,
    4,
    (
        f64,
        _mm256_fmadd_pd,
        _mm256_max_pd,
        _mm256_cmp_pd,
        _mm256_and_pd,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_sqrt_pd,
        add = _mm256_add_pd,
        subtract = _mm256_sub_pd,
        multiply = _mm256_mul_pd,
        divide = _mm256_div_pd
    ),
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_cmp_pd,
    _mm256_and_pd,
    _mm256_or_pd,
    _mm256_blendv_pd,
    _mm256_unpacklo_pd,
    _mm256_unpackhi_pd,
    _mm256_permute2f128_pd,
    _mm256_movemask_pd
);

/// A 256-bit mask that is all ones in the first `count` lanes, each as wide as `M`.
///
/// # Safety
/// AVX must exist, and `count` must not exceed the lanes of a register.
#[inline(always)]
unsafe fn first_lanes<M>(count: usize) -> __m256i {
    /// A window onto ones followed by zeros: the further left it starts, the more ones it sees.
    static ONES_THEN_ZEROS: [u8; 64] = {
        let mut bytes = [0; 64];
        let mut byte = 0;
        while byte < 32 {
            bytes[byte] = u8::MAX;
            byte += 1;
        }
        bytes
    };
    // SAFETY: at most half a window to the right of the start, a whole register remains.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(32 - count * size_of::<M>()).cast()) }
}
