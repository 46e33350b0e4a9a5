//! Elementwise programs.

use crate::common::pools;
use dagrad_kernels::elementwise::{Argument, Function, Instruction, Program, Read, Target, Term, apply, run};
use dagrad_kernels::real::Real;
use dagrad_kernels::walk::Walk;
use dagrad_kernels::workers::Workers;
use smallvec::smallvec;

/// Elements for which what is read along a walk is copied at a time, and those of one task.
const TILE: usize = 2048;
const CHUNK: usize = 8 * TILE;

#[test]
fn the_gate_lets_nan_pass_and_closes_at_zero() {
    let workers = Workers::new(1).unwrap();
    let x = [f64::NAN, -1.0, 0.0, 2.0];
    let mut out = [9.0; 4];
    apply(Function::Gate, &[&x, &x], &mut out, &workers);
    assert!(out[0].is_nan());
    assert_eq!(out[1..], [0.0, 0.0, 2.0]);
}

#[test]
fn products_are_never_subnormal_but_what_moves_numbers_keeps_them() {
    let workers = Workers::new(1).unwrap();
    let (tiny, mut out) = ([f32::MIN_POSITIVE, 1e-40, -1e-40, f32::NAN], [9.0; 4]);
    apply(Function::Multiply, &[&tiny, &[0.5; 4]], &mut out, &workers);
    assert_eq!(out[..3], [0.0; 3]);
    assert!(out[3].is_nan());
    apply(Function::Relu, &[&tiny], &mut out, &workers);
    assert_eq!(out[..3], [f32::MIN_POSITIVE, 1e-40, 0.0]);
}

/// Every pair of these, on every instruction set, in registers and beyond their last whole one.
fn check_pairs<T: Real>(function: Function, f: fn(f64, f64) -> f64) {
    let special = [f64::NAN, f64::NEG_INFINITY, -2.0, -0.0, 0.0, 0.5, 2.0, 3.0, f64::INFINITY];
    let pairs = || special.iter().flat_map(|&a| special.map(|b| (a, b)));
    let (a, b): (Vec<T>, Vec<T>) = pairs().map(|(a, b)| (T::of(a), T::of(b))).unzip();
    let terms = [0, 1].map(|position| Term::plain(Argument::Operand(position)));
    let code = [Instruction { function, terms, target: Target::Result(0) }];
    let program = Program { code: code.to_vec(), registers: 0 };
    for workers in &pools(1) {
        let mut out = vec![T::of(9.0); a.len()];
        let reads = [Read::Whole(&a), Read::Whole(&b)];
        run(&program, &reads, smallvec![&mut out[..]], workers);
        for ((a, b), out) in pairs().zip(out) {
            let expected = T::of(f(a, b));
            let is_right = out == expected || out.is_nan() && expected.is_nan();
            assert!(is_right, "{function:?} of {a} and {b} is {out} on {}", workers.isa().name());
        }
    }
}

#[test]
fn pairs_with_nan_infinities_and_zeros_of_both_signs() {
    fn truth(is: bool) -> f64 {
        f64::from(u8::from(is))
    }
    type Truth = fn(f64, f64) -> f64;
    let functions: [(Function, Truth); 7] = [
        (Function::Greater, |a, b| truth(a > b)),
        (Function::GreaterEqual, |a, b| truth(a >= b)),
        (Function::Equal, |a, b| truth(a == b)),
        (Function::Maximum, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }),
        (Function::Minimum, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }),
        (Function::Pow, f64::powf),
        (Function::Weigh, |a, b| if a == 0.0 && b.is_infinite() { 0.0 } else { a * b }),
    ];
    for (function, f) in functions {
        check_pairs::<f32>(function, f);
        check_pairs::<f64>(function, f);
    }
}

