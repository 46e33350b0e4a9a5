//! A program over the elements of one task, block by block.
//!
//! What is read along a walk is copied first, for a tile of some blocks.

use std::ops::Range;

use smallvec::SmallVec;

use super::step::{self, ArgumentSource, BLOCK, Block, Location, ProgramStep, REGISTERS};
use super::{Argument, Instruction, MAX_RESULTS, MAX_TILES, Read, Target, Term};
use crate::real::Real;
use crate::simd::{Isa, Kernel, Vector, vectorize};
use crate::tuning::ELEMENTWISE_TILE;
use crate::workers::even_part;

/// Bytes of a register where there are enough of them for [`REGISTERS`] in a block.
const WIDE_REGISTER_BYTES: usize = 64;
/// Registers in a block elsewhere, and in the blocks of what is left.
const REGISTERS_HALF: usize = REGISTERS / 2;

/// A program over some elements of its results. Memory is given by address, because results may lie on operands; nobody
/// else uses it meanwhile.
pub struct Chunk<'a, T> {
    /// The program.
    pub code: &'a [Instruction],
    /// What the program reads.
    pub operands: &'a [Read<'a, T>],
    /// Which elements.
    pub elements: Range<usize>,
    /// These elements of each result.
    pub out: [*mut T; MAX_RESULTS],
    /// A tile for each operand, of which those that are read along a walk are copied here.
    pub copies: *mut T,
    /// A block for each register.
    pub registers: *mut T,
}

/// The steps of a program over one tile.
struct ProgramTile<'a, T> {
    elements: Range<usize>,
    steps: &'a [ProgramStep<T>],
    streams: &'a [*const T],
    isa: Isa,
}

impl<T: Real> Chunk<'_, T> {
    /// Runs the program, tile by tile.
    pub fn run(self, isa: Isa) {
        let (tile, len) = (self.tile(), self.elements.len());
        let streams = self.streams();
        let steps = self.steps(streams.len());
        for start in (0..len).step_by(tile) {
            let elements = start..len.min(start + tile);
            self.fetch(&elements, tile);
            isa.dispatch(ProgramTile { elements, steps: &steps, streams: &streams, isa });
        }
    }

    /// How many elements are done at a time. Where an operand repeats itself (a row for all rows), they are whole
    /// repetitions, if that is possible, and what was copied of it for one tile serves the next ones too.
    fn tile(&self) -> usize {
        let periods = self.operands.iter().filter_map(|read| match read {
            Read::Along(_, walk) => Some(walk.period()),
            _ => None,
        });
        let period = periods.filter(|&period| period <= ELEMENTWISE_TILE).max().unwrap_or(1);
        ELEMENTWISE_TILE / period * period
    }

    /// The instructions with the locations of what they read and write. All locations have room for the elements of a tile,
    /// or for all elements, and none is written while it is read, unless it is the same.
    fn steps(&self, streams: usize) -> SmallVec<[ProgramStep<T>; MAX_TILES]> {
        // Which registers may hold subnormal numbers.
        let mut subnormal = [false; MAX_TILES];
        let mut underflows = |Instruction { function, terms, target }: &Instruction| {
            let may_be = |term: &Term| {
                term.is_scaled() || matches!(term.value, Argument::Register(register) if subnormal[register])
            };
            let underflows = function.underflows() || terms.iter().any(may_be);
            if let Target::Register(register) = *target {
                subnormal[register] = underflows;
            }
            underflows
        };
        let prefetched = prefetched(self.code, streams);
        let steps =
            self.code.iter().zip(prefetched).enumerate().map(|(number, (step, prefetches))| ProgramStep {
                function: step.function,
                arguments: [0, 1].map(|term| self.source(number, &step.terms[term])),
                factors: [0, 1].map(|term| self.factor(&step.terms[term])),
                is_scaled: step.terms.iter().any(Term::is_scaled),
                flushes: underflows(step) && matches!(step.target, Target::Result(_)),
                target: match step.target {
                    Target::Register(register) => {
                        self.is_read_later(number, register).then(|| self.register(register))
                    }
                    Target::Result(result) => Some(Location::elements(self.out[result])),
                },
                prefetches,
            });
        steps.collect()
    }

    /// Whether an instruction behind the next reads what this one puts into a register.
    fn is_read_later(&self, number: usize, register: usize) -> bool {
        let writes = |step: &&Instruction| step.target == Target::Register(register);
        let reads =
            |step: &Instruction| step.terms.iter().any(|term| term.value == Argument::Register(register));
        let until_written = self.code[number + 1..].iter().take_while(|step| !writes(step));
        until_written.skip(1).any(reads)
    }

    /// Where instruction `number` finds a term.
    fn source(&self, number: usize, term: &Term) -> ArgumentSource<T> {
        let before = number.checked_sub(1).map(|before| self.code[before].target.into());
        let location = match term.value {
            value if Some(value) == before => return ArgumentSource::Previous,
            Argument::Constant(value) => return ArgumentSource::Number(T::of(value)),
            Argument::Register(register) => self.register(register),
            Argument::Result(result) => Location::elements(self.out[result]),
            Argument::Operand(position) => match self.operands[position] {
                Read::Whole(data) => Location::elements(data[self.elements.clone()].as_ptr().cast_mut()),
                Read::Along(..) => Location::tile(self.copies.wrapping_add(position * ELEMENTWISE_TILE)),
                Read::Single(value) => return ArgumentSource::Number(value),
                Read::InPlace(result) => Location::elements(self.out[result]),
            },
        };
        ArgumentSource::Memory(location)
    }

    fn register(&self, register: usize) -> Location<T> {
        Location::block(self.registers.wrapping_add(register * BLOCK))
    }

    /// What a term is multiplied by.
    fn factor(&self, term: &Term) -> T {
        match term.factor {
            Argument::Constant(value) => T::of(value),
            Argument::Operand(position) => match self.operands[position] {
                Read::Single(value) => value,
                _ => unreachable!("a factor is a single number"),
            },
            _ => unreachable!("a factor is no result of the program"),
        }
    }

    /// Copies the elements of a tile from operands that are read along a walk.
    fn fetch(&self, elements: &Range<usize>, tile: usize) {
        for (position, read) in self.operands.iter().enumerate() {
            if let Read::Along(data, walk) = read
                && (elements.start == 0 || !tile.is_multiple_of(walk.period()))
            {
                let copy = self.copies.wrapping_add(position * ELEMENTWISE_TILE);
                // SAFETY: each operand has a tile there.
                let copy = unsafe { std::slice::from_raw_parts_mut(copy, elements.len()) };
                vectorize(
                    #[inline(always)]
                    || walk.fetch(data, self.elements.start + elements.start, copy),
                );
            }
        }
    }

    /// The operands that are read as they lie, and so can be prefetched.
    fn streams(&self) -> SmallVec<[*const T; MAX_TILES]> {
        let start = |read: &Read<T>| match *read {
            Read::Whole(data) => Some(data[self.elements.start..].as_ptr()),
            Read::InPlace(result) => Some(self.out[result].cast_const()),
            Read::Along(..) | Read::Single(_) => None,
        };
        self.operands.iter().filter_map(start).collect()
    }
}

