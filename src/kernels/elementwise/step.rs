//! One function over one tile.

use super::Function;
use crate::kernels::real::Real;
use crate::kernels::simd::{Kernel, Vector, flush};

/// What a function reads: a tile of numbers, one number for the whole tile, or what lies where it writes to.
#[derive(Clone, Copy)]
pub enum Lane<'a, T> {
    /// A number for each element.
    Slice(&'a [T]),
    /// One number for all.
    Splat(T),
    /// The numbers in the output.
    Target,
}

impl<'a, T: Real> Lane<'a, T> {
    /// The same from a step that writes elsewhere, where `out` is what [`Target`](Self::Target) stands for.
    #[inline(always)]
    pub fn or_in(self, out: &'a [T]) -> Self {
        if matches!(self, Self::Target) { Self::Slice(out) } else { self }
    }
}

/// One function about to be applied to its arguments.
pub struct Step<'a, T> {
    /// Which function.
    pub function: Function,
    /// Its arguments; functions of one read the first.
    pub arguments: [Lane<'a, T>; 2],
    /// Takes the results.
    pub out: &'a mut [T],
    /// Whether subnormal results are to become 0.
    pub flushes: bool,
}

impl<T: Real> Kernel<T> for Step<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        self.apply();
    }
}

impl<T: Real> Step<'_, T> {
    /// Applies the function.
    #[inline(always)]
    pub fn apply(self) {
        if self.flushes { self.evaluate::<true>() } else { self.evaluate::<false>() }
    }

    #[inline(always)]
    fn evaluate<const FLUSHES: bool>(self) {
        let Self { function, arguments: [a, b], out, .. } = self;
        let end = |value: T| if FLUSHES { flush(value) } else { value };
        let zero = T::zero();
        match function {
            Function::Add => zip(out, a, b, |a, b| end(a + b)),
            Function::Subtract => zip(out, a, b, |a, b| end(a - b)),
            Function::Multiply => zip(out, a, b, |a, b| end(a * b)),
            Function::Divide => zip(out, a, b, |a, b| end(a / b)),
            Function::Gate => zip(out, a, b, |a, b| end(if b <= zero { zero } else { a })),
            Function::Relu => map(out, a, |a| end(if a <= zero { zero } else { a })),
            Function::Negate => map(out, a, |a| end(-a)),
            Function::Exp => map(out, a, |a| end(a.exp())),
            Function::Ln => map(out, a, |a| end(a.ln())),
            Function::Sqrt => map(out, a, |a| end(a.sqrt())),
            Function::Sigmoid => map(out, a, |a| end(sigmoid(a))),
            Function::Tanh => map(out, a, |a| end(a.tanh())),
            Function::Power(2) => map(out, a, |a| end(a * a)),
            Function::Power(exponent) => map(out, a, |a| end(a.powi(exponent))),
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
