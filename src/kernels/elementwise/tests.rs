use super::step::sigmoid;
use super::*;

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

#[test]
fn sigmoid_of_huge_numbers_stays_finite() {
    assert_eq!(sigmoid(1e4_f32), 1.0);
    assert_eq!(sigmoid(-1e4_f32), 0.0);
    assert_eq!(sigmoid(0.0_f64), 0.5);
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
    let code = [
        (Function::Sqrt, [Operand(2), Constant(0.0)], 0),
        (Function::Multiply, [Register(0), Operand(3)], 1),
        (Function::Add, [Register(1), Constant(1e-8)], 0),
        (Function::Divide, [Operand(1), Register(0)], 1),
        (Function::Multiply, [Register(1), Operand(4)], 0),
        (Function::Subtract, [Operand(0), Register(0)], 1),
    ];
    let code = code.map(|(function, arguments, register)| Instruction { function, arguments, register });
    Program { code: code.to_vec(), registers: 2 }
}

fn check_adam<T: Real>(len: usize) {
    let (p, m) = (numbers::<T>(len, 1), numbers::<T>(len, 2));
    let v: Vec<T> = m.iter().map(|&m| m * m).collect();
    let (c, r, epsilon) = (T::of(3.0), T::of(0.125), T::of(1e-8));
    let update = |((&p, &m), &v): ((&T, &T), &T)| p - m / (v.sqrt() * c + epsilon) * r;
    let expected: Vec<T> = p.iter().zip(&m).zip(&v).map(update).collect();
    let walk = Walk::new(&[len].into(), &[1]);
    let reads = [Read::InPlace, Read::Whole(&m), Read::Along(&v, &walk), Read::Single(c), Read::Single(r)];
    let program = adam();
    for isa in Isa::available() {
        for threads in 1..=3 {
            let mut out = p.clone();
            Workers::new(threads).unwrap().chunks(&mut out, CHUNK, &|index, out, local| {
                let start = index * CHUNK;
                isa.dispatch(Chunk { program: &program, operands: &reads, start, out, local });
            });
            assert_eq!(out, expected, "{len} {} on {}", T::NAME, isa.name());
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

fn check_step<T: Real>(function: Function, f: &dyn Fn(T, T) -> T) {
    let (a, b) = (numbers::<T>(37, 3), numbers::<T>(37, 4));
    let splat = T::of(0.7);
    let lanes = [(Lane::Slice(&a), 0), (Lane::Splat(splat), 1), (Lane::Target, 2)];
    let value = |which: usize, given: &[T], i: usize| [given[i], splat, b[i]][which];
    for isa in Isa::available() {
        for (left, first) in lanes {
            for (right, second) in lanes {
                let mut out = b.clone();
                isa.dispatch(Step { function, arguments: [left, right], out: &mut out, flushes: true });
                for (i, &out) in out.iter().enumerate() {
                    let expected = f(value(first, &a, i), value(second, &a, i));
                    let is_right = out == expected || out.is_nan() && expected.is_nan();
                    assert!(is_right, "{function:?} {out} {expected} on {}", isa.name());
                }
            }
        }
    }
}

#[test]
fn every_source_of_arguments_is_read() {
    check_step::<f32>(Function::Subtract, &|a, b| a - b);
    check_step::<f32>(Function::Divide, &|a, b| a / b);
    check_step::<f32>(Function::Sqrt, &|a, _| a.sqrt());
    check_step::<f64>(Function::Gate, &|a, b| if b <= 0.0 { 0.0 } else { a });
    check_step::<f64>(Function::Divide, &|a, b| a / b);
    check_step::<f64>(Function::Sqrt, &|a, _| a.sqrt());
}

#[test]
fn what_is_subnormal_inside_a_chain_is_zero_at_its_end() {
    let product = [Argument::Operand(0), Argument::Constant(1e-20)];
    let sum = [Argument::Register(0), Argument::Constant(0.0)];
    let code = vec![
        Instruction { function: Function::Multiply, arguments: product, register: 0 },
        Instruction { function: Function::Add, arguments: sum, register: 1 },
    ];
    let mut out = [9.0_f32; 3];
    let workers = Workers::new(1).unwrap();
    run(&Program { code, registers: 2 }, &[Read::Whole(&[1e-20, 1.0, -1e-21])], &mut out, &workers);
    assert_eq!(out, [0.0, 1e-20, 0.0]);
}