#[test]
fn choosing_keeps_subnormal_numbers_and_compares_them() {
    let workers = Workers::new(1).unwrap();
    let (tiny, half, mut out) = ([1e-40_f32; 3], [5e-41_f32, 1e-40, 2e-40], [9.0; 3]);
    let expected = [
        (Function::Maximum, [1e-40, 1e-40, 2e-40]),
        (Function::Minimum, [5e-41, 1e-40, 1e-40]),
        (Function::Greater, [1.0, 0.0, 0.0]),
        (Function::GreaterEqual, [1.0, 1.0, 0.0]),
        (Function::Equal, [0.0, 1.0, 0.0]),
    ];
    for (function, expected) in expected {
        apply(function, &[&tiny, &half], &mut out, &workers);
        assert_eq!(out, expected, "{function:?}");
    }
}

#[test]
fn sigmoid_of_huge_numbers_stays_finite() {
    let mut out = [9.0; 3];
    apply(Function::Sigmoid, &[&[1e4_f32, -1e4, 0.0]], &mut out, &Workers::alone());
    assert_eq!(out, [1.0, 0.0, 0.5]);
}

/// `count` numbers between −1 and 1, one in five of them zero.
fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
    let number =
        |i: usize| if i.is_multiple_of(5) { 0.0 } else { ((i * 7919 + seed) % 2003) as f64 / 1001.5 - 1.0 };
    (0..count).map(|i| T::of(number(i + seed))).collect()
}

/// Adam's update p − m / (√v · c + ε) · r, with p in place, c and r single numbers.
fn adam() -> Program {
    use Argument::{Constant, Operand, Register};
    let scaled = |register, factor| Term { value: Register(register), factor };
    let plain = Term::plain;
    let code = [
        (Function::Sqrt, [plain(Operand(2)), plain(Constant(0.0))], Target::Register(0)),
        (Function::Add, [scaled(0, Operand(3)), plain(Constant(1e-8))], Target::Register(1)),
        (Function::Divide, [plain(Operand(1)), plain(Register(1))], Target::Register(0)),
        (Function::Subtract, [plain(Operand(0)), scaled(0, Operand(4))], Target::Result(0)),
    ];
    let code = code.map(|(function, terms, target)| Instruction { function, terms, target });
    Program { code: code.to_vec(), registers: 2 }
}

fn check_adam<T: Real>(len: usize) {
    let (p, m) = (numbers::<T>(len, 1), numbers::<T>(len, 2));
    let v: Vec<T> = m.iter().map(|&m| m * m).collect();
    let (c, r, epsilon) = (T::of(3.0), T::of(0.125), T::of(1e-8));
    let update = |((&p, &m), &v): ((&T, &T), &T)| p - m / (v.sqrt() * c + epsilon) * r;
    let expected: Vec<T> = p.iter().zip(&m).zip(&v).map(update).collect();
    let walk = Walk::new(&[len], &[1]);
    let reads = [Read::InPlace(0), Read::Whole(&m), Read::Along(&v, &walk), Read::Single(c), Read::Single(r)];
    let program = adam();
    for threads in 1..=3 {
        for workers in &pools(threads) {
            let mut out = p.clone();
            run(&program, &reads, smallvec![&mut out[..]], workers);
            assert_eq!(out, expected, "{len} {} on {}", T::NAME, workers.isa().name());
        }
    }
}

#[test]
fn a_chain_computes_the_same_on_every_instruction_set_for_every_length() {
    for len in (0..40).chain([TILE - 1, TILE, TILE + 1, 2 * TILE + 17, 2 * CHUNK + 5]) {
        check_adam::<f32>(len);
        check_adam::<f64>(len);
    }
}

