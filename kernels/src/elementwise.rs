//! Functions of single numbers, and short programs of them that run over arrays block by block.
//!
//! A chain such as Adam's update would read and write memory once for each operation. As one program it computes all of
//! them for a block at a time. Intermediate values stay in registers of the machine, or in a block of memory that fits the
//! first-level cache.

use smallvec::SmallVec;

use super::real::Real;
use super::walk::Walk;
use super::workers::{Parts, Workers};
use crate::tuning::{ELEMENTWISE_TASK, ELEMENTWISE_TILE};
use chunk::Chunk;
use step::BLOCK;

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
    /// a · b, where 0 · ∞ is 0: for weights a, as what does not happen costs nothing; NaN stays NaN
    Weigh,
    /// a / b
    Divide,
    /// the larger of a and b; NaN if one of them is
    Maximum,
    /// the smaller of a and b; NaN if one of them is
    Minimum,
    /// a raised to b
    Pow,
    /// 1 where a > b, else 0
    Greater,
    /// 1 where a ≥ b, else 0
    GreaterEqual,
    /// 1 where a = b, else 0
    Equal,
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
    /// |a|
    Abs,
    /// −1, 0 or 1; NaN stays NaN
    Sign,
    /// ln(1 + a), exact near 0
    Ln1p,
    /// eᵃ − 1, exact near 0
    ExpM1,
    /// sine of a
    Sin,
    /// cosine of a
    Cos,
    /// error function of a
    Erf,
    /// ln(1 + eᵃ)
    Softplus,
    /// the larger of a and a number; NaN stays NaN
    AtLeast(f64),
    /// the smaller of a and a number; NaN stays NaN
    AtMost(f64),
    /// the smaller of a and 0, for whose gradient at 0 an operation has another rule than for `AtMost(0.0)`
    MinZero,
}

impl Function {
    /// Its name, of how many numbers it is, whether it takes longer than reading them, and whether it underflows.
    #[inline(always)]
    fn facts(self) -> (&'static str, usize, bool, bool) {
        match self {
            Self::Add => ("add", 2, false, false),
            Self::Subtract => ("sub", 2, false, false),
            Self::Multiply => ("mul", 2, false, true),
            Self::Weigh => ("weigh", 2, false, true),
            Self::Divide => ("div", 2, true, true),
            Self::Maximum => ("maximum", 2, false, false),
            Self::Minimum => ("minimum", 2, false, false),
            Self::Pow => ("pow", 2, true, true),
            Self::Greater => ("greater", 2, false, false),
            Self::GreaterEqual => ("greater_equal", 2, false, false),
            Self::Equal => ("equal", 2, false, false),
            Self::Gate => ("gate", 2, false, false),
            Self::Relu => ("relu", 1, false, false),
            Self::Negate => ("neg", 1, false, false),
            Self::Exp => ("exp", 1, true, true),
            Self::Ln => ("ln", 1, true, false),
            Self::Sqrt => ("sqrt", 1, true, false),
            Self::Sigmoid => ("sigmoid", 1, true, true),
            Self::Tanh => ("tanh", 1, true, false),
            Self::Power(2) => ("powi", 1, false, true),
            Self::Power(_) => ("powi", 1, true, true),
            Self::Abs => ("abs", 1, false, false),
            Self::Sign => ("sign", 1, true, false),
            Self::Ln1p => ("ln_1p", 1, true, false),
            Self::ExpM1 => ("exp_m1", 1, true, false),
            Self::Sin => ("sin", 1, true, false),
            Self::Cos => ("cos", 1, true, false),
            Self::Erf => ("erf", 1, true, false),
            Self::Softplus => ("softplus", 1, true, true),
            Self::AtLeast(_) => ("at_least", 1, false, false),
            Self::AtMost(_) => ("at_most", 1, false, false),
            Self::MinZero => ("min_zero", 1, false, false),
        }
    }

    /// Its name in listings.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// Whether it is a function of two numbers.
    pub fn reads_two(self) -> bool {
        self.facts().1 == 2
    }