impl<T: Real> Kernel<T> for ProgramTile<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (Self { steps, streams, isa, .. }, Range { start, end }) = (&self, self.elements.clone());
        let mut block = Block { tile: start, first: 0, count: 0, isa: *isa };
        while start + block.first < end {
            let left = end - start - block.first;
            // SAFETY: `Chunk::steps` says so; `dispatch` vouches for the instruction set.
            unsafe {
                if const { size_of::<V>() == WIDE_REGISTER_BYTES } && left >= REGISTERS * V::LANES {
                    block.count = REGISTERS * V::LANES;
                    step::run::<T, V, REGISTERS>(steps, &block, streams);
                } else if left >= REGISTERS_HALF * V::LANES {
                    block.count = REGISTERS_HALF * V::LANES;
                    step::run::<T, V, REGISTERS_HALF>(steps, &block, streams);
                } else {
                    block.count = left.min(V::LANES);
                    step::run::<T, V, 1>(steps, &block, streams);
                }
            }
            block.first += block.count;
        }
    }
}

/// Which streams each step prefetches for a later block. They are divided among the compute-bound steps, which leave time
/// for it, or among all if there are none.
fn prefetched(code: &[Instruction], streams: usize) -> impl Iterator<Item = Range<usize>> {
    let compute_bound = code.iter().filter(|step| step.function.is_compute_bound()).count();
    let prefetches = move |step: &Instruction| compute_bound == 0 || step.function.is_compute_bound();
    let prefetching = if compute_bound == 0 { code.len() } else { compute_bound };
    code.iter().scan(0, move |rank, step| {
        let part = if prefetches(step) { even_part(streams, prefetching, *rank) } else { 0..0 };
        *rank += usize::from(prefetches(step));
        Some(part)
    })
}