fn check_function<T: Real>(function: Function, f: &dyn Fn(T, T) -> T) {
    let len = TILE + 37;
    let (a, b, c) = (numbers::<T>(len, 3), numbers::<T>(len, 4), T::of(0.7));
    let shape = [len];
    let walk = Walk::new(&shape, &[1]);
    let reads = [Read::Whole(&a), Read::Along(&a, &walk), Read::Single(c), Read::InPlace(0)];
    let value = |which: usize, i: usize| [a[i], a[i], c, b[i]][which];
    let factors = [0.3, -1.7];
    for workers in &pools(1) {
        for first in 0..reads.len() {
            for second in 0..reads.len() {
                let term = |position, factor| Term {
                    value: Argument::Operand(position),
                    factor: Argument::Constant(factor),
                };
                let terms = [term(first, factors[0]), term(second, factors[1])];
                let code = vec![Instruction { function, terms, target: Target::Result(0) }];
                let program = Program { code, registers: 0 };
                let mut out = b.clone();
                run(&program, &reads, smallvec![&mut out[..]], workers);
                for (i, &out) in out.iter().enumerate() {
                    let [x, y] = [value(first, i) * T::of(factors[0]), value(second, i) * T::of(factors[1])];
                    let expected = f(x, y);
                    let is_right = out == expected || out.is_nan() && expected.is_nan();
                    assert!(is_right, "{function:?} {out} {expected} on {}", workers.isa().name());
                }
            }
        }
    }
}

#[test]
fn every_source_of_arguments_is_read() {
    check_function::<f32>(Function::Subtract, &|a, b| a - b);
    check_function::<f32>(Function::Maximum, &|a, b| if a > b { a } else { b });
    check_function::<f64>(Function::Maximum, &|a, b| if a > b { a } else { b });
    check_function::<f32>(Function::Minimum, &|a, b| if a < b { a } else { b });
    check_function::<f64>(Function::Minimum, &|a, b| if a < b { a } else { b });
    check_function::<f32>(Function::Pow, &|a, b| a.powf(b));
    check_function::<f64>(Function::Greater, &|a, b| if a > b { 1.0 } else { 0.0 });
    check_function::<f32>(Function::GreaterEqual, &|a, b| if a >= b { 1.0 } else { 0.0 });
    check_function::<f64>(Function::Equal, &|a, b| if a == b { 1.0 } else { 0.0 });
    check_function::<f32>(Function::Equal, &|a, b| if a == b { 1.0 } else { 0.0 });
    check_function::<f32>(Function::Greater, &|a, b| if a > b { 1.0 } else { 0.0 });
    check_function::<f64>(Function::GreaterEqual, &|a, b| if a >= b { 1.0 } else { 0.0 });
    check_function::<f64>(Function::Pow, &|a, b| a.powf(b));
    check_function::<f32>(Function::Divide, &|a, b| a / b);
    check_function::<f32>(Function::Weigh, &|a, b| if a == 0.0 && b.is_infinite() { 0.0 } else { a * b });
    check_function::<f64>(Function::Weigh, &|a, b| if a == 0.0 && b.is_infinite() { 0.0 } else { a * b });
    check_function::<f32>(Function::Sqrt, &|a, _| a.sqrt());
    check_function::<f64>(Function::Gate, &|a, b| if b <= 0.0 { 0.0 } else { a });
    check_function::<f64>(Function::Divide, &|a, b| a / b);
    check_function::<f64>(Function::Sqrt, &|a, _| a.sqrt());
    check_function::<f32>(Function::Sin, &|a, _| a.sin());
    check_function::<f64>(Function::Exp, &|a, _| a.exp());
    check_function::<f64>(Function::Power(-3), &|a, _| a.powi(-3));
    check_function::<f32>(Function::Power(2), &|a, _| a * a);
    check_function::<f64>(Function::Negate, &|a, _| -a);
    check_function::<f32>(Function::Relu, &|a, _| if a <= 0.0 { 0.0 } else { a });
}

#[test]
fn what_is_subnormal_inside_a_chain_is_zero_at_its_end() {
    let [zero, tiny] = [Argument::Constant(0.0), Argument::Constant(1e-20)];
    let terms = [Term { value: Argument::Operand(0), factor: tiny }, Term::plain(zero)];
    let code = vec![Instruction { function: Function::Add, terms, target: Target::Result(0) }];
    let mut out = [9.0_f32; 3];
    let workers = Workers::new(1).unwrap();
    run(
        &Program { code, registers: 0 },
        &[Read::Whole(&[1e-20, 1.0, -1e-21])],
        smallvec![&mut out[..]],
        &workers,
    );
    assert_eq!(out, [0.0, 1e-20, 0.0]);
}

