//! Exponentials, logarithms and their relatives, against those of double precision.

use crate::common::pools;
use dagrad_kernels::elementwise::{Function, apply};
use dagrad_kernels::workers::Workers;

/// A function, and the same in double precision.
type Pair = (Function, fn(f64) -> f64);

/// All of them rise.
const FUNCTIONS: [Pair; 8] = [
    (Function::Exp, f64::exp),
    (Function::ExpM1, f64::exp_m1),
    (Function::Ln, f64::ln),
    (Function::Ln1p, f64::ln_1p),
    (Function::Sigmoid, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }),
    (Function::Softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
    (Function::Tanh, f64::tanh),
    (Function::Erf, libm::erf),
];

/// Units in the last place by which a result of single precision may be wrong. Half of one is rounding.
const ERROR: f64 = 0.52;

/// Every `step`-th number of single precision from −∞ to ∞, in rising order.
fn all_numbers(step: usize) -> impl Iterator<Item = f32> {
    let infinity = f32::INFINITY.to_bits();
    let negative = (0..=infinity).rev().step_by(step).map(|bits| -f32::from_bits(bits));
    negative.chain((0..=infinity).step_by(step).map(f32::from_bits))
}

/// How far from what it should be a result is, in units in the last place of single precision.
fn error(found: f32, expected: f64) -> f64 {
    if f64::from(found) == expected || found.is_infinite() && found == expected as f32 {
        return 0.0;
    }
    let power = expected.abs().max(f64::from(f32::MIN_POSITIVE)).to_bits() >> (f64::MANTISSA_DIGITS - 1);
    let unit = f64::from_bits(power << (f64::MANTISSA_DIGITS - 1)) * f64::from(f32::EPSILON);
    (f64::from(found) - expected).abs() / unit
}

/// The largest error of a function at every `step`-th number. Fails where it does not rise, or is NaN and should not be.
fn largest_error((function, f): Pair, step: usize, workers: &Workers) -> (f64, f32) {
    let mut numbers = all_numbers(step).peekable();
    let (mut largest, mut last) = ((0.0, 0.0), f32::NEG_INFINITY);
    while numbers.peek().is_some() {
        let x: Vec<f32> = numbers.by_ref().take(1 << 14).collect();
        let mut y = vec![9.0; x.len()];
        apply(function, &[&x], &mut y, workers);
        for (x, y) in x.into_iter().zip(y) {
            let expected = f(x.into());
            if expected.is_nan() {
                assert!(y.is_nan(), "{function:?} of {x} is {y}");
                continue;
            }
            assert!(y >= last, "{function:?} of {x} is {y}, less than the {last} before it");
            last = y;
            let is_flushed = function.underflows() && y == 0.0 && expected < f32::MIN_POSITIVE.into();
            let error = if is_flushed { 0.0 } else { error(y, expected) };
            if error > largest.0 {
                largest = (error, x);
            }
        }
    }
    largest
}

#[test]
fn what_is_computed_in_registers_is_nearly_the_nearest_number_and_rises() {
    for workers in &pools(1) {
        for function in FUNCTIONS {
            let (error, at) = largest_error(function, 30_011, workers);
            assert!(
                error <= ERROR,
                "{:?} of {at} is wrong by {error} on {}",
                function.0,
                workers.isa().name()
            );
        }
    }
}

#[test]
#[ignore = "takes many minutes, at every number of single precision"]
fn every_number_is_nearly_the_nearest_and_rises() {
    let workers = Workers::new(1).unwrap();
    std::thread::scope(|scope| {
        for function in FUNCTIONS {
            let workers = &workers;
            scope.spawn(move || {
                let (error, at) = largest_error(function, 1, workers);
                println!("{:?}: {error:.4}, at {at:e}", function.0);
                assert!(error <= ERROR);
            });
        }
    });
}

