//! Functions of single numbers, and short programs of them that run over arrays tile by tile.
//!
//! A chain such as Adam's update would read and write memory once for each operation. As one program it keeps
//! every intermediate result in a tile that fits the first-level cache.

use smallvec::SmallVec;

use super::real::Real;
use super::simd::{Isa, MAX_LANES};
use super::walk::Walk;
use super::workers::Workers;
use chunk::Chunk;

mod chunk;
mod step;

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

/// An argument times a number. Multiplying while a tile is read anyway costs nothing, so that most products with a
/// number need no instruction of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// What is read.
    pub value: Argument,
    /// What it is multiplied by: a constant, or an operand that is read as a single number.
    pub factor: Argument,
}

impl Term {
    /// The argument as it is.
    pub fn plain(value: Argument) -> Self {
        Self { value, factor: Argument::Constant(1.0) }
    }

    /// Whether it is multiplied by something.
    pub fn is_scaled(&self) -> bool {
        self.factor != Argument::Constant(1.0)
    }
}

/// One function applied to one tile.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// What to compute.
    pub function: Function,
    /// From what; functions of one argument read the first.
    pub terms: [Term; 2],
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
    /// The same number for every element.
    Single(T),
    /// It already lies in the output.
    InPlace,
}

/// Elements that one instruction handles at a time.
const TILE: usize = 512;
/// Elements of one task.
const CHUNK: usize = 32 * TILE;
/// The most tiles (registers and copied operands) that a program may need.
pub const MAX_TILES: usize = 24;

/// Runs `program` over all elements of `out`.
pub fn run<T: Real>(program: &Program, operands: &[Read<'_, T>], out: &mut [T], workers: &Workers) {
    debug_assert!(operands.len() + program.registers <= MAX_TILES);
    run_on(Isa::detect(), (&program.code, program.registers), operands, out, workers);
}

/// Applies one function to whole operands.
pub fn apply<T: Real>(function: Function, operands: &[&[T]], out: &mut [T], workers: &Workers) {
    let terms = [0, operands.len() - 1].map(|position| Term::plain(Argument::Operand(position)));
    let code = [Instruction { function, terms, register: 0 }];
    let reads: SmallVec<[Read<'_, T>; 2]> = operands.iter().map(|operand| Read::Whole(operand)).collect();
    run_on(Isa::detect(), (&code, 1), &reads, out, workers);
}

fn run_on<T: Real>(
    isa: Isa,
    (code, registers): (&[Instruction], usize),
    operands: &[Read<'_, T>],
    out: &mut [T],
    workers: &Workers,
) {
    workers.chunks(out, CHUNK, &|index, out, local| {
        let sizes = [operands.len() * TILE, registers * TILE, 2 * code.len() * MAX_LANES];
        let mut split = local.split();
        let [copies, registers, numbers] = sizes.map(|size| split.take(size));
        Chunk { operands, start: index * CHUNK, out, copies, registers, numbers }.run(isa, code);
    });
}

#[cfg(test)]
mod tests;
