//! One function over tile after tile.

use std::ops::Range;

use super::Function;
use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, Kernel, MAX_LANES, Vector};

/// Where a step finds or puts its numbers.
#[derive(Clone, Copy)]
pub struct Place<T> {
    start: *mut T,
    /// How far on the numbers of an element are from those of the one before, from tile to tile and within a tile.
    strides: [usize; 2],
}

impl<T> Place<T> {
    /// Numbers for all elements.
    pub fn elements(start: *mut T) -> Self {
        Self { start, strides: [1, 1] }
    }

    /// Numbers for each element of one tile, over and over.
    pub fn tile(start: *mut T) -> Self {
        Self { start, strides: [0, 1] }
    }

    /// A register's lanes, for all elements alike.
    pub fn number(start: *mut T) -> Self {
        Self { start, strides: [0, 0] }
    }

    fn of_tile(&self, first: usize) -> *mut T {
        self.start.wrapping_add(first * self.strides[0])
    }
}

/// One function, and where its arguments and its results are.
pub struct Step<T> {
    /// Which function.
    pub function: Function,
    /// Its arguments; functions of one read the first.
    pub arguments: [Place<T>; 2],
    /// What they are multiplied by before.
    pub factors: [T; 2],
    /// Takes the results; the same as an argument, or apart from it.
    pub target: Place<T>,
    /// Whether subnormal results become 0.
    pub flushes: bool,
}

impl<T: Real> Step<T> {
    /// Computes the results of a tile.
    ///
    /// # Safety
    /// All places must hold these elements, and nobody else may write to the arguments or touch the target.
    pub unsafe fn run(&self, isa: Isa, elements: &Range<usize>) {
        match self.function {
            Function::Add => self.sweep(isa, elements, Add),
            Function::Subtract => self.sweep(isa, elements, Subtract),
            Function::Multiply => self.sweep(isa, elements, Multiply),
            Function::Divide => self.sweep(isa, elements, Divide),
            Function::Gate => self.sweep(isa, elements, Gate),
            Function::Relu => self.sweep(isa, elements, Relu),
            Function::Negate => self.sweep(isa, elements, Negate),
            Function::Sqrt => self.sweep(isa, elements, Root),
            Function::Power(2) => self.sweep(isa, elements, Square),
            Function::Exp => self.sweep(isa, elements, Scalar(T::exp)),
            Function::Ln => self.sweep(isa, elements, Scalar(T::ln)),
            Function::Sigmoid => self.sweep(isa, elements, Scalar(sigmoid)),
            Function::Tanh => self.sweep(isa, elements, Scalar(T::tanh)),
            Function::Power(exponent) => self.sweep(isa, elements, Scalar(move |a: T| a.powi(exponent))),
        }
    }

    #[inline(always)]
    fn sweep(&self, isa: Isa, elements: &Range<usize>, function: impl Compute<T>) {
        let [a, b] = &self.arguments;
        isa.dispatch(Sweep {
            function,
            arguments: [a.of_tile(elements.start), b.of_tile(elements.start)],
            strides: [a.strides[1], b.strides[1]],
            factors: self.factors,
            target: self.target.of_tile(elements.start),
            count: elements.len(),
            flushes: self.flushes,
        });
    }
}

/// One function about to run over one tile.
struct Sweep<T, F> {
    function: F,
    arguments: [*const T; 2],
    strides: [usize; 2],
    factors: [T; 2],
    target: *mut T,
    count: usize,
    flushes: bool,
}

impl<T: Real, F: Compute<T>> Kernel<T> for Sweep<T, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (mut done, [mut a, mut b]) = (0, self.arguments);
        let [to_next_a, to_next_b] = self.strides.map(|stride| stride * V::LANES);
        // SAFETY: `Step::run` vouches for the places, `dispatch` for the instruction set.
        unsafe {
            let factors = [V::splat(self.factors[0]), V::splat(self.factors[1])];
            while done + V::LANES <= self.count {
                self.compute(V::load(a), V::load(b), factors).store(self.target.add(done));
                (a, b) = (a.wrapping_add(to_next_a), b.wrapping_add(to_next_b));
                done += V::LANES;
            }
            let rest = self.count - done;
            if rest > 0 {
                let (a, b) = (V::load_first(a, rest), V::load_first(b, rest));
                self.compute(a, b, factors).store_first(self.target.add(done), rest);
            }
        }
    }
}

impl<T: Real, F: Compute<T>> Sweep<T, F> {
    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn compute<V: Vector<T>>(&self, a: V, b: V, [s, t]: [V; 2]) -> V {
        // SAFETY: the same contract.
        unsafe {
            let result = self.function.compute(a.multiply(s), b.multiply(t));
            if self.flushes { result.flush() } else { result }
        }
    }
}

/// What a function makes of registers.
trait Compute<T: Real>: Copy {
    /// # Safety
    /// The instruction set of `V` must exist.
    unsafe fn compute<V: Vector<T>>(self, a: V, b: V) -> V;
}

macro_rules! functions {
    ($($name:ident: |$a:ident, $b:pat_param| $result:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl<T: Real> Compute<T> for $name {
            #[inline(always)]
            unsafe fn compute<V: Vector<T>>(self, $a: V, $b: V) -> V {
                // SAFETY: the same contract.
                unsafe { $result }
            }
        }
    )*};
}

functions! {
    Add: |a, b| a.add(b);
    Subtract: |a, b| a.subtract(b);
    Multiply: |a, b| a.multiply(b);
    Divide: |a, b| a.divide(b);
    Gate: |a, b| a.gate(b);
    Relu: |a, _| a.relu();
    Negate: |a, _| a.multiply(V::splat(-T::one()));
    Root: |a, _| a.root();
    Square: |a, _| a.multiply(a);
}

/// A function of one number, for which machines have no instruction.
#[derive(Clone, Copy)]
struct Scalar<F>(F);

impl<T: Real, F: Fn(T) -> T + Copy> Compute<T> for Scalar<F> {
    #[inline(always)]
    unsafe fn compute<V: Vector<T>>(self, a: V, _: V) -> V {
        let mut lanes = [T::zero(); MAX_LANES];
        // SAFETY: no register has more lanes than the array; the rest is the same contract.
        unsafe {
            a.store(lanes.as_mut_ptr());
            lanes.iter_mut().take(V::LANES).for_each(|lane| *lane = (self.0)(*lane));
            V::load(lanes.as_ptr())
        }
    }
}

/// 1 / (1 + e⁻ᵃ), in the form whose exponential cannot overflow.
pub fn sigmoid<T: Real>(a: T) -> T {
    if a >= T::zero() {
        T::one() / (T::one() + (-a).exp())
    } else {
        let e = a.exp();
        e / (T::one() + e)
    }
}
