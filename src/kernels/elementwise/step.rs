//! One function over block after block.

use super::Function;
use crate::kernels::real::Real;
use crate::kernels::simd::{MAX_LANES, Vector, prefetch_line};

/// Registers of the machine in a block. So few elements of all instructions together fit what the machine looks
/// ahead: while the slow functions of one block are under way, it computes the fast ones of the next.
pub const REGISTERS: usize = 16;

/// The most elements in a block, and how far ahead of a block its steps ask for what is read later.
pub const BLOCK: usize = REGISTERS * MAX_LANES;

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

    /// Numbers for the elements of one block, over and over.
    pub fn block(start: *mut T) -> Self {
        Self { start, strides: [0, 0] }
    }

    #[inline(always)]
    fn at(&self, block: &Block) -> *mut T {
        self.start.wrapping_add(block.tile * self.strides[0] + block.first * self.strides[1])
    }
}

/// Elements that a step computes at once.
pub struct Block {
    /// The first element of the tile,
    pub tile: usize,
    /// and the first of it, counted from there.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// One function, and where its arguments and its results are.
pub struct Step<T> {
    /// Which function.
    pub function: Function,
    /// Its arguments; functions of one read the first.
    pub arguments: [Place<T>; 2],
    /// What they are multiplied by before,
    pub factors: [T; 2],
    /// if by anything but 1.
    pub is_scaled: bool,
    /// Takes the results; the same as an argument, or apart from it.
    pub target: Place<T>,
    /// Whether subnormal results become 0.
    pub flushes: bool,
}

impl<T: Real> Step<T> {
    /// Computes the results of a block.
    ///
    /// # Safety
    /// All places must hold these elements, and nobody else may write to the arguments or touch the target. The
    /// instruction set of `V` must exist.
    #[inline(always)]
    pub unsafe fn run<V: Vector<T>>(&self, block: &Block, ahead: &[*const T]) {
        // SAFETY: the same contract.
        unsafe {
            match self.function {
                Function::Add => self.sweep::<V>(block, ahead, Add),
                Function::Subtract => self.sweep::<V>(block, ahead, Subtract),
                Function::Multiply => self.sweep::<V>(block, ahead, Multiply),
                Function::Divide => self.sweep::<V>(block, ahead, Divide),
                Function::Maximum => self.sweep::<V>(block, ahead, Maximum),
                Function::Minimum => self.sweep::<V>(block, ahead, Minimum),
                Function::Pow => self.sweep::<V>(block, ahead, Pow),
                Function::Greater => self.sweep::<V>(block, ahead, Greater),
                Function::GreaterEqual => self.sweep::<V>(block, ahead, GreaterEqual),
                Function::Equal => self.sweep::<V>(block, ahead, Equal),
                Function::Gate => self.sweep::<V>(block, ahead, Gate),
                Function::Relu => self.sweep::<V>(block, ahead, Relu),
                Function::Negate => self.sweep::<V>(block, ahead, Negate),
                Function::Sqrt => self.sweep::<V>(block, ahead, Root),
                Function::Power(2) => self.sweep::<V>(block, ahead, Square),
                Function::Abs => self.sweep::<V>(block, ahead, Abs),
                Function::AtLeast(floor) => self.sweep::<V>(block, ahead, AtLeast(V::splat(T::of(floor)))),
                Function::AtMost(ceiling) => self.sweep::<V>(block, ahead, AtMost(V::splat(T::of(-ceiling)))),
                Function::Power(exponent) => {
                    self.sweep::<V>(block, ahead, Scalar(move |a: T| a.powi(exponent)))
                }
                Function::Exp => self.scalar::<V>(block, ahead, T::exp),
                Function::ExpM1 => self.scalar::<V>(block, ahead, T::exp_m1),
                Function::Ln => self.scalar::<V>(block, ahead, T::ln),
                Function::Ln1p => self.scalar::<V>(block, ahead, T::ln_1p),
                Function::Sigmoid => self.scalar::<V>(block, ahead, sigmoid),
                Function::Softplus => self.scalar::<V>(block, ahead, softplus),
                Function::Tanh => self.scalar::<V>(block, ahead, T::tanh),
                Function::Sin => self.scalar::<V>(block, ahead, T::sin),
                Function::Cos => self.scalar::<V>(block, ahead, T::cos),
                Function::Erf => self.scalar::<V>(block, ahead, T::erf),
                Function::Sign => self.scalar::<V>(block, ahead, sign),
            }
        }
    }

