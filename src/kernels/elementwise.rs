//! Functions of single numbers, and short programs of them that run over arrays tile by tile.
//!
//! A chain such as Adam's update would read and write memory once for each operation. As one program it keeps
//! every intermediate result in a tile that fits the first-level cache.

use super::real::Real;
use super::simd::{flush, prefetch, vectorize};
use super::walk::Walk;
use super::workers::{Local, Workers};

/// A function of one or two numbers, applied to each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// a + b
    Add,
    /// a − b
    Subtract,
    /// a · b
    Multiply,
    /// a / b
    Divide,
    /// a where b > 0, else 0; a NaN in b lets a pass, so that relu(NaN) = gate(NaN, NaN) = NaN.
    Gate,
    /// a where a > 0, else 0; NaN stays NaN.
    Relu,
    /// −a
    Negate,
    /// eᵃ
    Exp,
    /// natural logarithm of a
    Ln,
    /// √a
    Sqrt,
    /// 1 / (1 + e⁻ᵃ)
    Sigmoid,
    /// hyperbolic tangent of a
    Tanh,
    /// a raised to a whole power
    Power(i32),
}

impl Function {
    /// Whether the result may be subnormal although the arguments are not. It is then 0 instead: processors are
    /// many times slower with subnormal numbers, and decaying averages would end among them.
    pub fn underflows(self) -> bool {
        matches!(self, Self::Multiply | Self::Divide | Self::Exp | Self::Sigmoid | Self::Power(_))
    }
}

/// What an instruction reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// An operand of the whole program.
    Operand(usize),
    /// The result of an earlier instruction.
    Register(usize),
    /// A number.
    Constant(f64),
}

/// One function applied to one tile.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// What to compute.
    pub function: Function,
    /// From what; functions of one argument read the first.
    pub arguments: [Argument; 2],
    /// The register that takes the result, never one that the instruction reads.
    pub register: usize,
}

/// Instructions in order; the last one's result is the output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// The instructions.
    pub code: Vec<Instruction>,
    /// How many registers they use.
    pub registers: usize,
}

/// How a program reads one operand.
#[derive(Debug, Clone, Copy)]
pub enum Read<'a, T> {
    /// As it lies, element for element with the output.
    Whole(&'a [T]),
    /// Along a walk (broadcast, transposed).
    Along(&'a [T], &'a Walk),
    /// It already lies in the output.
    InPlace,
}

/// Elements that one instruction handles at a time.
const TILE: usize = 512;
/// Elements of one task.
const CHUNK: usize = 16 * TILE;
/// The most tiles (registers and copied operands) that a program may need.
pub const MAX_TILES: usize = 24;

