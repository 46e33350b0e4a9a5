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

    /// Whether there are `len` numbers.
    fn reaches(self, len: usize) -> bool {
        if let Self::Slice(data) = self { data.len() >= len } else { true }
    }

    /// Reads `count` numbers from position `at` on, which may be a whole register.
    ///
    /// # Safety
    /// They must be there, in `out` too, and the instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn load<V: Vector<T>>(self, at: usize, count: usize, out: *const T) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let from = match self {
                Self::Slice(data) => data.as_ptr().add(at),
                Self::Splat(value) => return V::splat(value),
                Self::Target => out.add(at),
            };
            if count == V::LANES { V::load(from) } else { V::load_first(from, count) }
        }
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
        // SAFETY: the caller vouches for the instruction set.
        unsafe { if self.flushes { self.evaluate::<V, true>() } else { self.evaluate::<V, false>() } }
    }
}

impl<T: Real> Step<'_, T> {
    /// # Safety
    /// The instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn evaluate<V: Vector<T>, const FLUSHES: bool>(self) {
        let Self { function, arguments: [a, b], out, .. } = self;
        let end = |value: T| if FLUSHES { flush(value) } else { value };
        let zero = T::zero();
        match function {
            Function::Add => zip(out, a, b, |a, b| end(a + b)),
            Function::Subtract => zip(out, a, b, |a, b| end(a - b)),
            Function::Multiply => zip(out, a, b, |a, b| end(a * b)),
            Function::Divide => by_registers::<T, V, FLUSHES>(
                out,
                [a, b],
                // SAFETY: the caller vouches for the instruction set.
                #[inline(always)]
                |a, b| unsafe { a.divide(b) },
            ),
            Function::Sqrt => by_registers::<T, V, FLUSHES>(
                out,
                [a, a],
                // SAFETY: the caller vouches for the instruction set.
                #[inline(always)]
                |a, _| unsafe { a.sqrt() },
            ),
            Function::Gate => zip(out, a, b, |a, b| end(if b <= zero { zero } else { a })),
            Function::Relu => map(out, a, |a| end(if a <= zero { zero } else { a })),
            Function::Negate => map(out, a, |a| end(-a)),
            Function::Exp => map(out, a, |a| end(a.exp())),
            Function::Ln => map(out, a, |a| end(a.ln())),
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

/// Like [`zip`], for what has its own instructions: `f` takes and returns whole registers.
#[inline(always)]
fn by_registers<T: Real, V: Vector<T>, const FLUSHES: bool>(
    out: &mut [T],
    [a, b]: [Lane<'_, T>; 2],
    f: impl Fn(V, V) -> V,
) {
    let (len, out) = (out.len(), out.as_mut_ptr());
    assert!(a.reaches(len) && b.reaches(len));
    for at in (0..len).step_by(V::LANES) {
        let count = V::LANES.min(len - at);
        // SAFETY: the first `count` numbers from `at` on are inside `out` and, as checked, the arguments.
        unsafe {
            let result = f(a.load(at, count, out), b.load(at, count, out));
            let result = if FLUSHES { result.flush() } else { result };
            if count == V::LANES { result.store(out.add(at)) } else { result.store_first(out.add(at), count) }
        }
    }
}