    /// A function that is called for every number, and so need not be compiled into a loop of its own.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn scalar<V: Vector<T>>(&self, block: &Block, ahead: &[*const T], function: fn(T) -> T) {
        // SAFETY: the same contract.
        unsafe { self.sweep::<V>(block, ahead, Scalar(function)) }
    }

    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn sweep<V: Vector<T>>(&self, block: &Block, ahead: &[*const T], function: impl Compute<T, V>) {
        // SAFETY: the same contract.
        unsafe {
            let factors = [V::splat(self.factors[0]), V::splat(self.factors[1])];
            match (self.is_scaled, self.flushes) {
                (false, false) => self.apply::<V>(block, ahead, function),
                (true, false) => self.apply::<V>(block, ahead, Scaled { function, factors }),
                (false, true) => self.apply::<V>(block, ahead, Flushed(function)),
                (true, true) => self.apply::<V>(block, ahead, Flushed(Scaled { function, factors })),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn apply<V: Vector<T>>(&self, block: &Block, ahead: &[*const T], function: impl Compute<T, V>) {
        let [a, b] = self.arguments.map(|argument| argument.at(block));
        let next = block.tile + block.first + BLOCK;
        let target = self.target.at(block);
        // SAFETY: the same contract.
        unsafe {
            let whole = block.count / V::LANES * V::LANES;
            for first in (0..whole).step_by(V::LANES) {
                for place in ahead {
                    prefetch_line(place.wrapping_add(next + first));
                }
                let (a, b) = (V::load(a.add(first)), V::load(b.add(first)));
                function.compute(a, b).store(target.add(first));
            }
            let rest = block.count - whole;
            if rest > 0 {
                let (a, b) = (V::load_first(a.add(whole), rest), V::load_first(b.add(whole), rest));
                function.compute(a, b).store_first(target.add(whole), rest);
            }
        }
    }
}

/// A function whose subnormal results become 0.
#[derive(Clone, Copy)]
struct Flushed<F>(F);

impl<T: Real, V: Vector<T>, F: Compute<T, V>> Compute<T, V> for Flushed<F> {
    #[inline(always)]
    unsafe fn compute(self, a: V, b: V) -> V {
        // SAFETY: the same contract.
        unsafe { self.0.compute(a, b).flush() }
    }
}

/// A function of multiples of its arguments.
#[derive(Clone, Copy)]
struct Scaled<F, V> {
    function: F,
    factors: [V; 2],
}

impl<T: Real, V: Vector<T>, F: Compute<T, V>> Compute<T, V> for Scaled<F, V> {
    #[inline(always)]
    unsafe fn compute(self, a: V, b: V) -> V {
        let [s, t] = self.factors;
        // SAFETY: the same contract.
        unsafe { self.function.compute(a.multiply(s), b.multiply(t)) }
    }
}

/// What a function makes of registers.
trait Compute<T: Real, V: Vector<T>>: Copy {
    /// # Safety
    /// The instruction set of `V` must exist.
    unsafe fn compute(self, a: V, b: V) -> V;
}

macro_rules! functions {
    ($($name:ident: |$a:ident, $b:pat_param| $result:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl<T: Real, V: Vector<T>> Compute<T, V> for $name {
            #[inline(always)]
            unsafe fn compute(self, $a: V, $b: V) -> V {
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
    Maximum: |a, b| a.larger(b, [a, b])[0];
    // The one whose negative is larger.
    Minimum: |a, b| a.multiply(V::splat(-T::one())).larger(b.multiply(V::splat(-T::one())), [a, b])[1];
    Greater: |a, b| a.greater(b);
    GreaterEqual: |a, b| a.greater_equal(b);
    Equal: |a, b| a.greater_equal(b).multiply(b.greater_equal(a));
    Gate: |a, b| a.gate(b);
    Relu: |a, _| a.relu();
    Negate: |a, _| a.multiply(V::splat(-T::one()));
    Root: |a, _| a.root();
    Square: |a, _| a.multiply(a);
    // Adding 0 turns −0, which is not less than 0, into 0.
    Abs: |a, _| a.at_least(a.multiply(V::splat(-T::one()))).add(V::splat(T::zero()));
}

/// The larger of the argument and a number.
#[derive(Clone, Copy)]
struct AtLeast<V>(V);

impl<T: Real, V: Vector<T>> Compute<T, V> for AtLeast<V> {
    #[inline(always)]
    unsafe fn compute(self, a: V, _: V) -> V {
        // SAFETY: the same contract.
        unsafe { a.at_least(self.0) }
    }
}

/// The smaller of the argument and a number, which is given with the other sign: min(a, c) = −max(−a, −c).
#[derive(Clone, Copy)]
struct AtMost<V>(V);

impl<T: Real, V: Vector<T>> Compute<T, V> for AtMost<V> {
    #[inline(always)]
    unsafe fn compute(self, a: V, _: V) -> V {
        // SAFETY: the same contract.
        unsafe {
            let minus = V::splat(-T::one());
            a.multiply(minus).at_least(self.0).multiply(minus)
        }
    }
}

/// A function of one number, for which machines have no instruction.
#[derive(Clone, Copy)]
struct Scalar<F>(F);

impl<T: Real, V: Vector<T>, F: Fn(T) -> T + Copy> Compute<T, V> for Scalar<F> {
    #[inline(always)]
    unsafe fn compute(self, a: V, _: V) -> V {
        let mut lanes = [T::zero(); MAX_LANES];
        // SAFETY: no register has more lanes than the array; the rest is the same contract.
        unsafe {
            a.store(lanes.as_mut_ptr());
            lanes.iter_mut().take(V::LANES).for_each(|lane| *lane = (self.0)(*lane));
            V::load(lanes.as_ptr())
        }
    }
}

/// A number to the power of another, for which machines have no instruction either.
#[derive(Clone, Copy)]
struct Pow;

impl<T: Real, V: Vector<T>> Compute<T, V> for Pow {
    #[inline(always)]
    unsafe fn compute(self, a: V, b: V) -> V {
        let mut lanes = [[T::zero(); MAX_LANES]; 2];
        // SAFETY: no register has more lanes than the arrays; the rest is the same contract.
        unsafe {
            a.store(lanes[0].as_mut_ptr());
            b.store(lanes[1].as_mut_ptr());
            let [first, second] = &mut lanes;
            let pairs = first.iter_mut().zip(second).take(V::LANES);
            pairs.for_each(|(a, b)| *a = a.powf(*b));
            V::load(lanes[0].as_ptr())
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

/// ln(1 + eᵃ), with an exponential that cannot overflow.
fn softplus<T: Real>(a: T) -> T {
    a.max(T::zero()) + (-a.abs()).exp().ln_1p()
}

/// −1, 0 or 1. A zero and NaN stay as they are.
fn sign<T: Real>(a: T) -> T {
    if a == T::zero() || a.is_nan() { a } else { a.signum() }
}
