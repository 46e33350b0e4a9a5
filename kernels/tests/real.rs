//! The functions of numbers that are written here.

use dagrad_kernels::real::Real;

/// erf at multiples of a half, from tables (Abramowitz and Stegun 7.1).
#[test]
fn the_error_function_is_what_tables_say() {
    let table = [
        (0.0, 0.0),
        (0.5, 0.520_499_877_813_046_5),
        (1.0, 0.842_700_792_949_714_9),
        (1.5, 0.966_105_146_475_310_8),
        (2.0, 0.995_322_265_018_952_7),
        (2.5, 0.999_593_047_982_555),
        (3.0, 0.999_977_909_503_001_4),
    ];
    for (x, expected) in table {
        for sign in [1.0, -1.0] {
            assert!((<f64 as Real>::erf(sign * x) - sign * expected).abs() <= f64::EPSILON, "{x}");
            assert_eq!(<f32 as Real>::erf((sign * x) as f32), (sign * expected) as f32, "{x}");
        }
    }
}

#[test]
fn the_error_function_is_that_of_libm() {
    for step in -70_000..70_000 {
        let x = f64::from(step) * 1e-4;
        let (found, expected) = (<f64 as Real>::erf(x), libm::erf(x));
        assert!((found - expected).abs() <= 2.0 * f64::EPSILON * expected.abs(), "{x}: {found} {expected}");
        let (found, expected) = (<f32 as Real>::erf(x as f32), libm::erff(x as f32));
        assert!((found - expected).abs() <= 2.0 * f32::EPSILON * expected.abs(), "{x}: {found} {expected}");
    }
    for x in [0.84375, 1.25, 1.0 / 0.35, 6.0, 27.0, 1e-9, 1e-300, 1e-310, f64::MAX, f64::INFINITY] {
        for x in [x, -x, f64::from_bits(x.to_bits() - 1)] {
            assert!(
                (<f64 as Real>::erf(x) - libm::erf(x)).abs() <= 2.0 * f64::EPSILON * libm::erf(x).abs(),
                "{x}"
            );
        }
    }
    assert!(Real::erf(f64::NAN).is_nan() && Real::erf(f32::NAN).is_nan());
    assert!(Real::erf(-0.0_f64).is_sign_negative());
}