    /// Whether computing it takes longer than reading the arguments.
    pub fn is_compute_bound(self) -> bool {
        self.facts().2
    }

    /// Whether the result may be subnormal although the arguments are not. It is then 0 instead: processors are
    /// many times slower with subnormal numbers, and decaying averages would end among them.
    pub fn underflows(self) -> bool {
        self.facts().3
    }
}

/// What an instruction reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// An operand of the whole program.
    Operand(usize),
    /// What an earlier instruction put into a register.
    Register(usize),
    /// What an earlier instruction put into one of the program's results.
    Result(usize),
    /// A number.
    Constant(f64),
}

/// An argument times a number. The product costs nothing while a tile is read, so that most products with a number need
/// no instruction of their own.
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

/// One function applied to all elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// What to compute.
    pub function: Function,
    /// From what; functions of one argument read the first.
    pub terms: [Term; 2],
    /// What takes the result; never a register that the instruction reads.
    pub target: Target,
}

/// Where an instruction puts what it computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A block that later instructions read.
    Register(usize),
    /// One of the program's results, which later instructions may read, too.
    Result(usize),
}

impl From<Target> for Argument {
    fn from(target: Target) -> Self {
        match target {
            Target::Register(register) => Self::Register(register),
            Target::Result(result) => Self::Result(result),
        }
    }
}

/// Instructions in order. The results are all of one size.
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
    /// It already lies in one of the results, and no instruction reads it after that result is there.
    InPlace(usize),
}

/// The most tiles (registers and copied operands) that a program may need.
pub const MAX_TILES: usize = 24;

/// The most results that a program may have.
pub const MAX_RESULTS: usize = 4;

/// Slices for the results of a program.
pub type Outputs<'a, T> = SmallVec<[&'a mut [T]; MAX_RESULTS]>;

/// Runs `program` over all elements of its results.
#[inline(never)]
pub fn run<T: Real>(program: &Program, operands: &[Read<'_, T>], mut out: Outputs<'_, T>, workers: &Workers) {
    debug_assert!(operands.len() + program.registers <= MAX_TILES);
    run_code((&program.code, program.registers), operands, &mut out, workers);
}

/// Applies one function to whole operands.
#[inline(never)]
pub fn apply<T: Real>(function: Function, operands: &[&[T]], out: &mut [T], workers: &Workers) {
    let terms = [0, operands.len() - 1].map(|position| Term::plain(Argument::Operand(position)));
    let code = [Instruction { function, terms, target: Target::Result(0) }];
    let reads = [Read::Whole(operands[0]), Read::Whole(operands[operands.len() - 1])];
    run_code((&code, 0), &reads[..operands.len()], &mut [out], workers);
}

fn run_code<T: Real>(
    (code, registers): (&[Instruction], usize),
    operands: &[Read<'_, T>],
    out: &mut [&mut [T]],
    workers: &Workers,
) {
    let len = out.first().map_or(0, |out| out.len());
    debug_assert!(out.iter().all(|out| out.len() == len));
    let results: SmallVec<[_; MAX_RESULTS]> = out.iter_mut().map(|out| Parts::new(out)).collect();
    workers.run(len.div_ceil(ELEMENTWISE_TASK), &|index, local| {
        let elements = index * ELEMENTWISE_TASK..len.min((index + 1) * ELEMENTWISE_TASK);
        let sizes = [operands.len() * ELEMENTWISE_TILE, registers * BLOCK];
        let mut split = local.split();
        let [copies, registers] = sizes.map(|size| split.take(size).as_mut_ptr());
        let mut out = [std::ptr::null_mut(); MAX_RESULTS];
        for (out, result) in out.iter_mut().zip(&results) {
            // SAFETY: every index comes once, and chunks of different indices do not overlap.
            *out = unsafe { result.slice(elements.start, elements.len()) }.as_mut_ptr();
        }
        Chunk { code, operands, elements, out, copies, registers }.run(workers.isa());
    });
}
