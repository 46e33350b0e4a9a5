//! Division and square root of sixteen `f32` by Newton's method, with every bit of the processor's own
//! instructions, which take more than twice the time at this width.
//!
//! From an approximation to 14 bits, one step doubles the correct bits; the last step adds what an exact residual
//! still demands (Markstein 1990). Rounding that sum once gives the correctly rounded result, unless the true
//! result lies so close to the middle between two numbers that the small error of the correction decides. The
//! tests look at exactly those cases. A register with a lane for which this does not hold, or in which something
//! might over- or underflow on the way, is left to the instruction.

use std::arch::x86_64::*;

/// Dividends of the fast path: from 2⁻⁸⁵ to 2⁸⁵, or zero.
const DIVIDENDS: [f32; 2] = [power_of_two(-85), power_of_two(85)];
/// Divisors of the fast path: from 2⁻⁴⁰ to the last number below 2⁴⁰. With the bounds above, neither a quotient
/// nor a residual gets near the ends of the range.
const DIVISORS: [f32; 2] = [power_of_two(-40), power_of_two(40).next_down()];
/// Below divisors whose mantissa has all these bits, reciprocals lie close to the middle between two numbers,
/// where the error is largest: their quotients may come out wrong.
const HARD_DIVISOR: u32 = 0x7f_ffc0;
/// Radicands of the fast path: from 2⁻¹⁰⁰, so that the residual does not underflow, to the largest; or +0.
const RADICANDS: [f32; 2] = [power_of_two(-100), f32::MAX];

const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// The same integer in all lanes.
///
/// # Safety
/// AVX-512 must exist.
#[inline(always)]
unsafe fn splat(integer: u32) -> __m512i {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { _mm512_set1_epi32(integer.cast_signed()) }
}

/// a / b.
///
/// # Safety
/// AVX-512 must exist.
#[inline(always)]
pub unsafe fn divide(a: __m512, b: __m512) -> __m512 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { if can_divide(a, b) { refine_quotient(a, b, _mm512_rcp14_ps(b)) } else { _mm512_div_ps(a, b) } }
}

/// √x.
///
/// # Safety
/// AVX-512 must exist.
#[inline(always)]
pub unsafe fn sqrt(x: __m512) -> __m512 {
    let [low, high] = RADICANDS.map(f32::to_bits);
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        // Below the range, and with a sign, the difference wraps around to a large one.
        let pattern = _mm512_castps_si512(x);
        let above = _mm512_sub_epi32(pattern, splat(low));
        let is_inside = _mm512_cmple_epu32_mask(above, splat(high - low));
        let is_zero = _mm512_testn_epi32_mask(pattern, pattern);
        if _mm512_kortestc(is_inside, is_zero) == 1 {
            // Started from 0, zeros remain what they are.
            refine_root(x, _mm512_maskz_rsqrt14_ps(is_inside, x))
        } else {
            _mm512_sqrt_ps(x)
        }
    }
}

/// Whether all lanes are such that [`refine_quotient`] is exact.
#[inline(always)]
unsafe fn can_divide(a: __m512, b: __m512) -> bool {
    let ([a_low, a_high], [b_low, b_high]) = (DIVIDENDS.map(f32::to_bits), DIVISORS.map(f32::to_bits));
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        // The mantissa of the upper bound is all ones, so the difference has the complement of b's.
        let below = _mm512_sub_epi32(splat(b_high), _mm512_castps_si512(b));
        let divisor = _mm512_cmple_epu32_mask(below, splat(b_high - b_low));
        let divisor = _mm512_mask_test_epi32_mask(divisor, below, splat(HARD_DIVISOR));
        // Twice the pattern: the sign drops out.
        let twice = _mm512_castps_si512(a);
        let twice = _mm512_add_epi32(twice, twice);
        let above = _mm512_sub_epi32(twice, splat(2 * a_low));
        let is_inside = _mm512_mask_cmple_epu32_mask(divisor, above, splat(2 * (a_high - a_low)));
        let is_zero = _mm512_mask_testn_epi32_mask(divisor, twice, twice);
        _mm512_kortestc(is_inside, is_zero) == 1
    }
}

/// a / b, given 1 / b to 14 bits, for positive b. The sign of a zero is right too.
#[inline(always)]
unsafe fn refine_quotient(a: __m512, b: __m512, reciprocal: __m512) -> __m512 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        // With e = 1 − b y: 1 / b = y / (1 − e) = y (1 + e + e² + …).
        let error = _mm512_fnmadd_ps(b, reciprocal, _mm512_set1_ps(1.0));
        let error = _mm512_fmadd_ps(error, error, error);
        let quotient = _mm512_mul_ps(a, reciprocal);
        let reciprocal = _mm512_fmadd_ps(reciprocal, error, reciprocal);
        // Now the quotient is one of the two numbers next to the true one, and the residual after it exact.
        let excess = _mm512_fmsub_ps(b, quotient, a);
        let quotient = _mm512_fnmadd_ps(excess, reciprocal, quotient);
        let excess = _mm512_fmsub_ps(b, quotient, a);
        _mm512_fnmadd_ps(excess, reciprocal, quotient)
    }
}

/// √x, given 1 / √x to 14 bits.
#[inline(always)]
unsafe fn refine_root(x: __m512, reciprocal: __m512) -> __m512 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        // g → √x and h → 1 / (2 √x), both by the factor 1 + e with e = ½ − g h.
        let half = _mm512_set1_ps(0.5);
        let (root, inverse) = (_mm512_mul_ps(x, reciprocal), _mm512_mul_ps(half, reciprocal));
        let error = _mm512_fnmadd_ps(root, inverse, half);
        let (root, inverse) = (_mm512_fmadd_ps(root, error, root), _mm512_fmadd_ps(inverse, error, inverse));
        let residual = _mm512_fnmadd_ps(root, root, x);
        _mm512_fmadd_ps(residual, inverse, root)
    }
}

#[cfg(test)]
mod tests;