/// Runs `program` over all elements of `out`.
pub fn run<T: Real>(program: &Program, operands: &[Read<'_, T>], out: &mut [T], workers: &Workers) {
    debug_assert!(operands.len() + program.registers <= MAX_TILES);
    workers.chunks(out, CHUNK, &|index, chunk, local| {
        vectorize(
            #[inline(always)]
            || run_chunk(program, operands, index * CHUNK, chunk, local),
        );
    });
}

/// Applies one function to whole operands.
pub fn apply<T: Real>(function: Function, operands: &[&[T]], out: &mut [T], workers: &Workers) {
    workers.chunks(out, CHUNK, &|index, chunk, _| {
        let range = index * CHUNK..index * CHUNK + chunk.len();
        let part = |position: usize| match operands.get(position) {
            Some(operand) => Lane::Slice(&operand[range.clone()]),
            None => Lane::Splat(T::zero()),
        };
        let (a, b) = (part(0), part(1));
        vectorize(
            #[inline(always)]
            || {
                evaluate(function, a, b, chunk);
                if function.underflows() {
                    flush_all(chunk);
                }
            },
        );
    });
}

#[inline(always)]
fn run_chunk<T: Real>(
    program: &Program,
    operands: &[Read<'_, T>],
    start: usize,
    chunk: &mut [T],
    local: &mut Local,
) {
    let tiles = local.slice::<T>((operands.len() + program.registers) * TILE);
    let (copies, registers) = tiles.split_at_mut(operands.len() * TILE);
    let underflows = program.code.iter().any(|instruction| instruction.function.underflows());
    let (mut first, mut rest) = (start, chunk);
    while !rest.is_empty() {
        // While this tile is computed, the next one is on its way to the cache.
        let (out, next) = rest.split_at_mut(TILE.min(rest.len()));
        prefetch(next, TILE);
        for (read, copy) in operands.iter().zip(copies.chunks_exact_mut(TILE)) {
            match read {
                Read::Whole(data) => prefetch(&data[first + out.len()..], TILE),
                Read::Along(data, walk) => walk.fetch(data, first, &mut copy[..out.len()]),
                Read::InPlace => {}
            }
        }
        run_tile(program, operands, first, copies, registers, out);
        if underflows {
            flush_all(out);
        }
        (first, rest) = (first + out.len(), next);
    }
}

#[inline(always)]
fn run_tile<T: Real>(
    program: &Program,
    operands: &[Read<'_, T>],
    first: usize,
    copies: &[T],
    registers: &mut [T],
    out: &mut [T],
) {
    let len = out.len();
    let last = program.code.len() - 1;
    for (step, instruction) in program.code.iter().enumerate() {
        let (below, rest) = registers.split_at_mut(instruction.register * TILE);
        let (target, above) = rest.split_at_mut(TILE.min(rest.len()));
        let lane = |argument: Argument| match argument {
            Argument::Constant(value) => Lane::Splat(T::of(value)),
            Argument::Operand(i) => match operands[i] {
                Read::Whole(data) => Lane::Slice(&data[first..first + len]),
                Read::Along(..) => Lane::Slice(&copies[i * TILE..i * TILE + len]),
                Read::InPlace => Lane::Target,
            },
            Argument::Register(r) if r < instruction.register => {
                Lane::Slice(&below[r * TILE..r * TILE + len])
            }
            Argument::Register(r) => {
                let from = (r - instruction.register - 1) * TILE;
                Lane::Slice(&above[from..from + len])
            }
        };
        let [a, b] = instruction.arguments.map(lane);
        if step == last {
            evaluate(instruction.function, a, b, out);
        } else {
            let from_out = |lane| if matches!(lane, Lane::Target) { Lane::Slice(&*out) } else { lane };
            evaluate(instruction.function, from_out(a), from_out(b), &mut target[..len]);
        }
    }
}

#[inline(always)]
fn flush_all<T: Real>(out: &mut [T]) {
    out.iter_mut().for_each(|value| *value = flush(*value));
}

/// What a function reads: a tile of numbers, one number for the whole tile, or what lies where it writes to.
#[derive(Clone, Copy)]
enum Lane<'a, T> {
    Slice(&'a [T]),
    Splat(T),
    Target,
}

#[inline(always)]
fn evaluate<T: Real>(function: Function, a: Lane<'_, T>, b: Lane<'_, T>, out: &mut [T]) {
    match function {
        Function::Add => zip(out, a, b, |a, b| a + b),
        Function::Subtract => zip(out, a, b, |a, b| a - b),
        Function::Multiply => zip(out, a, b, |a, b| a * b),
        Function::Divide => zip(out, a, b, |a, b| a / b),
        Function::Gate => zip(out, a, b, |a, b| if b <= T::zero() { T::zero() } else { a }),
        Function::Relu => map(out, a, |a| if a <= T::zero() { T::zero() } else { a }),
        Function::Negate => map(out, a, |a| -a),
        Function::Exp => map(out, a, T::exp),
        Function::Ln => map(out, a, T::ln),
        Function::Sqrt => map(out, a, T::sqrt),
        Function::Sigmoid => map(out, a, sigmoid),
        Function::Tanh => map(out, a, T::tanh),
        Function::Power(2) => map(out, a, |a| a * a),
        Function::Power(exponent) => map(out, a, |a| a.powi(exponent)),
    }
}

/// 1 / (1 + e⁻ᵃ), in the form whose exponential cannot overflow.
fn sigmoid<T: Real>(a: T) -> T {
    if a >= T::zero() {
        T::one() / (T::one() + (-a).exp())
    } else {
        let e = a.exp();
        e / (T::one() + e)
    }
}

#[inline(always)]
fn map<T: Real>(out: &mut [T], a: Lane<'_, T>, f: impl Fn(T) -> T) {
    match a {
        Lane::Slice(a) => out.iter_mut().zip(a).for_each(|(out, &a)| *out = f(a)),
        Lane::Splat(a) => out.fill(f(a)),
        Lane::Target => out.iter_mut().for_each(|out| *out = f(*out)),
    }
}

#[inline(always)]
fn zip<T: Real>(out: &mut [T], a: Lane<'_, T>, b: Lane<'_, T>, f: impl Fn(T, T) -> T) {
    match (a, b) {
        (Lane::Slice(a), Lane::Slice(b)) => {
            out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out = f(a, b));
        }
        (Lane::Target, Lane::Slice(b)) => out.iter_mut().zip(b).for_each(|(out, &b)| *out = f(*out, b)),
        (Lane::Slice(a), Lane::Target) => out.iter_mut().zip(a).for_each(|(out, &a)| *out = f(a, *out)),
        (Lane::Target, Lane::Target) => out.iter_mut().for_each(|out| *out = f(*out, *out)),
        (a, Lane::Splat(b)) => map(out, a, |a| f(a, b)),
        (Lane::Splat(a), b) => map(out, b, |b| f(a, b)),
    }
}

#[cfg(test)]
mod tests {
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
}
