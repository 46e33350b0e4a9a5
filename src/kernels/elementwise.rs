//! Functions of single numbers, and short programs of them that run over arrays tile by tile.
//!
//! A chain such as Adam's update would read and write memory once for each operation. As one program it keeps
//! every intermediate result in a tile that fits the first-level cache.

use super::real::Real;
use super::simd::{Isa, Kernel, Vector, prefetch};
use super::walk::Walk;
use super::workers::{Local, Workers};
use step::{Lane, Step};

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
    workers.chunks(out, CHUNK, &|index, out, local| {
        Isa::detect().dispatch(Chunk { program, operands, start: index * CHUNK, out, local });
    });
}

/// Applies one function to whole operands.
pub fn apply<T: Real>(function: Function, operands: &[&[T]], out: &mut [T], workers: &Workers) {
    workers.chunks(out, CHUNK, &|index, out, _| {
        let range = index * CHUNK..index * CHUNK + out.len();
        let part = |position: usize| match operands.get(position) {
            Some(operand) => Lane::Slice(&operand[range.clone()]),
            None => Lane::Splat(T::zero()),
        };
        let arguments = [part(0), part(1)];
        Isa::detect().dispatch(Step { function, arguments, out, flushes: function.underflows() });
    });
}

/// A program about to run over the part of its output that begins at element `start`.
struct Chunk<'a, T> {
    program: &'a Program,
    operands: &'a [Read<'a, T>],
    start: usize,
    out: &'a mut [T],
    local: &'a mut Local,
}

impl<T: Real> Kernel<T> for Chunk<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Self { program, operands, start, out, local } = self;
        let tiles = local.slice::<T>((operands.len() + program.registers) * TILE);
        let (copies, registers) = tiles.split_at_mut(operands.len() * TILE);
        let (mut first, mut rest) = (start, out);
        while !rest.is_empty() {
            let (out, next) = rest.split_at_mut(TILE.min(rest.len()));
            for (read, copy) in operands.iter().zip(copies.chunks_exact_mut(TILE)) {
                if let Read::Along(data, walk) = read {
                    walk.fetch(data, first, &mut copy[..out.len()]);
                }
            }
            let tile = Tile { operands, copies, first, len: out.len() };
            tile.run(program, registers, out, next);
            (first, rest) = (first + tile.len, next);
        }
    }
}

/// What a program reads at `len` elements from `first` on.
struct Tile<'a, T> {
    operands: &'a [Read<'a, T>],
    copies: &'a [T],
    first: usize,
    len: usize,
}

impl<T: Real> Tile<'_, T> {
    /// Runs a program over the tile. While it runs, the next tile is on its way to the cache: each step asks for
    /// one operand's, which disturbs it less than to wait for all at once.
    #[inline(always)]
    fn run(&self, program: &Program, registers: &mut [T], out: &mut [T], next: &[T]) {
        let len = self.len;
        let last = program.code.len() - 1;
        let underflows = program.code.iter().any(|instruction| instruction.function.underflows());
        for (step, &Instruction { function, arguments, register }) in program.code.iter().enumerate() {
            self.operands.iter().skip(step).step_by(last + 1).for_each(|read| self.prefetch_next(read));
            let (below, rest) = registers.split_at_mut(register * TILE);
            let (target, above) = rest.split_at_mut(TILE.min(rest.len()));
            let lane = |argument| match argument {
                Argument::Constant(value) => Lane::Splat(T::of(value)),
                Argument::Operand(position) => self.operand(position),
                Argument::Register(r) if r < register => Lane::Slice(&below[r * TILE..][..len]),
                Argument::Register(r) => Lane::Slice(&above[(r - register - 1) * TILE..][..len]),
            };
            let [a, b] = [lane(arguments[0]), lane(arguments[1])];
            let step = if step == last {
                prefetch(next, TILE);
                Step { function, arguments: [a, b], out: &mut *out, flushes: underflows }
            } else {
                let arguments = [a.or_in(out), b.or_in(out)];
                Step { function, arguments, out: &mut target[..len], flushes: false }
            };
            step.apply();
        }
    }

    /// The operand's numbers for this tile.
    #[inline(always)]
    fn operand(&self, position: usize) -> Lane<'_, T> {
        match self.operands[position] {
            Read::Whole(data) => Lane::Slice(&data[self.first..][..self.len]),
            Read::Along(..) => Lane::Slice(&self.copies[position * TILE..][..self.len]),
            Read::Single(value) => Lane::Splat(value),
            Read::InPlace => Lane::Target,
        }
    }

    /// Asks for what an operand has for the next tile.
    #[inline(always)]
    fn prefetch_next(&self, read: &Read<'_, T>) {
        if let Read::Whole(data) = read {
            prefetch(&data[self.first + self.len..], TILE);
        }
    }
}

#[cfg(test)]
mod tests;