/// One register that is not full, several, and blocks of them.
#[test]
fn neither_the_instruction_set_nor_a_place_in_a_block_changes_a_bit() {
    let x: Vec<f32> = (0..300).map(|i| (i as f32 - 150.0) / 30.0).collect();
    for (function, _) in FUNCTIONS {
        let mut expected = vec![9.0; x.len()];
        apply(function, &[&x], &mut expected, &Workers::alone());
        for workers in &pools(1) {
            for start in (0..40).chain(200..x.len()) {
                let mut y = vec![9.0; x.len() - start];
                apply(function, &[&x[start..]], &mut y, workers);
                let bits =
                    |y: &[f32]| y.iter().map(|y| y.to_bits() | u32::from(y.is_nan())).collect::<Vec<_>>();
                assert_eq!(bits(&y), bits(&expected[start..]), "{function:?} on {}", workers.isa().name());
            }
        }
    }
}

/// The same table for both precisions, but for what is subnormal or overflows in one of them.
#[test]
fn zeros_infinities_nan_and_the_ends_of_the_range() {
    const INFINITY: f64 = f64::INFINITY;
    let table: [(Function, [f64; 6]); 8] = [
        // of −∞, −1, −0, 0, ∞ and NaN
        (Function::Exp, [0.0, (-1.0_f64).exp(), 1.0, 1.0, INFINITY, f64::NAN]),
        (Function::ExpM1, [-1.0, (-1.0_f64).exp_m1(), -0.0, 0.0, INFINITY, f64::NAN]),
        (Function::Ln, [f64::NAN, f64::NAN, -INFINITY, -INFINITY, INFINITY, f64::NAN]),
        (Function::Ln1p, [f64::NAN, -INFINITY, -0.0, 0.0, INFINITY, f64::NAN]),
        (Function::Sigmoid, [0.0, 1.0 / (1.0 + 1.0_f64.exp()), 0.5, 0.5, 1.0, f64::NAN]),
        (Function::Softplus, [0.0, (-1.0_f64).exp().ln_1p(), 2.0_f64.ln(), 2.0_f64.ln(), INFINITY, f64::NAN]),
        (Function::Tanh, [-1.0, (-1.0_f64).tanh(), -0.0, 0.0, 1.0, f64::NAN]),
        (Function::Erf, [-1.0, libm::erf(-1.0), -0.0, 0.0, 1.0, f64::NAN]),
    ];
    let x = [-INFINITY, -1.0, -0.0, 0.0, INFINITY, f64::NAN];
    let bits = |y: f32| if y.is_nan() { None } else { Some(y.to_bits()) };
    for workers in &pools(1) {
        for (function, expected) in table {
            let (mut singles, mut doubles) = ([9.0; 6], [9.0; 6]);
            apply(function, &[&x.map(|x| x as f32)], &mut singles, workers);
            apply(function, &[&x], &mut doubles, workers);
            let expected = expected.map(|y| bits(y as f32));
            assert_eq!(singles.map(bits), expected, "{function:?} on {}", workers.isa().name());
            assert_eq!(doubles.map(|y| bits(y as f32)), expected, "{function:?} on {}", workers.isa().name());
        }
        // The largest number whose exponential is finite, and the smallest whose exponential is not subnormal.
        let (ends, mut y) = ([88.722_83_f32, 88.722_85, -87.336_54, -87.336_56, -200.0, 200.0], [9.0; 6]);
        apply(Function::Exp, &[&ends], &mut y, workers);
        assert!(y[0].is_finite() && y[2] >= f32::MIN_POSITIVE, "{y:?}");
        assert_eq!([y[1], y[3], y[4], y[5]], [f32::INFINITY, 0.0, 0.0, f32::INFINITY]);
        // Subnormal numbers have logarithms like any other, and odd functions keep them.
        let (tiny, mut y) = ([f32::from_bits(1), -f32::from_bits(1), 1e-40, -1e-40], [9.0; 4]);
        apply(Function::Ln, &[&tiny], &mut y, workers);
        assert_eq!((y[0], y[2]), ((-149.0 * 2.0_f64.ln()) as f32, f64::from(tiny[2]).ln() as f32));
        for function in [Function::ExpM1, Function::Ln1p, Function::Tanh] {
            apply(function, &[&tiny], &mut y, workers);
            assert_eq!(y, tiny, "{function:?}");
        }
    }
}
