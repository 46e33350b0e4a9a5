//! A program over the elements of one task, tile by tile.

use std::ops::Range;

use smallvec::SmallVec;

use super::step::{Place, Step};
use super::{Argument, Instruction, MAX_TILES, Read, TILE, Term};
use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, MAX_LANES, prefetch};

/// A program about to run over part of its output.
pub struct Chunk<'a, T> {
    /// What the program reads.
    pub operands: &'a [Read<'a, T>],
    /// The first element of the part.
    pub start: usize,
    /// The part.
    pub out: &'a mut [T],
    /// A tile for each operand, of which those that are read along a walk are copied here.
    pub copies: &'a mut [T],
    /// A tile for each register.
    pub registers: &'a mut [T],
    /// For each term of the code as many numbers as a register of the machine holds, all the same.
    pub numbers: &'a mut [T],
}

impl<T: Real> Chunk<'_, T> {
    /// Runs the program.
    pub fn run(mut self, isa: Isa, code: &[Instruction]) {
        let (tile, len) = (self.tile(), self.out.len());
        let steps = self.steps(code);
        for first in (0..len).step_by(tile) {
            let elements = first..len.min(first + tile);
            self.fetch(&elements, tile);
            for (number, step) in steps.iter().enumerate() {
                self.prefetch(number, steps.len(), elements.end);
                // SAFETY: `steps` says so.
                unsafe { step.run(isa, &elements) };
            }
        }
    }

    /// How many elements are done at a time. Where an operand repeats itself (a row for all rows), they are whole
    /// repetitions, if that is possible, and what was copied of it for one tile serves the next ones too.
    fn tile(&self) -> usize {
        let periods = self.operands.iter().filter_map(|read| match read {
            Read::Along(_, walk) => Some(walk.period()),
            _ => None,
        });
        let period = periods.filter(|&period| period <= TILE).max().unwrap_or(1);
        TILE / period * period
    }

    /// The instructions with the places of what they read and write. All places have room for the elements of a tile,
    /// or of the whole part, and none is written while it is read, unless it is the same.
    fn steps(&mut self, code: &[Instruction]) -> SmallVec<[Step<T>; MAX_TILES]> {
        let scales = |step: &Instruction| step.terms.iter().any(Term::is_scaled);
        let underflows = code.iter().any(|step| step.function.underflows() || scales(step));
        let mut steps = SmallVec::new();
        for (number, Instruction { function, terms, register }) in code.iter().enumerate() {
            let is_last = number + 1 == code.len();
            steps.push(Step {
                function: *function,
                arguments: [self.place(&terms[0], 2 * number), self.place(&terms[1], 2 * number + 1)],
                factors: [self.factor(&terms[0]), self.factor(&terms[1])],
                target: if is_last { Place::part(self.out) } else { self.register(*register) },
                flushes: is_last && underflows,
            });
        }
        steps
    }

    /// Where the value of a term lies; `index` counts the terms of the code.
    fn place(&mut self, term: &Term, index: usize) -> Place<T> {
        match term.value {
            Argument::Constant(value) => self.number(T::of(value), index),
            Argument::Register(register) => self.register(register),
            Argument::Operand(position) => match self.operands[position] {
                Read::Whole(data) => Place::operand(&data[self.start..][..self.out.len()]),
                Read::Along(..) => Place::tile(&mut self.copies[position * TILE..][..TILE]),
                Read::Single(value) => self.number(value, index),
                Read::InPlace => Place::part(self.out),
            },
        }
    }

    fn register(&mut self, register: usize) -> Place<T> {
        Place::tile(&mut self.registers[register * TILE..][..TILE])
    }

    fn number(&mut self, value: T, index: usize) -> Place<T> {
        let lanes = &mut self.numbers[index * MAX_LANES..][..MAX_LANES];
        lanes.fill(value);
        Place::number(lanes)
    }

    /// What a term is multiplied by.
    fn factor(&self, term: &Term) -> T {
        match term.factor {
            Argument::Constant(value) => T::of(value),
            Argument::Operand(position) => match self.operands[position] {
                Read::Single(value) => value,
                _ => unreachable!("a factor is a single number"),
            },
            Argument::Register(_) => unreachable!("a factor is no result of the program"),
        }
    }

    /// Copies the elements of a tile from operands that are read along a walk.
    fn fetch(&mut self, elements: &Range<usize>, tile: usize) {
        for (read, copy) in self.operands.iter().zip(self.copies.chunks_exact_mut(TILE)) {
            if let Read::Along(data, walk) = read
                && (elements.start == 0 || !tile.is_multiple_of(walk.period()))
            {
                walk.fetch(data, self.start + elements.start, &mut copy[..elements.len()]);
            }
        }
    }

    /// While a tile is worked on, the next one, which begins at element `next`, is on its way to the cache: each step
    /// asks for its share of the operands, which disturbs it less than to wait for all at once.
    fn prefetch(&self, step: usize, steps: usize, next: usize) {
        let mut position = step;
        while let Some(read) = self.operands.get(position) {
            match read {
                Read::Whole(data) => prefetch(&data[self.start + next..], TILE),
                Read::InPlace => prefetch(&self.out[next..], TILE),
                Read::Along(..) | Read::Single(_) => {}
            }
            position += steps;
        }
    }
}
