//! One function over tile after tile.

use std::ops::Range;

use super::Function;
use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, Kernel, MAX_LANES, Vector, prefetch_line};

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
    /// Computes the results of a tile. Meanwhile what the next tile reads of `ahead` is on its way to the cache.
    ///
    /// # Safety
    /// All places must hold these elements, and nobody else may write to the arguments or touch the target.
    pub unsafe fn run(&self, isa: Isa, elements: &Range<usize>, ahead: &[*const T]) {
        match self.function {
            Function::Add => self.sweep(isa, elements, ahead, Add),
            Function::Subtract => self.sweep(isa, elements, ahead, Subtract),
            Function::Multiply => self.sweep(isa, elements, ahead, Multiply),
            Function::Divide => self.sweep(isa, elements, ahead, Divide),
            Function::Gate => self.sweep(isa, elements, ahead, Gate),
            Function::Relu => self.sweep(isa, elements, ahead, Relu),
            Function::Negate => self.sweep(isa, elements, ahead, Negate),
            Function::Sqrt => self.sweep(isa, elements, ahead, Root),
            Function::Power(2) => self.sweep(isa, elements, ahead, Square),
            Function::Exp => self.sweep(isa, elements, ahead, Scalar(T::exp)),
            Function::Ln => self.sweep(isa, elements, ahead, Scalar(T::ln)),
            Function::Sigmoid => self.sweep(isa, elements, ahead, Scalar(sigmoid)),
            Function::Tanh => self.sweep(isa, elements, ahead, Scalar(T::tanh)),
            Function::Power(exponent) => {
                self.sweep(isa, elements, ahead, Scalar(move |a: T| a.powi(exponent)))
            }
        }
    }

    #[inline(always)]
    fn sweep(&self, isa: Isa, elements: &Range<usize>, ahead: &[*const T], function: impl Compute<T>) {
        let [a, b] = &self.arguments;
        let sweep = Sweep::<_, _, false> {
            function,
            arguments: [a.of_tile(elements.start), b.of_tile(elements.start)],
            strides: [a.strides[1], b.strides[1]],
            factors: self.factors,
            target: self.target.of_tile(elements.start),
            count: elements.len(),
            ahead: (ahead, elements.end),
            flushes: self.flushes,
        };
        if self.factors == [T::one(); 2] { isa.dispatch(sweep) } else { isa.dispatch(sweep.scaled()) }
    }
}

/// One function about to run over one tile, on its arguments or on multiples of them.
struct Sweep<'a, T, F, const SCALED: bool> {
    function: F,
    arguments: [*const T; 2],
    strides: [usize; 2],
    factors: [T; 2],
    target: *mut T,
    count: usize,
    /// What to ask for meanwhile: some places, and the element there.
    ahead: (&'a [*const T], usize),
    flushes: bool,
}

impl<T: Real, F: Compute<T>, const SCALED: bool> Kernel<T> for Sweep<'_, T, F, SCALED> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (mut done, [mut a, mut b]) = (0, self.arguments);
        let [to_next_a, to_next_b] = self.strides.map(|stride| stride * V::LANES);
        let (places, next) = self.ahead;
        // SAFETY: `Step::run` vouches for the places, `dispatch` for the instruction set.
        unsafe {
            let factors = [V::splat(self.factors[0]), V::splat(self.factors[1])];
            while done + V::LANES <= self.count {
                places.iter().for_each(|place| prefetch_line(place.wrapping_add(next + done)));
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

impl<'a, T: Real, F: Compute<T>, const SCALED: bool> Sweep<'a, T, F, SCALED> {
    /// The same on multiples of the arguments.
    #[inline(always)]
    fn scaled(self) -> Sweep<'a, T, F, true> {
        let Self { function, arguments, strides, factors, target, count, ahead, flushes } = self;
        Sweep { function, arguments, strides, factors, target, count, ahead, flushes }
    }

    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn compute<V: Vector<T>>(&self, a: V, b: V, [s, t]: [V; 2]) -> V {
        // SAFETY: the same contract.
        unsafe {
            let (a, b) = if SCALED { (a.multiply(s), b.multiply(t)) } else { (a, b) };
            let result = self.function.compute(a, b);
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
