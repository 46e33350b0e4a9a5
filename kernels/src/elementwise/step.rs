//! Functions one after the other over block after block.

use std::ops::Range;

use super::Function;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES, Vector, prefetch_line};
use crate::tuning::ELEMENTWISE_PREFETCH;

/// The most registers of the machine in a block: twice as many, for two arguments, are half of what AVX-512 has.
pub const REGISTERS: usize = 8;

/// The most elements in a block.
pub const BLOCK: usize = REGISTERS * MAX_LANES;

/// Where numbers for the elements of a block lie in memory.
#[derive(Clone, Copy)]
pub struct Location<T> {
    start: *mut T,
    /// How far on the numbers of an element are from those of the one before, from tile to tile and within a tile.
    strides: [usize; 2],
}

impl<T> Location<T> {
    /// Numbers for all elements.
    pub fn elements(start: *mut T) -> Self {
        Self { start, strides: [1, 1] }
    }

    /// Numbers for each element of one tile, over and over.
    pub fn tile(start: *mut T) -> Self {
        Self { start, strides: [0, 1] }
    }

    /// Numbers for each element of one block, over and over.
    pub fn block(start: *mut T) -> Self {
        Self { start, strides: [0, 0] }
    }

    #[inline(always)]
    fn at(&self, block: &Block) -> *mut T {
        self.start.wrapping_add(block.tile * self.strides[0] + block.first * self.strides[1])
    }
}

/// Elements that are computed at once.
pub struct Block {
    /// The first element of the tile,
    pub tile: usize,
    /// and the first of it, counted from there.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// What they are computed with.
    pub isa: Isa,
}

/// Where a step finds an argument.
#[derive(Clone, Copy)]
pub enum ArgumentSource<T> {
    /// In registers, where the step before left its results.
    Previous,
    /// In memory.
    Memory(Location<T>),
    /// The same number for all elements.
    Number(T),
}

/// One function, and where its arguments and its results are.
pub struct ProgramStep<T> {
    /// Which function.
    pub function: Function,
    /// Its arguments; functions of one read the first.
    pub arguments: [ArgumentSource<T>; 2],
    /// What they are multiplied by before,
    pub factors: [T; 2],
    /// if by anything but 1.
    pub is_scaled: bool,
    /// Whether subnormal results become 0.
    pub flushes: bool,
    /// Takes the results, unless only the next step reads them. It is an argument's memory, or disjoint from it.
    pub target: Option<Location<T>>,
    /// Which of the streams the step prefetches for a later block.
    pub prefetches: Range<usize>,
}

