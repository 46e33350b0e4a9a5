//! Exponentials, logarithms and their relatives, for which machines have no instruction.
//!
//! A number of single precision is computed in double precision and rounded once, at the end. The digits to spare do what
//! special cases and compensated sums would otherwise have to: no intermediate value overflows or is subnormal, and what
//! cancels in 1 + x or in x − k ln 2 is not missed. So each function is little more than its definition, and wrong by
//! at most 0.52 units in the last place of the result, of which half a unit is the rounding.
//!
//! There is no branch, no table and no call: a loop over numbers becomes one over registers, on every instruction set. All of
//! them take the same steps, each rounded by the rules of IEEE 754, so their results are the same to the bit.
//!
//! Double precision is for checks of gradients, and takes the functions of the standard library.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

use crate::elementwise::Function;
use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};

/// Replaces each number by what a function makes of it. They come in runs as long as the longest register.
pub fn apply_single(function: Function, numbers: &mut [[f32; MAX_LANES]], isa: Isa) {
    isa.dispatch(Single { function, numbers });
}

/// The same in double precision.
pub fn apply_double(function: Function, numbers: &mut [[f64; MAX_LANES]], _: Isa) {
    let f = match function {
        Function::Exp => f64::exp,
        Function::ExpM1 => f64::exp_m1,
        Function::Ln => f64::ln,
        Function::Ln1p => f64::ln_1p,
        Function::Sigmoid => |x: f64| 1.0 / (1.0 + (-x).exp()), // 1 / ∞ = 0
        Function::Softplus => |x: f64| positive_part(x) + (-x.abs()).exp().ln_1p(),
        Function::Tanh => f64::tanh,
        Function::Erf => Real::erf,
        _ => unreachable!("{function:?} is computed elsewhere"),
    };
    numbers.as_flattened_mut().iter_mut().for_each(|number| *number = f(*number));
}

/// A function of numbers of single precision.
struct Single<'a> {
    function: Function,
    numbers: &'a mut [[f32; MAX_LANES]],
}

impl Kernel<f32> for Single<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<f32>>(self) {
        let Self { function, numbers } = self;
        macro_rules! each {
            ($f:expr) => {
                // The inner loop is over whole registers, so that nothing is compiled again for a rest of it.
                for numbers in numbers {
                    for number in numbers {
                        *number = $f(f64::from(*number)) as f32;
                    }
                }
            };
        }
        match function {
            Function::Exp => each!(exp),
            Function::ExpM1 => each!(exp_m1),
            Function::Ln => each!(ln),
            Function::Ln1p => each!(ln_1p),
            Function::Sigmoid => each!(sigmoid),
            Function::Softplus => each!(softplus),
            Function::Tanh => each!(tanh),
            Function::Erf => each!(erf),
            _ => unreachable!("{function:?} is computed elsewhere"),
        }
    }
}

/// e to this power, and to its negative, is ∞ and 0 in single precision.
const LARGEST_EXPONENT: f64 = 150.0;

/// 1.5 · 2⁵²: in numbers of this size the last bit is worth 1, so that a sum with it is a whole number.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// eʳ − 1 and 2ᵏ, for x = k ln 2 + r with |r| ≤ ½ ln 2. Then eˣ = 2ᵏ eʳ.
///
/// Of the series r + r² / 2! + r³ / 3! + …, the first term left out is less than 6 · 10⁻¹⁰ of the sum.
#[inline(always)]
fn exponential(x: f64) -> (f64, f64) {
    const SERIES: [f64; 8] =
        [1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40_320.0];
    let x = x.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT);
    let nearest = x.mul_add(LOG2_E, WHOLE);
    let k = nearest - WHOLE;
    let r = k.mul_add(-LN_2, x);
    // The last bits of `nearest` are k. Above the mantissa they are an exponent, which that of 1 is added to.
    let power = f64::from_bits((nearest.to_bits() << MANTISSA_BITS).wrapping_add(1.0_f64.to_bits()));
    (r * polynomial(&SERIES, r), power)
}

/// eˣ
#[inline(always)]
fn exp(x: f64) -> f64 {
    let (e, power) = exponential(x);
    e.mul_add(power, power)
}