#[test]
fn an_operand_that_repeats_itself_is_read_right_in_every_tile() {
    for (rows, columns) in [(40, 100), (900, 7), (3, TILE), (5, TILE - 1), (3, TILE + 1), (CHUNK + 3, 1)] {
        let shape = [rows, columns];
        let (row, column) = (numbers::<f32>(columns, 1), numbers::<f32>(rows, 2));
        let (along_row, along_column) = (Walk::new(&shape, &[0, 1]), Walk::new(&shape, &[1, 0]));
        let terms = [Argument::Operand(0), Argument::Operand(1)].map(Term::plain);
        let code = vec![Instruction { function: Function::Subtract, terms, target: Target::Result(0) }];
        let mut out = vec![9.0; rows * columns];
        let reads = [Read::Along(&column, &along_column), Read::Along(&row, &along_row)];
        run(&Program { code, registers: 0 }, &reads, smallvec![&mut out[..]], &Workers::new(2).unwrap());
        let expected = column.iter().flat_map(|a| row.iter().map(move |b| a - b));
        assert!(out.iter().copied().eq(expected), "{rows} × {columns}");
    }
}

/// The sum s = x + b on top of x, d = s · s on top of y, and x + b − d · y, which reads y for the last time.
#[test]
fn a_program_with_several_results_writes_each_where_it_belongs() {
    use Argument::{Operand, Result};
    let plain = Term::plain;
    let code = [
        (Function::Add, [plain(Operand(0)), plain(Operand(1))], Target::Result(1)),
        (Function::Power(2), [plain(Result(1)), plain(Result(1))], Target::Register(0)),
        (Function::Multiply, [plain(Argument::Register(0)), plain(Operand(2))], Target::Result(2)),
        (Function::Subtract, [plain(Result(1)), plain(Result(2))], Target::Result(0)),
    ];
    let code = code.map(|(function, terms, target)| Instruction { function, terms, target });
    for len in [1, 37, TILE + 1, CHUNK + 5] {
        let (x, b, y) = (numbers::<f64>(len, 1), numbers::<f64>(len, 2), numbers::<f64>(len, 3));
        let (mut difference, mut sum, mut product) = (vec![9.0; len], x.clone(), y.clone());
        let reads = [Read::InPlace(1), Read::Whole(&b), Read::InPlace(2)];
        let out = smallvec![&mut difference[..], &mut sum[..], &mut product[..]];
        run(&Program { code: code.to_vec(), registers: 1 }, &reads, out, &Workers::new(2).unwrap());
        for i in 0..len {
            let s = x[i] + b[i];
            let product_here = s * s * y[i];
            assert_eq!([difference[i], sum[i], product[i]], [s - product_here, s, product_here], "{len}");
        }
    }
}

#[test]
fn a_result_that_only_chooses_numbers_keeps_subnormal_ones_beside_a_product() {
    let [x, chosen] = [Argument::Operand(0), Argument::Result(0)].map(Term::plain);
    let code = vec![
        Instruction { function: Function::Relu, terms: [x, x], target: Target::Result(0) },
        Instruction { function: Function::Multiply, terms: [chosen, x], target: Target::Register(0) },
        Instruction {
            function: Function::Add,
            terms: [Term::plain(Argument::Register(0)), Term::plain(Argument::Constant(0.0))],
            target: Target::Result(1),
        },
    ];
    let (x, mut relu, mut product) = ([1e-40_f32, 1e-20, -1.0], [9.0; 3], [9.0; 3]);
    let out = smallvec![&mut relu[..], &mut product[..]];
    run(&Program { code, registers: 1 }, &[Read::Whole(&x)], out, &Workers::new(1).unwrap());
    assert_eq!((relu, product), ([1e-40, 1e-20, 0.0], [0.0; 3]));
}