/// Computes all steps for a block of `COUNT` registers, or, where that is one, of one that may not be full.
///
/// What a step yields stays in registers for the next, so that memory is touched only for what is needed later. The
/// registers of a block do not wait for each other, and hide how long an operation takes.
///
/// # Safety
/// All locations must hold these elements, and nobody else may write to the arguments or touch the targets. The
/// instruction set of `V` must exist.
#[inline(always)]
pub unsafe fn run<T: Real, V: Vector<T>, const COUNT: usize>(
    steps: &[ProgramStep<T>],
    block: &Block,
    streams: &[*const T],
) {
    // SAFETY: the same contract.
    unsafe {
        let mut results = [V::splat(T::zero()); COUNT];
        for step in steps {
            for stream in &streams[step.prefetches.clone()] {
                let next = stream.wrapping_add(block.tile + block.first + ELEMENTWISE_PREFETCH);
                (0..COUNT).for_each(|register| prefetch_line(next.wrapping_add(register * V::LANES)));
            }
            let mut a = fetch::<T, V, COUNT>(&step.arguments[0], results, block);
            let mut b = a;
            if step.function.reads_two() {
                b = fetch::<T, V, COUNT>(&step.arguments[1], results, block);
            }
            if step.is_scaled {
                let factors = [V::splat(step.factors[0]), V::splat(step.factors[1])];
                for register in 0..COUNT {
                    a[register] = a[register].multiply(factors[0]);
                    b[register] = b[register].multiply(factors[1]);
                }
            }
            results = compute::<T, V, COUNT>(&step.function, a, b, block);
            if step.flushes {
                for result in &mut results {
                    *result = result.flush();
                }
            }
            if let Some(target) = &step.target {
                let target = target.at(block);
                for (register, result) in results.iter().enumerate() {
                    let target = target.wrapping_add(register * V::LANES);
                    if COUNT > 1 {
                        result.store(target);
                    } else {
                        result.store_first(target, block.count);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn fetch<T: Real, V: Vector<T>, const COUNT: usize>(
    source: &ArgumentSource<T>,
    before: [V; COUNT],
    block: &Block,
) -> [V; COUNT] {
    // SAFETY: the same contract.
    unsafe {
        match source {
            ArgumentSource::Previous => before,
            ArgumentSource::Number(number) => [V::splat(*number); COUNT],
            ArgumentSource::Memory(location) => {
                let start = location.at(block);
                let mut found = before; // all of it is overwritten
                for (register, found) in found.iter_mut().enumerate() {
                    let start = start.wrapping_add(register * V::LANES);
                    *found = if COUNT > 1 { V::load(start) } else { V::load_first(start, block.count) };
                }
                found
            }
        }
    }
}

/// What a function makes of registers.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
unsafe fn compute<T: Real, V: Vector<T>, const COUNT: usize>(
    function: &Function,
    mut a: [V; COUNT],
    b: [V; COUNT],
    block: &Block,
) -> [V; COUNT] {
    macro_rules! each {
        (|$a:ident, $b:pat_param| $result:expr) => {
            for register in 0..COUNT {
                let ($a, $b) = (a[register], b[register]);
                a[register] = $result;
            }
        };
    }
    // SAFETY: the same contract.
    unsafe {
        let minus = V::splat(-T::one());
        match *function {
            Function::Add => each!(|a, b| a.add(b)),
            Function::Subtract => each!(|a, b| a.subtract(b)),
            Function::Multiply => each!(|a, b| a.multiply(b)),
            Function::Weigh => {
                let [zero, one, infinity] =
                    [T::zero(), T::one(), T::infinity()].map(|number| V::splat(number));
                each!(|a, b| {
                    let is_zero = a.greater_equal(zero).multiply(zero.greater_equal(a));
                    let is_infinite = b.at_least(b.multiply(minus)).greater_equal(infinity);
                    a.multiply(b).gate(one.subtract(is_zero.multiply(is_infinite)))
                });
            }
            Function::Divide => each!(|a, b| a.divide(b)),
            Function::Maximum => each!(|a, b| a.larger(b, [a, b])[0]),
            // The one whose negative is larger.
            Function::Minimum => each!(|a, b| a.multiply(minus).larger(b.multiply(minus), [a, b])[1]),
            Function::Greater => each!(|a, b| a.greater(b)),
            Function::GreaterEqual => each!(|a, b| a.greater_equal(b)),
            Function::Equal => each!(|a, b| a.greater_equal(b).multiply(b.greater_equal(a))),
            Function::Gate => each!(|a, b| a.gate(b)),
            Function::Relu => each!(|a, _| a.relu()),
            Function::Negate => each!(|a, _| a.multiply(minus)),
            Function::Sqrt => each!(|a, _| a.sqrt()),
            Function::Power(2) => each!(|a, _| a.multiply(a)),
            // Adding 0 turns −0, which is not less than 0, into 0.
            Function::Abs => each!(|a, _| a.at_least(a.multiply(minus)).add(V::splat(T::zero()))),
            Function::AtLeast(floor) => {
                let floor = V::splat(T::of(floor));
                each!(|a, _| a.at_least(floor));
            }
            // min(a, c) = −max(−a, −c)
            Function::AtMost(_) | Function::MinZero => {
                let ceiling = if let Function::AtMost(ceiling) = *function { ceiling } else { 0.0 };
                let floor = V::splat(T::of(-ceiling));
                each!(|a, _| a.multiply(minus).at_least(floor).multiply(minus));
            }
            // Functions for which machines have no instruction.
            _ => {
                let (mut numbers, mut others) =
                    ([[T::zero(); MAX_LANES]; COUNT], [[T::zero(); MAX_LANES]; COUNT]);
                // One register's numbers follow the other's, however long the registers are.
                for register in 0..COUNT {
                    a[register].store(numbers.as_flattened_mut()[register * V::LANES..].as_mut_ptr());
                    b[register].store(others.as_flattened_mut()[register * V::LANES..].as_mut_ptr());
                }
                in_memory(*function, &mut numbers, others.as_flattened(), block);
                for register in 0..COUNT {
                    a[register] = V::load(numbers.as_flattened()[register * V::LANES..].as_ptr());
                }
            }
        }
        a
    }
}

/// Replaces each number of a block by what the function makes of it, or of it and of the other.
fn in_memory<T: Real>(function: Function, numbers: &mut [[T; MAX_LANES]], others: &[T], block: &Block) {
    let pairs = numbers.as_flattened_mut()[..block.count].iter_mut().zip(others);
    match function {
        Function::Sin => pairs.for_each(|(number, _)| *number = number.sin()),
        Function::Cos => pairs.for_each(|(number, _)| *number = number.cos()),
        Function::Sign => pairs.for_each(|(number, _)| *number = sign(*number)),
        Function::Power(exponent) => pairs.for_each(|(number, _)| *number = number.powi(exponent)),
        Function::Pow => pairs.for_each(|(number, other)| *number = number.powf(*other)),
        _ => T::transcendental(function, &mut numbers[..block.count.div_ceil(MAX_LANES)], block.isa),
    }
}

/// −1, 0 or 1. A zero and NaN stay as they are.
fn sign<T: Real>(a: T) -> T {
    if a == T::zero() || a.is_nan() { a } else { a.signum() }
}
