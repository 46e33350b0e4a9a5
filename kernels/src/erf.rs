//! The error function, to the last few units of the last digit.
//!
//! Four rational approximations, as in `s_erf.c` of FreeBSD's msun: Copyright (C) 1993 by Sun Microsystems, Inc. All
//! rights reserved. Developed at SunPro, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and
//! distribute this software is freely granted, provided that this notice is preserved.
#![allow(clippy::excessive_precision)] // the digits are those of the source

/// erf(1), rounded to single precision.
const AT_ONE: f64 = 8.450_629_115_104_675e-1;

/// Numerators, by rising powers, and denominators after their first term, which is 1. Up to 0.84375: (erf(x) − x) / x,
/// in x².
const SMALL: ([f64; 5], [f64; 5]) = (
    [
        1.283_791_670_955_125_6e-1,
        -3.250_421_072_470_015e-1,
        -2.848_174_957_559_851e-2,
        -5.770_270_296_489_442e-3,
        -2.376_301_665_665_016_3e-5,
    ],
    [
        3.979_172_239_591_553_5e-1,
        6.502_224_998_876_729e-2,
        5.081_306_281_875_766e-3,
        1.324_947_380_043_216_4e-4,
        -3.960_228_278_775_368e-6,
    ],
);
/// Up to 1.25: erf(x) − [`AT_ONE`], in x − 1.
const NEAR_ONE: ([f64; 7], [f64; 6]) = (
    [
        -2.362_118_560_752_659_4e-3,
        4.148_561_186_837_483_3e-1,
        -3.722_078_760_357_013e-1,
        3.183_466_199_011_617_5e-1,
        -1.108_946_942_823_966_8e-1,
        3.547_830_432_561_823_6e-2,
        -2.166_375_594_868_790_8e-3,
    ],
    [
        1.064_208_804_008_442_3e-1,
        5.403_979_177_021_71e-1,
        7.182_865_441_419_627e-2,
        1.261_712_198_087_616_4e-1,
        1.363_708_391_202_905_1e-2,
        1.198_449_984_679_910_7e-2,
    ],
);
/// Up to 1 / 0.35: ln(x · erfc(x)) + x² + 0.5625, in 1 / x².
const MIDDLE: ([f64; 8], [f64; 8]) = (
    [
        -9.864_944_034_847_148e-3,
        -6.938_585_727_071_818e-1,
        -1.055_862_622_532_329_1e1,
        -6.237_533_245_032_600_6e1,
        -1.623_966_694_625_734_7e2,
        -1.846_050_929_067_110_4e2,
        -8.128_743_550_630_66e1,
        -9.814_329_344_169_145,
    ],
    [
        1.965_127_166_743_925_7e1,
        1.376_577_541_435_190_4e2,
        4.345_658_774_752_292_3e2,
        6.453_872_717_332_679e2,
        4.290_081_400_275_678_3e2,
        1.086_350_055_417_794_4e2,
        6.570_249_770_319_282,
        -6.042_441_521_485_81e-2,
    ],
);
/// Beyond.
const LARGE: ([f64; 7], [f64; 7]) = (
    [
        -9.864_942_924_700_1e-3,
        -7.992_832_376_805_23e-1,
        -1.775_795_491_775_475_2e1,
        -1.606_363_848_558_219_2e2,
        -6.375_664_433_683_896e2,
        -1.025_095_131_611_077_2e3,
        -4.835_191_916_086_514e2,
    ],
    [
        3.033_806_074_348_245_8e1,
        3.257_925_129_965_739e2,
        1.536_729_586_084_437e3,
        3.199_858_219_508_595_5e3,
        2.553_050_406_433_164_4e3,
        4.745_285_412_069_553_7e2,
        -2.244_095_244_658_582e1,
    ],
);
/// From here on the result is ±1.
const ONE_FROM: f64 = 6.0;

/// 2/√π ∫₀ˣ e^(−t²) dt.
pub fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size < 0.84375 {
        return x + x * ratio(&SMALL, x * x);
    }
    let of_size = if size < 1.25 {
        AT_ONE + ratio(&NEAR_ONE, size - 1.0)
    } else if size < ONE_FROM {
        let inverse = 1.0 / (size * size);
        let exponent = if size < 1.0 / 0.35 { ratio(&MIDDLE, inverse) } else { ratio(&LARGE, inverse) };
        // Its square is exact, so that e^(−x²) keeps its digits.
        let short = f64::from_bits(size.to_bits() & !0xffff_ffff);
        let rest = (short - size) * (short + size) + exponent;
        1.0 - (-short * short - 0.5625).exp() * rest.exp() / size
    } else if size.is_nan() {
        return x;
    } else {
        1.0
    };
    of_size.copysign(x)
}

/// The quotient of two polynomials.
fn ratio<const A: usize, const B: usize>((above, below): &([f64; A], [f64; B]), x: f64) -> f64 {
    polynomial(above, x) / (polynomial(below, x) * x + 1.0)
}

fn polynomial<const TERMS: usize>(terms: &[f64; TERMS], x: f64) -> f64 {
    terms.iter().rev().fold(0.0, |sum, term| sum * x + term)
}