/// eˣ − 1 = 2ᵏ (eʳ − 1) + (2ᵏ − 1). Near 0, where k is 0, nothing cancels.
#[inline(always)]
fn exp_m1(x: f64) -> f64 {
    let (e, power) = exponential(x);
    e.mul_add(power, power - 1.0).copysign(x) // the sign of a zero, too
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// tanh x = (e²ˣ − 1) / (e²ˣ + 1), of |x|, so that it is exactly odd.
#[inline(always)]
fn tanh(x: f64) -> f64 {
    let e = exp_m1(2.0 * x.abs());
    (e / (e + 2.0)).copysign(x)
}

/// Bits of a mantissa, without the first, which is not written.
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;

/// ln u, where `above_one` is u − 1 and may have digits that u has not.
///
/// With u = 2ᵏ m, m between √½ and √2, and s = (m − 1) / (m + 1), it is k ln 2 + 2 artanh s. Of the series s + s³ / 3 + s⁵ / 5 + …,
/// the first term left out is less than 6 · 10⁻¹¹ of the sum.
#[inline(always)]
fn logarithm(u: f64, above_one: f64) -> f64 {
    const SERIES: [f64; 6] = [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0];
    const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
    /// 2⁵², and 1023, which a number's bits add to its exponent.
    const WHOLE: f64 = 4_503_599_627_370_496.0;
    const BIAS: f64 = 1023.0;
    // With √½ at 1, the exponent is k.
    let bits = u.to_bits().wrapping_add(1.0_f64.to_bits() - FRAC_1_SQRT_2.to_bits());
    let m = f64::from_bits((bits & MANTISSA).wrapping_add(FRAC_1_SQRT_2.to_bits()));
    let k = f64::from_bits((bits >> MANTISSA_BITS) | WHOLE.to_bits()) - (WHOLE + BIAS);
    let f = if k == 0.0 { above_one } else { m - 1.0 };
    let s = f / (f + 2.0);
    let finite = k.mul_add(LN_2, 2.0 * s * polynomial(&SERIES, s * s));
    let positive = if u == f64::INFINITY { u } else { finite };
    let at_most_zero = if u == 0.0 { f64::NEG_INFINITY } else { f64::NAN };
    if u > 0.0 { positive } else { at_most_zero }
}

/// ln x
#[inline(always)]
fn ln(x: f64) -> f64 {
    logarithm(x, x - 1.0)
}

/// ln (1 + x)
#[inline(always)]
fn ln_1p(x: f64) -> f64 {
    logarithm(1.0 + x, x).copysign(x) // the sign of a zero, too
}

/// ln (1 + eˣ) = max(x, 0) + ln (1 + e^(−|x|)), whose exponential does not overflow.
#[inline(always)]
fn softplus(x: f64) -> f64 {
    positive_part(x) + ln_1p(exp(-x.abs()))
}

/// max(x, 0), and 0 for NaN.
#[inline(always)]
fn positive_part(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

/// The error function 2/√π ∫₀ˣ e^(−t²) dt, as x · p(x² / 8 − 1). From 4 on it is 1 in single precision.
///
/// The polynomial interpolates erf(x) / x at the 19 Chebyshev nodes of 0 ≤ x² ≤ 16, which was computed to 40 digits. It is wrong
/// by less than 4 · 10⁻¹⁰ of the value.
#[inline(always)]
pub fn erf(x: f64) -> f64 {
    const ONE_FROM: f64 = 4.0;
    const QUOTIENT: [f64; 19] = [
        0.353_530_995_643_404_95,
        -0.176_576_235_800_390_5,
        0.131_675_117_775_807_95,
        -0.107_710_292_886_507_6,
        0.090_208_941_343_430_26,
        -0.074_730_486_795_578_17,
        0.059_887_829_575_686_27,
        -0.045_744_312_685_399_67,
        0.033_053_291_738_967_594,
        -0.022_562_558_254_619_065,
        0.014_381_038_603_613_836,
        -0.008_384_044_356_366_693,
        0.004_774_946_489_167_603_5,
        -0.002_909_712_861_587_973_3,
        0.001_410_152_598_130_207,
        -0.000_325_519_685_609_414_86,
        0.000_173_229_676_308_065_08,
        -0.000_246_421_999_809_835_04,
        0.000_094_038_124_024_685_54,
    ];
    let size = x.abs().clamp(0.0, ONE_FROM);
    (size * polynomial(&QUOTIENT, size.mul_add(size / 8.0, -1.0))).copysign(x)
}

/// Σ terms\[i\] xⁱ
#[inline(always)]
fn polynomial<const TERMS: usize>(terms: &[f64; TERMS], x: f64) -> f64 {
    let mut sum = terms[TERMS - 1];
    for i in (0..TERMS - 1).rev() {
        sum = sum.mul_add(x, terms[i]);
    }
    sum
}
